"""`skel evaluate`: the stage of a run, or any checkpoint on any shards."""

from __future__ import annotations

import argparse

from pipelines.cluster.connect import connected, require
from pipelines.commands.base import Add
from pipelines.commands.stages import add_run_arguments, run_stage
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute

EXAMPLES = """examples:
  skel evaluate --config tune_configs/full_demo.yaml --out runs/demo          the run's own model and test clips
  skel evaluate --checkpoint runs/demo --shards runs/demo/shards --out scores
  skel evaluate --checkpoint runs/real --shards ntu/shards --protocol ntu60-48-12 --out scores --answer reason
  skel evaluate --checkpoint A --shards S --protocol sbu=fold2 --protocol nw_ucla=cross-view-clean --out scores
  skel evaluate --checkpoint A --shards S --beside stick=runs/stick --beside heatmap=runs/heatmap --out scores

With --checkpoint it writes OUT/metrics.json and OUT/report.json. Stopped, it goes on where it was. Any field of
`evaluate` can be set by its name, for example --evaluate.actors 8 or --evaluate.gzsl. `skel compare A B` sets two
evaluations against each other; docs/evaluate.md says what the numbers are."""


def register(add: Add) -> None:
    """Adds `evaluate`."""
    parser = add("evaluate", "score the test clips of every protocol", _evaluate)
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    add_run_arguments(parser, config_required=False)
    parser.add_argument("--checkpoint", default="", metavar="RUN", help="a run, one of its training stages, or an "
                        "export, instead of --config")  # fmt: skip
    parser.add_argument("--shards", default="", metavar="URI", help="shard set to score (with --checkpoint)")
    parser.add_argument("--protocol", action="append", default=[], metavar="[SET=]RULE", help="name or file of a "
                        "protocol; several times for several sets")  # fmt: skip
    parser.add_argument("--sets", default="", metavar="A,B", help="only these sets of the shards")
    parser.add_argument("--answer", default="", choices=["direct", "reason"], help="ask for the label at once, or let "
                        "the model explain the motion first")  # fmt: skip
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=RUN", help="another model on the same "
                        "clips, in the same table")  # fmt: skip


def _evaluate(args: argparse.Namespace, rest: list[str]) -> None:
    if bool(args.config) == bool(args.checkpoint):
        raise UserError("skel evaluate needs either --config (a run's own stage) or --checkpoint with --shards")
    rest = [*rest, *_fields(args)]
    if args.config:
        if args.shards or args.protocol or args.sets:
            raise UserError("--shards, --protocol and --sets go with --checkpoint; a run has them in its configuration")
        run_stage(args, rest)
        return
    if not args.shards:
        raise UserError("--checkpoint needs --shards URI")
    from pipelines.evaluation.any_checkpoint import EvaluationRequest, check_request, run

    shards, checkpoint, out = (absolute(uri) for uri in (args.shards, args.checkpoint, args.out))
    sets = tuple(name for name in args.sets.split(",") if name)
    asked = EvaluationRequest(checkpoint, shards, tuple(args.protocol), sets, out, tuple(rest))
    check_request(asked)
    with connected():
        require(1, 0, "evaluate (one worker)")
        run(asked)


def _fields(args: argparse.Namespace) -> list[str]:
    """The short options as fields of the configuration."""
    fields = ["--evaluate.answer", args.answer] if args.answer else []
    if args.beside:
        fields.append("--evaluate.beside")
    for text in args.beside:
        name, mark, uri = text.partition("=")
        if not (name and mark and uri):
            raise UserError(f"--beside {text}: expected NAME=RUN")
        fields += [name, absolute(uri)]
    return fields
