"""`skel captions` and `skel questions`: a checkpoint in words."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cluster.connect import connected, require
from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute

CAPTIONS = """examples:
  skel captions --checkpoint runs/demo --shards runs/demo/shards --out scores
  skel captions --checkpoint A --shards humanml3d/shards --out scores --bert-model models/roberta-large --bert-layer 17

Writes OUT/captions.json: BLEU-1/4, ROUGE-L, CIDEr, METEOR and BERTScore against the clips' own captions (what cannot be
computed here is listed as missing with the reason), and for all clips whether the captions state what the joints show.
Stopped, it goes on where it was. The metrics need: pip install skeleton-ray[captions]. See docs/captions.md."""
QUESTIONS = """examples:
  skel questions --checkpoint runs/demo --shards runs/demo/shards --out scores
  skel questions --checkpoint A --shards S --out scores --sets sbu --most 100
  skel questions --checkpoint A --shards S --out scores --file my_questions.json

Writes OUT/qa.json: accuracy by closed choice and by free text, per kind of question, beside chance, the most frequent
answer and 95 % intervals. Questions come from the motion of the test clips (which hand, how often, what first, who goes
towards whom, why) or from a JSON list of {clip, question, answer, choices, kind}. See docs/questions.md."""


def register(add: Add) -> None:
    """Adds `captions` and `questions`."""
    captions = _arguments(add("captions", "score the model's descriptions of the test clips", _captions), CAPTIONS)
    captions.add_argument("--bert-model", default="", metavar="DIR", help="local weights of an English encoder, for "
                          "BERTScore")  # fmt: skip
    captions.add_argument("--bert-layer", type=int, default=17, help="its layer to compare (17, of roberta-large)")
    asked = _arguments(add("questions", "ask the model about the motion of the test clips", _questions), QUESTIONS)
    asked.add_argument(
        "--file", default="", metavar="JSON", help="questions of your own instead of those of the motion"
    )
    asked.add_argument("--most", type=int, default=200, help="most questions of a kind (200); 0: all")


def _arguments(parser: argparse.ArgumentParser, epilog: str) -> argparse.ArgumentParser:
    parser.epilog, parser.formatter_class = epilog, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--checkpoint", required=True, metavar="RUN", help="a run, one of its training stages, or an "
                        "export")  # fmt: skip
    parser.add_argument("--shards", required=True, metavar="URI", help="shard set with the test clips")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder or URI to write to")
    parser.add_argument("--protocol", action="append", default=[], metavar="[SET=]RULE", help="name or file of a "
                        "protocol; several times for several sets")  # fmt: skip
    parser.add_argument("--sets", default="", metavar="A,B", help="only these sets of the shards")
    parser.add_argument("--clips", type=int, default=0, help="most test clips per set, chosen by hash; 0: all")
    return parser


def _captions(args: argparse.Namespace, rest: list[str]) -> None:
    from pipelines.evaluation.any_checkpoint import check_request
    from pipelines.evaluation.captions import run_captions

    asked = _asked(args, rest)
    check_request(asked)
    with connected():
        require(1, 0, "captions (one worker)")
        run_captions(asked, absolute(args.bert_model) if args.bert_model else "", args.bert_layer)


def _questions(args: argparse.Namespace, rest: list[str]) -> None:
    from pipelines.data.clip_store import ClipStore
    from pipelines.evaluation.any_checkpoint import check_request
    from pipelines.evaluation.question_scores import read_questions
    from pipelines.evaluation.questions import run_questions

    if args.most < 0:
        raise UserError(f"--most {args.most}: expected 0 or more")
    asked, file = _asked(args, rest), absolute(args.file) if args.file else ""
    check_request(asked)
    if file:
        read_questions(file, set(ClipStore(asked.shards).keys))
    with connected():
        require(1, 0, "questions (one worker)")
        run_questions(asked, file, args.most)


def _asked(args: argparse.Namespace, rest: list[str]) -> Any:
    from pipelines.evaluation.any_checkpoint import EvaluationRequest

    shards, checkpoint, out = (absolute(uri) for uri in (args.shards, args.checkpoint, args.out))
    sets = tuple(name for name in args.sets.split(",") if name)
    fields = ["--evaluate.max-clips", str(args.clips)] if args.clips else []
    return EvaluationRequest(checkpoint, shards, tuple(args.protocol), sets, out, (*rest, *fields))
