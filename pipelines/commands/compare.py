"""`skel compare`."""

from __future__ import annotations

import argparse
import json
from typing import get_args

from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute
from pipelines.runtime.progress import say
from pipelines.scores.rule_names import Rule

EXAMPLES = """examples:
  skel compare runs/a runs/b
  skel compare scores/ours scores/stick --rule summed --out difference.json

A and B are runs, or folders that `skel evaluate --checkpoint` wrote. Only clips that both scored count. The interval is
a paired bootstrap over clips: it leaves out 0 where one model is better beyond the chance of the draw of clips. It says
nothing of the chance of training: for that, train with several seeds."""


def register(add: Add) -> None:
    """Adds `compare`."""
    parser = add("compare", "set two evaluations against each other, clip by clip (paired bootstrap)", _compare)
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("a", metavar="A", help="run or evaluation folder")
    parser.add_argument("b", metavar="B", help="run or evaluation folder")
    parser.add_argument(
        "--rule", default="normalised", choices=get_args(Rule), help="what counts as right (default: normalised)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap")
    parser.add_argument("--out", default="", metavar="FILE", help="also write the numbers as JSON")


def _compare(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel compare does not know {' '.join(rest)}; see skel compare --help")
    if args.resamples < 1:
        raise UserError(f"--resamples must be at least 1, found {args.resamples}")
    from pipelines.evaluation import compare
    from pipelines.evaluation.compare import comparison_lines, read_evaluation
    from skeleton_io import storage

    a, b = (read_evaluation(absolute(uri)) for uri in (args.a, args.b))
    result = compare.compare(a, b, args.rule, args.seed, args.resamples)
    for line in comparison_lines(result):
        say(line)
    if args.out:
        storage.write_atomic(absolute(args.out), json.dumps(result, indent=1))
