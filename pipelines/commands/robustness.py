"""`skel robustness`: accuracy of a checkpoint under perturbed data."""

from __future__ import annotations

import argparse

from pipelines.cluster.connect import connected, require
from pipelines.commands.base import Add
from pipelines.runtime.paths import absolute

EXAMPLES = """examples:
  skel robustness --checkpoint runs/demo --shards runs/demo/shards --out scores
  skel robustness --checkpoint A --shards S --out scores --sets sbu --protocol sbu=fold2
  skel robustness --checkpoint A --shards S --out scores --curves joint-dropout,noise --seeds 5 --clips 200

Perturbations: joint-dropout 0-50 %, noise 0-10 cm, limb-occlusion 0-4 limbs, frame-drop 0-75 %, frame-rate down to an
eighth, view 0-90 degrees, mirror, missing-person, topology 25 -> 20 -> 17 -> 13 joints. Random ones are drawn under
--seeds seeds. Writes OUT/robustness.json: a curve per perturbation with 95 % intervals, and the area under it. Stopped,
it goes on where it was. docs/robustness.md says what the numbers are."""


def register(add: Add) -> None:
    """Adds `robustness`."""
    parser = add("robustness", "score a model under worse data: joints, limbs, frames, persons lost, noise, other "
                 "views", _robustness)  # fmt: skip
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--checkpoint", required=True, metavar="RUN", help="a run, one of its training stages, or an "
                        "export")  # fmt: skip
    parser.add_argument("--shards", required=True, metavar="URI", help="shard set whose test clips are perturbed")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder or URI to write to")
    parser.add_argument("--protocol", action="append", default=[], metavar="[SET=]RULE", help="name or file of a "
                        "protocol; several times for several sets")  # fmt: skip
    parser.add_argument("--sets", default="", metavar="A,B", help="only these sets of the shards")
    parser.add_argument("--curves", default="", metavar="A,B", help="only these perturbations")
    parser.add_argument("--seeds", type=int, default=3, help="draws of each random perturbation (3)")
    parser.add_argument("--clips", type=int, default=0, help="most test clips per set, chosen by hash; 0: all")


def _robustness(args: argparse.Namespace, rest: list[str]) -> None:
    from pipelines.evaluation.any_checkpoint import EvaluationRequest, check_request
    from pipelines.evaluation.perturbations import select_curves
    from pipelines.evaluation.robustness import RobustnessRequest, run

    shards, checkpoint, out = (absolute(uri) for uri in (args.shards, args.checkpoint, args.out))
    sets, curves = (tuple(name for name in text.split(",") if name) for text in (args.sets, args.curves))
    fields = ["--evaluate.max-clips", str(args.clips)] if args.clips else []
    base = EvaluationRequest(checkpoint, shards, tuple(args.protocol), sets, out, (*rest, *fields))
    select_curves(curves)
    check_request(base)
    with connected():
        require(1, 0, "robustness (one worker)")
        run(RobustnessRequest(base, curves, args.seeds))
