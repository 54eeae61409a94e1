"""Configuration -> the questions that the task `qa` asks about a clip: made from its motion, or from a user's file.

Writes no prompts (`models.prompts`) and makes no questions itself (`skeleton_io.questions.motion`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pipelines.config.stages import QuestionsConfig
from pipelines.runtime.errors import UserError
from skeleton_io import storage
from skeleton_io.questions.motion import Question, questions_of
from skeleton_io.record.sequence import SkeletonSequence

CACHED = 4096
"""Clips whose questions from motion a worker keeps; they cost a look at the whole motion."""
_NEEDED = ("clip", "question", "answer")


class QuestionSource:
    """The questions of a run.

    Args:
        cfg: where they come from and which kinds are asked.

    Raises:
        UserError: the file is missing, or a line of it is no question.
    """

    def __init__(self, cfg: QuestionsConfig) -> None:
        self.cfg = cfg
        self.listed = read_questions(cfg.file) if cfg.source != "motion" else {}
        self._remembered: Callable[[str], list[tuple[Question, ...]]] = lru_cache(CACHED)(lambda key: [])

    @property
    def keys(self) -> frozenset[str] | None:
        """Clips that have questions of the wanted kinds; None: all, since questions come from the motion."""
        if self.cfg.source != "file":
            return None
        return frozenset(key for key, questions in self.listed.items() if self._select(questions))

    def __call__(self, seq: SkeletonSequence) -> tuple[Question, ...]:
        """Questions about one clip, always in the same order; empty where there are none."""
        # The cache holds a list of each clip, empty until its questions are made: the motion is no key.
        entry = self._remembered(seq.key)
        if not entry:
            motion = questions_of(seq) if self.cfg.source != "file" else ()
            entry.append(self._select((*motion, *self.listed.get(seq.key, ()))))
        return entry[0]

    def _select(self, questions: Sequence[Question]) -> tuple[Question, ...]:
        return tuple(q for q in questions if not self.cfg.kinds or q.kind in self.cfg.kinds)


def read_questions(uri: str) -> Mapping[str, tuple[Question, ...]]:
    """Clip key -> questions of a file of JSON lines.

    Raises:
        UserError: no such file, or a line that is not {"clip", "question", "answer", "choices"?, "kind"?}; names the
            line. An answer that is none of the choices is such a line.
    """
    try:
        lines = storage.read_text(uri).splitlines()
    except FileNotFoundError:
        raise UserError(f"train.questions.file: no file at {uri}") from None
    by_clip: dict[str, list[Question]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            clip, question = _question(line, f"{uri}, line {number}")
            by_clip.setdefault(clip, []).append(question)
    return {key: tuple(questions) for key, questions in by_clip.items()}


def _question(line: str, place: str) -> tuple[str, Question]:
    """(clip key, question) of one line."""
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise UserError(f"{place}: not JSON: {error}") from None
    if not isinstance(row, dict) or set(row) - {*_NEEDED, "choices", "kind"} or set(_NEEDED) - set(row):
        shown = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
        raise UserError(f"{place}: expected clip, question, answer and perhaps choices and kind, found {shown}")
    kind, choices = row.get("kind", "file"), row.get("choices", [])
    texts = [*(row[name] for name in _NEEDED), kind, *(choices if isinstance(choices, list) else [None])]
    if not all(isinstance(text, str) and text.strip() for text in texts) or any("\n" in text for text in texts[4:]):
        raise UserError(f"{place}: expected texts that are not empty, choices on one line each")
    if choices and row["answer"] not in choices:
        raise UserError(f"{place}: the answer {row['answer']!r} is none of the choices")
    return row["clip"], Question(question=row["question"], answer=row["answer"], kind=kind, choices=tuple(choices))
