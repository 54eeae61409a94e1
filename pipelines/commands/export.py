"""`skel export`."""

from __future__ import annotations

import argparse
from typing import get_args

from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute
from skeleton_io.exporters.formats import ExportFormat

FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


def register(add: Add) -> None:
    """Adds `export`."""
    export = add("export", "write the clips of a shard set in a format of other tools", _export)
    export.add_argument("uri", help="folder or URI of a shard set")
    export.add_argument("--to", required=True, choices=FORMATS, help="format to write")
    export.add_argument("--out", required=True, help="folder or URI to write to")
    export.add_argument("--sets", nargs="+", default=[], metavar="SET", help="only these sets")
    export.add_argument("--clips", nargs="+", default=[], metavar="SET/ID", help="only these clips; * and ? match")
    export.add_argument(
        "--fill-gaps",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="put joints that are missing for no longer on a straight line (nothing is filled without it)",
    )


def _export(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel export does not know {' '.join(rest)}; see skel export --help")
    from pipelines.data.tools import export

    out = absolute(args.out)
    found = export.export(absolute(args.uri), args.to, out, args.sets, args.clips, args.fill_gaps)
    if not found["exported"]:
        raise UserError(f"{args.to} can hold none of the {len(found['refused'])} clips; the lines above say why")
