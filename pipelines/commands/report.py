"""`skel report`: the page of a run, or of an evaluation that stands alone."""

from __future__ import annotations

import argparse

from pipelines.commands.base import Add
from pipelines.commands.stages import add_run_arguments, run_stage
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute

EXAMPLES = """examples:
  skel report --config tune_configs/full_demo.yaml --out runs/demo     a whole run: report.json and report.html
  skel report --scores scores                                          of skel evaluate --checkpoint

The page needs nothing beside itself. What skel robustness and its like wrote into the same folder is shown too;
docs/report.md lists the sections."""


def register(add: Add) -> None:
    """Adds `report`."""
    parser = add("report", "write report.json and one self-contained report.html", _report)
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    add_run_arguments(parser, config_required=False, out_required=False)
    parser.add_argument("--scores", default="", metavar="DIR", help="a folder of skel evaluate --checkpoint instead "
                        "of --config and --out; starts no Ray")  # fmt: skip


def _report(args: argparse.Namespace, rest: list[str]) -> None:
    if not args.scores:
        if not args.config or not args.out:
            raise UserError("skel report needs --config FILE and --out RUN, or --scores DIR")
        run_stage(args, rest)
        return
    if args.config or args.out or rest:
        raise UserError("with --scores there is nothing else to say")
    from pipelines.report import scores_page

    scores_page.run(absolute(args.scores))
