"""rationale: explain the motion and name the action, as the teacher did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from models import prompts
from pipelines.batches.sampler import Draw
from pipelines.batches.tasks.base import CHARACTERS_PER_TOKEN, Example, Material, Task, TrainingClips
from skeleton_io.record.sequence import SkeletonSequence

TOKENS = 120
"""Of a rationale, where none is there yet."""


class ExplainMotion(Task):
    """See Task."""

    name = "rationale"

    def write(self, material: Material, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        """See Task."""
        if seq.label is None or draw.key not in material.rationales:
            return None
        answer = prompts.rationale_target(material.rationales[draw.key], seq.label)
        return Example(self.name, prompts.rationale_prompt(), answer)

    def askable(self, clips: TrainingClips, material: Material) -> Iterable[str]:
        """See Task."""
        return (key for key in clips.labelled if key in material.rationales)

    def typical(self, labels: Sequence[str], rationale: float) -> tuple[str, float]:
        """See Task."""
        middle = sorted(labels, key=len)[len(labels) // 2]
        return prompts.rationale_prompt(), (rationale or TOKENS * CHARACTERS_PER_TOKEN) + len(middle)

    def assumption(self, rationale: float) -> str:
        """See Task."""
        return "" if rationale else f"rationales of {TOKENS} tokens"
