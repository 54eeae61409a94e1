"""`skel predict`."""

from __future__ import annotations

import argparse

from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError

EXAMPLES = """examples:
  skel predict walk.bvh --checkpoint runs/demo                   a table of the likeliest labels
  skel predict clips/ a.skeleton --checkpoint runs/demo --labels "walk,wave,throw" --top 3
  skel predict clip.json --checkpoint runs/demo --question "Which arm moves?" --out - | jq .answer
  skel predict fall.c3d --checkpoint runs/demo --question "Does the person fall?" --labels yes,no
  skel predict s3://bucket/shards --checkpoint s3://bucket/run --workers 8 --gpus 1 --out s3://bucket/predictions

INPUT is a native file of any format, a folder, or a shard set. Each clip gives a row, and so does everything that
cannot be read: rows = clips + errors. A probability is the softmax, over the candidates, of the mean log-likelihood
per token: it ranks the candidates and is no calibrated chance of being right. docs/predict.md has more."""


def register(add: Add) -> None:
    """Adds `predict`."""
    parser = add("predict", "name the action in clips of any format, or ask about it, with a trained model", _predict)
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="native file, folder of such files, or shard set")
    parser.add_argument("--checkpoint", required=True, metavar="RUN", help="a run, one of its training stages, or an "
                        "export; folder or URI")  # fmt: skip
    parser.add_argument("--format", default="", metavar="NAME", help="format of the files, or a definition.yaml; "
                        "default: found by itself")  # fmt: skip
    parser.add_argument("--labels", metavar="a,b,c", help="candidates; @FILE: one a line; default: the "
                        "labels of the trained set that the clip belongs to, else of all trained sets")  # fmt: skip
    parser.add_argument("--label-set", default="", metavar="SET", help="candidates: the labels of this trained set")
    parser.add_argument("--question", metavar="TEXT", help="also ask this and write the answer; with "
                        "--labels, those are the answers to choose from")  # fmt: skip
    parser.add_argument("--top", type=int, default=5, metavar="K", help="candidates in a row (5)")
    parser.add_argument("--max-new-tokens", type=int, default=48, metavar="N", help="of an answer (48)")
    parser.add_argument("--frames", default="", metavar="FOLDER", help="write what the model saw, a PNG per clip")
    parser.add_argument("--out", default="", help="FILE.jsonl, FILE.parquet, - (JSON lines on stdout), or a folder of "
                        "parts, which a second start completes")  # fmt: skip
    parser.add_argument("--parts", default="jsonl", choices=("jsonl", "parquet"), help="form of a folder's parts")
    parser.add_argument("--part", type=int, default=8, metavar="N", help="files, or stretches of 32 clips of a shard "
                        "set, in a part (8)")  # fmt: skip
    parser.add_argument("--batch", type=int, default=0, metavar="N", help="clips at a time; default: as trained")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes on Ray; default: this one alone")
    parser.add_argument("--gpus", type=float, default=0.0, metavar="G", help="GPUs of each worker (0)")


def _labels(text: str | None) -> tuple[str, ...]:
    """Labels between commas, or the lines of @FILE; none where nothing was given.

    Raises:
        UserError: no such file, or no label in what was given.
    """
    if text is None:
        return ()
    if not text.startswith("@"):
        labels = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    else:
        from skeleton_io import storage

        try:
            lines = storage.read_text(text[1:]).splitlines()
        except FileNotFoundError:
            raise UserError(f"--labels {text}: no such file") from None
        except (OSError, ValueError) as error:
            raise UserError(f"--labels {text}: {error}") from None
        labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise UserError(f"--labels {text!r}: expected labels between commas, or @FILE with one a line, found none")
    return labels


def _predict(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel predict does not know {' '.join(rest)}; see skel predict --help")
    labels = _labels(args.labels)
    if args.question is not None and not args.question.strip():
        raise UserError("--question: expected a question, found an empty text")
    from pipelines.inference import predict
    from pipelines.inference.predictor import PredictionRequest
    from pipelines.runtime.paths import absolute

    asked = PredictionRequest(
        labels=labels,
        label_set=args.label_set,
        question=(args.question or "").strip(),
        top=args.top,
        max_new_tokens=args.max_new_tokens,
        batch=args.batch,
        pictures=absolute(args.frames) if args.frames else "",
    )
    predict.run(
        args.inputs,
        predict.Options(
            checkpoint=args.checkpoint,
            format=args.format,
            asked=asked,
            out=args.out,
            kind=args.parts,
            workers=args.workers,
            gpus=args.gpus,
            part=args.part,
        ),
    )
