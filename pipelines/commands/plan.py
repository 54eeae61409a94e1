"""`skel plan`."""

from __future__ import annotations

import argparse
import json

from pipelines.commands.base import Add
from pipelines.config.loading import load_config, override_config
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths, absolute


def register(add: Add) -> None:
    """Adds `plan`."""
    parser = add(
        "plan",
        "say what training would need, and start nothing: parameters, memory of a rank, tokens, steps, time, teacher "
        "cost, leakage, whether it fits; exit code 2 where something does not",
        _plan,
    )
    parser.add_argument("--config", required=True, help="YAML preset, for example tune_configs/full_pretrained.yaml")
    parser.add_argument("--run", default="", help="a run, whose shards are counted and looked at")
    parser.add_argument("--clips", type=int, default=0, metavar="N", help="training clips, where there are no shards")
    parser.add_argument(
        "--labels", type=int, default=60, metavar="N", help="labels in a question, where there are no shards (60)"
    )
    parser.add_argument("--gpu", default="", metavar="NAME", help="device of each worker, for example H100")
    parser.add_argument(
        "--gpu-memory", type=float, default=0.0, metavar="GB", help="of one device, in place of that of --gpu"
    )
    parser.add_argument("--mfu", type=float, default=0.3, help="share of its peak that is reached (0.3)")
    parser.add_argument(
        "--clips-per-second", type=float, default=0.0, metavar="X", help="measured, over all workers; instead of --gpu"
    )
    parser.add_argument(
        "--address", default="", help="Ray cluster to compare with, for example HOST:6379; asked, not used"
    )
    parser.add_argument("--json", default="", metavar="FILE", help="write the plan there, too")


def _plan(args: argparse.Namespace, rest: list[str]) -> None:
    if args.clips < 0 or args.labels < 1 or not 0 < args.mfu <= 1 or args.clips_per_second < 0 or args.gpu_memory < 0:
        raise UserError("--clips, --clips-per-second, --gpu-memory: at least 0; --labels: at least 1; --mfu: in (0, 1]")
    cfg = override_config(load_config(args.config), rest)
    from pipelines.planning import show as plan_show
    from pipelines.planning.plan import make_plan
    from pipelines.planning.result import PlanOptions
    from skeleton_io import storage

    given = PlanOptions(
        clips=args.clips,
        labels=args.labels,
        clips_per_second=args.clips_per_second,
        gpu=args.gpu,
        gpu_memory=args.gpu_memory,
        mfu=args.mfu,
        address=args.address,
    )
    if args.run and not storage.exists(absolute(args.run)):
        raise UserError(f"--run {args.run}: no such folder")
    found = make_plan(cfg, RunPaths(absolute(args.run)) if args.run else None, given)
    plan_show.show(found)
    if args.json:
        storage.write_atomic(absolute(args.json), json.dumps(found.plain(), indent=1))
    if problems := [check.name for check in found.checks if check.fine is False]:
        raise UserError(f"this plan does not work out: {', '.join(problems)} (see above)")
