"""Clips of any origin -> rows: the likeliest candidate labels with probabilities, the answer to a question, a picture.

One object loads the exported model once; `skel predict` uses it in its own process or as a Ray actor, anybody else on
clips in memory. Every clip gives one row, and so does everything that could not become a clip. Writes nothing but
pictures, and draws no random numbers.

The probability of a candidate is the softmax, over the candidates of that clip, of the mean log-likelihood per token of
its text. It ranks candidates and says how far apart they are; it is no calibrated chance of being right, and it says
nothing about actions outside of the candidates.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models import prompts
from pipelines.inference.inputs import Unit, read_unit
from pipelines.inference.trained_model import TrainedModel, load_model
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

    def check(self) -> None:
        """Refuses what can be told without the model.

        Raises:
            UserError: says what.
        """
        if self.labels and self.label_set:
            raise UserError("labels: give either these or the set whose labels are meant, not both")
        names = self.labels
        if any(not name.strip() or "\n" in name for name in names) or len(set(names)) != len(names):
            raise UserError("labels: expected different labels, none of them empty, each on one line")
        if self.top < 1:
            raise UserError(f"top must be at least 1, found {self.top}")


def error_row(unit: Unit, text: str) -> Row:
    """The row of what could not be predicted."""
    row: Row = dict.fromkeys(
        ("key", "format", "frames", "seconds", "persons", "label", "probability", "candidates", "truth")
    )
    row |= {"truth_is_candidate": None, "top": [], "question": None, "answer": None, "picture": None}
    file = unit.path or None
    return {"input": unit.input, "file": file, **row, "error": text}


class Predictor:
    """A trained model that names the action in clips, or answers a question about them.

    Args:
        model: a run, one of its training stages or an export, folder or URI; or what `load_model` returned.
        labels: candidates; none: the labels seen in training, of the set that a clip belongs to by its name.
        label_set: the trained set whose labels are the candidates.
        question: asked beside that, and answered in the model's own words; with `labels`, those are its answers.
        top: candidates in a row, at most.
        max_new_tokens: of a written answer.
        batch: clips at a time; 0: as the model's configuration says.
        pictures: folder for a PNG of what the model saw, per clip; empty: none.
        device: of torch; empty: a GPU where there is one. Of no use for a model that is loaded already.

    Raises:
        UserError: no model there, `label_set` is none of its sets, labels that are no candidates, or a text that holds
            a control token.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | TrainedModel,
        *,
        labels: Sequence[str] = (),
        label_set: str = "",
        question: str = "",
        top: int = 5,
        max_new_tokens: int = 48,
        batch: int = 0,
        pictures: str = "",
        device: str = "",
    ) -> None:
        self.request = PredictionRequest(
            labels=tuple(labels),
            label_set=label_set,
            question=question,
            top=top,
            max_new_tokens=max_new_tokens,
            batch=batch,
            pictures=pictures,
        )
        self.request.check()
        self.model = model if isinstance(model, TrainedModel) else load_model(model, device)
        self.labels = self.model.labels
        if label_set and label_set not in self.labels:
            raise UserError(
                f"no labels of a set {label_set}: the model was trained on {', '.join(sorted(self.labels))}"
            )
        control = self.model.mllm.encoder.tokenizer.get_added_vocab()  # would stand for images or turns
        for text in (question, *labels):
            if tokens := sorted(token for token in control if token in text):
                raise UserError(f"{text[:60]!r} holds {tokens[0]!r}, which the model reads as a control token")
        self.batch = batch or self.model.config.evaluate.batch
        self.every = tuple(sorted({label for names in self.labels.values() for label in names}))

    def predict(self, clips: SkeletonSequence | Iterable[SkeletonSequence]) -> list[Row]:
        """One row for each clip, in their order, with the fields that `skel predict` writes (docs/predict.md).

        `input` is the clip's key. A clip that the model does not take has its reason in `error`, and costs no other
        clip its row.
        """
        clips = [clips] if isinstance(clips, SkeletonSequence) else list(clips)
        units = [(Unit(input=clip.key), clip) for clip in clips]
        return [row for at in range(0, len(units), self.batch) for row in self._predict(units[at : at + self.batch])]

    def candidates(self, dataset: str) -> tuple[str, tuple[str, ...]]:
        """(what they are, labels) for a clip of a set."""
        if self.request.labels:
            return GIVEN, self.request.labels
        name = self.request.label_set or dataset
        return (name, self.labels[name]) if name in self.labels else (ALL, self.every)

    def rows(self, units: Iterable[Unit]) -> Iterator[Row]:
        """One row for each clip and for each error of the units, in their order.

        Raises:
            OSError: a remote storage failed.
        """
        waiting: list[tuple[Unit, SkeletonSequence | Row]] = []
        clips = 0
        for unit in units:
            for entry in read_unit(unit):
                is_clip = isinstance(entry, SkeletonSequence)
                waiting.append((unit, entry if is_clip else error_row(unit, str(entry))))
                clips += is_clip
                if clips == self.batch:
                    yield from self._settle(waiting)
                    waiting, clips = [], 0
        yield from self._settle(waiting)

    def _settle(self, waiting: Sequence[tuple[Unit, SkeletonSequence | Row]]) -> Iterator[Row]:
        """Rows of what has been read, errors at their place."""
        clips = [(unit, entry) for unit, entry in waiting if isinstance(entry, SkeletonSequence)]
        rows = iter(self._predict(clips))
        for _, entry in waiting:
            yield next(rows) if isinstance(entry, SkeletonSequence) else entry

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
        question, names = self.request.question, [self.candidates(clip.dataset) for _, clip in clips]
        own = bool(question and self.request.labels)
        texts = [question if own else prompts.mqa_prompt(labels) for _, labels in names]
        answers: list[str | None] = [None] * len(clips)
        with torch.no_grad():
            frames = self.model.draw([clip for _, clip in clips])
            with self.model.reading():
                scores = self.model.mllm.score_candidates(frames, texts, [labels for _, labels in names])
                if question:
                    questions = [question] * len(clips)
                    answers = list(self.model.mllm.generate(frames, questions, self.request.max_new_tokens))
        rows = []
        for i, (unit, clip) in enumerate(clips):
            kind, labels = names[i]
            log_prob = scores[i].log_prob.double().cpu().numpy()
            row = clip_row(unit, clip, ranked(labels, log_prob, scores[i].tokens.cpu().numpy(), self.request.top))
            row |= {"candidates": kind, "question": question or None, "answer": answers[i]}
            row["truth_is_candidate"] = clip.label in labels if clip.label is not None else None
            row["picture"] = self._picture(unit, clip, frames[i]) if self.request.pictures else None
            rows.append(row)
        return rows

    def _picture(self, unit: Unit, clip: SkeletonSequence, frames: torch.Tensor) -> str:
        """Writes the frames that the model saw as one PNG; returns its URI."""
        name = re.sub(r"[^\w.+-]", "_", f"{clip.dataset}-{clip.id}").lstrip(".")
        uri = storage.join(self.request.pictures, f"{name}{unit.tag}.png")
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
