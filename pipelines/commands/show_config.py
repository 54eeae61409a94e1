"""`skel config`."""

from __future__ import annotations

import argparse

from pipelines.commands.base import Add
from pipelines.config.loading import load_config, override_config, to_yaml
from pipelines.config.tree import FullConfig


def register(add: Add) -> None:
    """Adds `config`."""
    parser = add("config", "print the resolved configuration as YAML", _config)
    parser.add_argument("--config", default="", help="YAML preset; without it the defaults")


def _config(args: argparse.Namespace, rest: list[str]) -> None:
    base = load_config(args.config) if args.config else FullConfig()
    print(to_yaml(override_config(base, rest)), end="")
