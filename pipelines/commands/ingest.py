"""`skel ingest`."""

from __future__ import annotations

import argparse

from pipelines.cluster.connect import connected
from pipelines.commands.base import Add
from pipelines.commands.stages import run_stage
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute


def register(add: Add) -> None:
    """Adds `ingest`."""
    ingest = add("ingest", "read native files into Arrow shards, with a quarantine for broken ones", _ingest)
    ingest.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="a folder whose format is detected, or NAME=PATH, NAME:FORMAT=PATH, my.yaml=PATH where it is known; "
        "skel formats lists the names, skel describe drafts a YAML; repeatable",
    )
    ingest.add_argument("--out", required=True, help="folder or URI of the shard set (with --config: of the run)")
    ingest.add_argument("--format", choices=["ipc", "parquet"], default="", help="Arrow IPC files (default) or Parquet")
    ingest.add_argument("--clips-per-shard", type=int, default=0, help="consecutive clips per file (256)")
    ingest.add_argument("--config", default="", help="take the inputs from a preset instead of --input")
    ingest.add_argument("--data-root", default="", help="replaces {data_root} in data.inputs")


def _ingest(args: argparse.Namespace, rest: list[str]) -> None:
    if args.config and args.input:
        raise UserError("give either --input NAME=PATH or --config, not both")
    if args.config:
        if args.format or args.clips_per_shard:
            raise UserError("with --config, say --data.format and --data.clips-per-shard instead")
        run_stage(args, rest)
        return
    if rest:
        raise UserError(f"skel ingest does not know {' '.join(rest)}; see skel ingest --help")
    if not args.input:
        raise UserError("nothing to ingest: give --input PATH or NAME=PATH, once per set")
    from pipelines.ingest.inputs import inputs_from

    inputs = inputs_from(args.input)
    from pipelines.ingest import stage as ingest

    with connected():
        ingest.ingest(inputs, absolute(args.out), args.format or "ipc", args.clips_per_shard or 256)
