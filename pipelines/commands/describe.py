"""`skel describe`."""

from __future__ import annotations

import argparse

from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute


def register(add: Add) -> None:
    """Adds `describe`."""
    parser = add("describe", "look at files of an unknown layout and draft the YAML that reads them", _describe)
    parser.add_argument("path", help="folder or URI of the files, or one of them")
    parser.add_argument("--out", default="", metavar="FILE.yaml", help="write the draft there instead of printing it")
    parser.add_argument("--picture", default="", metavar="FILE.png", help="draw the joints with their indices")


def _describe(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel describe does not know {' '.join(rest)}; see skel describe --help")
    if args.out and not args.out.endswith((".yaml", ".yml")):
        raise UserError(f"--out takes a name that ends in .yaml, found {args.out}")
    from pipelines.data.tools import describe

    describe.run(absolute(args.path), args.out, args.picture)
