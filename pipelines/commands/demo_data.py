"""`skel demo-data`."""

from __future__ import annotations

import argparse

from pipelines.commands.base import Add
from pipelines.runtime.paths import absolute


def register(add: Add) -> None:
    """Adds `demo-data`."""
    parser = add("demo-data", "write a synthetic labelled motion set in three native formats", _demo_data)
    parser.epilog = "Further options are the fields of DemoConfig, for example --seed 3 --subjects 16."
    parser.add_argument("out", help="folder to write")


def _demo_data(args: argparse.Namespace, rest: list[str]) -> None:
    import tyro
    from rich import print as show

    from pipelines.ingest import demo_data
    from skeleton_io.demo.dataset import DemoConfig

    cfg = tyro.cli(DemoConfig, args=rest, prog="skel demo-data OUT")
    show(demo_data.write(absolute(args.out), cfg))
