"""`skel formats`."""

from __future__ import annotations

import argparse
import json

from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError


def register(add: Add) -> None:
    """Adds `formats`."""
    parser = add("formats", "list the formats that ingest reads", _formats)
    parser.add_argument("--json", action="store_true", help="machine-readable")


def _formats(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel formats does not know {' '.join(rest)}; see skel formats --help")
    from skeleton_io.sources.catalogue import COLUMNS, rows

    table = rows()
    if args.json:
        print(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in table], indent=1))
        return
    widths = [max(len(row[i]) for row in (COLUMNS, *table)) for i in range(len(COLUMNS))]
    for row in (COLUMNS, *table):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nFiles of any other layout: skel describe PATH drafts the YAML that reads them (docs/own-data.md).")
