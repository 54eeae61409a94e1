"""qa: a question whose answer the joints give, or one of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from models import prompts
from pipelines.batches.sampler import Draw
from pipelines.batches.tasks.base import CHARACTERS_PER_TOKEN, Example, Material, Task, TrainingClips
from skeleton_io.record.sequence import SkeletonSequence

TOKENS = 8
"""Of an answer."""


class AnswerQuestion(Task):
    """See Task."""

    name = "qa"
    needs_label = False

    def write(self, material: Material, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        """See Task."""
        questions = material.questions(seq) if material.questions is not None else ()
        if not questions:
            return None
        question = questions[int(rng.integers(len(questions)))]
        choices = [question.choices[int(i)] for i in rng.permutation(len(question.choices))]
        return Example(self.name, prompts.qa_prompt(question.question, choices), question.answer)

    def askable(self, clips: TrainingClips, material: Material) -> Iterable[str]:
        """See Task."""
        return (key for _, key in clips.pairs if clips.questioned is None or key in clips.questioned)

    def typical(self, labels: Sequence[str], rationale: float) -> tuple[str, float]:
        """See Task."""
        return prompts.qa_prompt("Which hand moves first, the left or the right?"), TOKENS * CHARACTERS_PER_TOKEN

    def assumption(self, rationale: float) -> str:
        """See Task."""
        return f"answers about the motion of {TOKENS} tokens"
