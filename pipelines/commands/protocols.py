"""`skel protocols`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute

COLUMNS = ("set", "protocol", "splits by", "seen", "unseen", "train", "test", "hash", "source")


def register(add: Add) -> None:
    """Adds `protocols`."""
    parser = add("protocols", "list the split protocols with their hashes, and their clips in a shard set", _protocols)
    parser.add_argument("--shards", default="", metavar="URI", help="count the clips of these shards")
    parser.add_argument("--set", default="", metavar="NAME", help="only this set")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def rows(shards: str = "", only: str = "") -> list[dict[str, Any]]:
    """One row per protocol with the keys `COLUMNS`; counts are of labelled clips, of values where no shards are given.

    Raises:
        UserError: no such set, or no shard set.
    """
    from pipelines.data.tools.protocols import published_rows, shard_rows

    found = shard_rows(shards) if shards else published_rows()
    sets = sorted({row["set"] for row in found})
    if only and only not in sets:
        raise UserError(f"no protocols for {only!r}; there is {', '.join(sets)}")
    return [row for row in found if not only or row["set"] == only]


def _protocols(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel protocols does not know {' '.join(rest)}; see skel protocols --help")
    table = rows(absolute(args.shards) if args.shards else "", args.set)
    if args.json:
        print(json.dumps(table, indent=1, ensure_ascii=False))
        return
    lines = [COLUMNS, *(tuple(str(row[name]) for name in COLUMNS) for row in table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print("\nUse one: data.protocols: {SET: PROTOCOL}, or the path of a YAML. `skel protocol` writes one of your own.")
