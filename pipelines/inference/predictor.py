"""Clips of any origin -> rows: the likeliest candidate labels with probabilities, the answer to a question, a picture.

One object loads the exported model once; `skel predict` uses it in its own process or as a Ray actor. Reads clips
through `predict_inputs`; every clip gives one row and so does everything that could not become a clip. Writes nothing
but pictures, and draws no random numbers.

The probability of a candidate is the softmax, over the candidates of that clip, of the mean log-likelihood per token of
its text. It ranks candidates and says how far apart they are; it is no calibrated chance of being right, and it says
nothing about actions outside of the candidates.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models import prompts
from pipelines.data.renderer_input import clip_input, on_device
from pipelines.exports.store import load_model
from pipelines.inference.inputs import Unit, read_unit
from pipelines.runtime.errors import UserError
from pipelines.scores import rules
from skeleton_io import storage
from skeleton_io.record.sequence import SkeletonSequence

Row = dict[str, Any]
ALL, GIVEN = "all", "given"
"""What `candidates` of a row says where they are not the labels of one trained set."""
_COLUMNS = 6  # frames side by side in a picture


@dataclass(frozen=True, kw_only=True)
class PredictionRequest:
    """What is asked about every clip.

    Attributes:
        labels: candidates; empty: the labels seen in training.
        label_set: the trained set whose labels are the candidates; empty: that of the clip's name, else those of all.
        question: of one's own; its answer is generated, and given labels are candidates for it.
        top: candidates in a row, at most.
        max_new_tokens: of the answer.
        batch: clips at a time; 0: as the model's configuration says.
        pictures: folder for one PNG per clip; empty: none.
    """

    labels: tuple[str, ...] = ()
    label_set: str = ""
    question: str = ""
    top: int = 5
    max_new_tokens: int = 48
    batch: int = 0
    pictures: str = ""


def error_row(unit: Unit, text: str) -> Row:
    """The row of what could not be predicted."""
    row: Row = dict.fromkeys(
        ("key", "format", "frames", "seconds", "persons", "label", "probability", "candidates", "truth")
    )
    row |= {"truth_is_candidate": None, "top": [], "question": None, "answer": None, "picture": None}
    file = unit.path or None
    return {"input": unit.input, "file": file, **row, "error": text}


class Predictor:
    """The exported model, ready to predict.

    Args:
        export_uri: from `exports.find_export`.
        asked: what is asked about every clip.

    Raises:
        UserError: no model there, `label_set` is none of its sets, or a text holds a control token.
    """

    def __init__(self, export_uri: str, asked: PredictionRequest) -> None:
        self.model, self.trained, self.seen = load_model(export_uri)
        if asked.label_set and asked.label_set not in self.seen:
            raise UserError(f"--label-set {asked.label_set}: the model was trained on {', '.join(sorted(self.seen))}")
        control = self.model.mllm.encoder.tokenizer.get_added_vocab()  # would stand for images or turns
        for text in (asked.question, *asked.labels):
            if found := sorted(token for token in control if token in text):
                raise UserError(f"{text[:60]!r} holds {found[0]!r}, which the model reads as a control token")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval()
        self.asked = asked
        self.batch = asked.batch or self.trained.evaluate.batch
        self.every = tuple(sorted({label for names in self.seen.values() for label in names}))

    def candidates(self, dataset: str) -> tuple[str, tuple[str, ...]]:
        """(what they are, labels) for a clip of a set."""
        if self.asked.labels:
            return GIVEN, self.asked.labels
        name = self.asked.label_set or dataset
        return (name, self.seen[name]) if name in self.seen else (ALL, self.every)

    def rows(self, units: Iterable[Unit]) -> Iterator[Row]:
        """One row for each clip and for each error of the units, in their order.

        Raises:
            OSError: a remote storage failed.
        """
        waiting: list[tuple[Unit, SkeletonSequence | Row]] = []
        clips = 0
        for unit in units:
            for found in read_unit(unit):
                is_clip = isinstance(found, SkeletonSequence)
                waiting.append((unit, found if is_clip else error_row(unit, str(found))))
                clips += is_clip
                if clips == self.batch:
                    yield from self._settle(waiting)
                    waiting, clips = [], 0
        yield from self._settle(waiting)

    def _settle(self, waiting: Sequence[tuple[Unit, SkeletonSequence | Row]]) -> Iterator[Row]:
        """Rows of what has been read, errors at their place."""
        read_clips = [(unit, found) for unit, found in waiting if isinstance(found, SkeletonSequence)]
        done = iter(self._predict(read_clips))
        for _, found in waiting:
            yield next(done) if isinstance(found, SkeletonSequence) else found

    def _predict(self, clips: Sequence[tuple[Unit, SkeletonSequence]]) -> list[Row]:
        """Rows of a batch; where it fails, each clip is tried alone, so that one costs no other its row."""
        if not clips:
            return []
        try:
            return self._forward(clips)
        except (ValueError, torch.OutOfMemoryError) as error:
            if len(clips) > 1:
                return [row for one in clips for row in self._predict([one])]
            unit, clip = clips[0]
            text = " ".join(str(error).split())[:300]
            return [error_row(unit, f"{clip.key}: {text}") | {"key": clip.key, "format": clip.source.reader}]

    def _forward(self, clips: Sequence[tuple[Unit, SkeletonSequence]]) -> list[Row]:
        """Rows of a batch.

        Raises:
            ValueError: a clip that the renderer or the model does not take.
        """
        cfg, question = self.trained.renderer, self.asked.question
        inputs = [on_device(clip_input(clip, cfg, None, None), self.device) for _, clip in clips]
        named = [self.candidates(clip.dataset) for _, clip in clips]
        own = bool(question and self.asked.labels)
        texts = [question if own else prompts.mqa_prompt(names) for _, names in named]
        answers: list[str | None] = [None] * len(clips)
        bf16 = self.trained.mllm.precision == "bf16"
        with torch.no_grad():
            frames = self.model.renderer(inputs)
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
                scores = self.model.mllm.score_candidates(frames, texts, [names for _, names in named])
                if question:
                    asked = [question] * len(clips)
                    answers = list(self.model.mllm.generate(frames, asked, self.asked.max_new_tokens))
        rows = []
        for i, (unit, clip) in enumerate(clips):
            log_prob = scores[i].log_prob.double().cpu().numpy()
            top = ranked(named[i][1], log_prob, scores[i].tokens.cpu().numpy(), self.asked.top)
            said = {"candidates": named[i][0], "question": question or None, "answer": answers[i]}
            said["truth_is_candidate"] = clip.label in named[i][1] if clip.label is not None else None
            picture = self._picture(unit, clip, frames[i]) if self.asked.pictures else None
            rows.append(clip_row(unit, clip, top) | said | {"picture": picture})
        return rows

    def _picture(self, unit: Unit, clip: SkeletonSequence, frames: torch.Tensor) -> str:
        """Writes the frames that the model saw as one PNG; returns its URI."""
        name = re.sub(r"[^\w.+-]", "_", f"{clip.dataset}-{clip.id}").lstrip(".")
        uri = storage.join(self.asked.pictures, f"{name}{unit.tag}.png")
        storage.write_atomic(uri, sheet(frames.float().cpu().numpy()))
        return uri


def ranked(
    names: Sequence[str], log_prob: NDArray[np.floating], tokens: NDArray[np.integer], top: int
) -> list[dict[str, Any]]:
    """The best candidates, likeliest first; of equal ones the first.

    Args:
        names: C candidates.
        log_prob: (C,) summed log-likelihood, nats.
        tokens: (C,) number of tokens.
        top: how many, at most.

    Returns:
        label, probability, log_prob and tokens of each.

    Raises:
        ValueError: a log-likelihood is not finite.
    """
    if not np.isfinite(log_prob).all():
        raise ValueError("the model gives a candidate a score that is not a finite number")
    means = rules.closed_set(log_prob, tokens)
    share = rules.probabilities(means)
    return [
        {
            "label": names[c],
            "probability": round(float(share[c]), 6),
            "log_prob": round(float(log_prob[c]), 5),
            "tokens": int(tokens[c]),
        }
        for c in np.argsort(-means, kind="stable")[:top]
    ]


def clip_row(unit: Unit, clip: SkeletonSequence, top: list[dict[str, Any]]) -> Row:
    """What is known about a clip and the best candidates; `truth` is the label that its file holds, if any."""
    return {
        "input": unit.input,
        "file": clip.source.uri,
        "key": clip.key,
        "format": clip.source.reader,
        "frames": clip.frames,
        "seconds": round(clip.duration, 3),
        "persons": clip.persons,
        "label": top[0]["label"],
        "probability": top[0]["probability"],
        "truth": clip.label,
        "top": top,
        "error": None,
    }


def sheet(frames: NDArray[np.floating]) -> bytes:
    """(F, 3, H, W) in [0, 1] -> PNG with the frames in rows of at most six, in reading order."""
    pixels = (np.clip(np.nan_to_num(frames), 0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    count, height, width = pixels.shape[:3]
    rows = -(-count // _COLUMNS)
    columns = -(-count // rows)
    page = Image.new("RGB", (columns * (width + 2) - 2, rows * (height + 2) - 2), (40, 40, 44))
    for i, frame in enumerate(pixels):
        page.paste(Image.fromarray(frame), (i % columns * (width + 2), i // columns * (height + 2)))
    buffer = io.BytesIO()
    page.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
