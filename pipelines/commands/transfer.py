"""`skel transfer`."""

from __future__ import annotations

import argparse

from pipelines.commands.base import Add
from pipelines.commands.stages import add_run_arguments, run_stage

EXAMPLES = """examples:
  skel transfer --config tune_configs/full_demo.yaml --out runs/demo          the pairs of evaluate.transfer
  skel transfer --config tune_configs/full_real.yaml --out runs/real --all --evaluate.transfer-epochs 10

Each source is trained once, from the untrained multimodal LLM, and scored on all clips of every other set whose labels
it shares, by wording or by evaluate.synonyms (default: the table of the package). OUT/transfer/transfer.json lists the
pairs, OUT/transfer/matrix.json is the matrix. docs/evaluate.md, Transfer, says how to read it."""


def register(add: Add) -> None:
    """Adds `transfer`."""
    parser = add("transfer", "train on some sets, test on another over the labels they share", _transfer)
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    add_run_arguments(parser)
    parser.add_argument("--all", action="store_true", help="every ordered pair of sets that share two labels or more")


def _transfer(args: argparse.Namespace, rest: list[str]) -> None:
    run_stage(args, [*rest, "--evaluate.transfer-all"] if args.all else rest)
