"""`skel config`."""

from __future__ import annotations

import argparse

from pipelines import config as configuration
from pipelines.commands.base import Add
from pipelines.config import FullConfig


def register(add: Add) -> None:
    """Adds `config`."""
    parser = add("config", "print the resolved configuration as YAML", _config)
    parser.add_argument("--config", default="", help="YAML preset; without it the defaults")


def _config(args: argparse.Namespace, rest: list[str]) -> None:
    base = configuration.load(args.config) if args.config else FullConfig()
    print(configuration.to_yaml(configuration.override(base, rest)), end="")
