"""caption: describe the motion, as one of the clip's own captions does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from models import prompts
from pipelines.batches.sampler import Draw
from pipelines.batches.tasks.base import CHARACTERS_PER_TOKEN, Example, Material, Task, TrainingClips
from skeleton_io.record.sequence import SkeletonSequence

TOKENS = 20
"""Of a caption."""


class Caption(Task):
    """See Task."""

    name = "caption"
    needs_label = False

    def write(self, material: Material, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        """See Task."""
        if not seq.captions:
            return None
        return Example(self.name, prompts.caption_prompt(), seq.captions[int(rng.integers(len(seq.captions)))])

    def askable(self, clips: TrainingClips, material: Material) -> Iterable[str]:
        """See Task."""
        return (key for _, key in clips.pairs if key in clips.captioned)

    def typical(self, labels: Sequence[str], rationale: float) -> tuple[str, float]:
        """See Task."""
        return prompts.caption_prompt(), TOKENS * CHARACTERS_PER_TOKEN

    def assumption(self, rationale: float) -> str:
        """See Task."""
        return f"captions of {TOKENS} tokens"
