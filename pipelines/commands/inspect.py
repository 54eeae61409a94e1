"""`skel inspect`."""

from __future__ import annotations

import argparse

from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute


def register(add: Add) -> None:
    """Adds `inspect`."""
    inspect = add("inspect", "show what a shard set holds: counts, classes, quality, quarantine", _inspect)
    inspect.add_argument("uri", help="folder or URI of a shard set")
    inspect.add_argument("--json", action="store_true", help="machine-readable")
    inspect.add_argument(
        "--clip", default="", metavar="ID", help="show one clip: SET/ID, or ID where it is the only one"
    )
    inspect.add_argument("--out", default="", help="with --clip: draw it as a stick figure, x.gif or x.png")


def _inspect(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel inspect does not know {' '.join(rest)}; see skel inspect --help")
    if args.out and not args.clip:
        raise UserError("--out draws a clip; say which with --clip ID")
    from pipelines.data.tools import summary_tables

    if args.clip:
        out = absolute(args.out) if args.out else ""
        summary_tables.show_clip(absolute(args.uri), args.clip, out, as_json=args.json)
        return
    summary_tables.show(absolute(args.uri), as_json=args.json)
