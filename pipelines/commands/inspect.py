"""`skel inspect`."""

from __future__ import annotations

import argparse

from pipelines import full
from pipelines.commands.base import Add
from pipelines.errors import UserError


def register(add: Add) -> None:
    """Adds `inspect`."""
    inspect = add("inspect", "show what a shard set holds: counts, classes, quality, quarantine", _inspect)
    inspect.add_argument("uri", help="folder or URI of a shard set")
    inspect.add_argument("--json", action="store_true", help="machine-readable")


def _inspect(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel inspect does not know {' '.join(rest)}; see skel inspect --help")
    from pipelines import inspect_shards

    inspect_shards.show(full.absolute(args.uri), as_json=args.json)
