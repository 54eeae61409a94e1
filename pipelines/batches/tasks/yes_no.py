"""yesno: is it this label? As often the clip's own as another of its set that could be mistaken for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from models import prompts
from pipelines.batches.sampler import Draw
from pipelines.batches.tasks.base import Example, Material, Task, TrainingClips
from skeleton_io.record.sequence import SkeletonSequence


class YesNo(Task):
    """See Task."""

    name = "yesno"

    def write(self, material: Material, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        """See Task."""
        if seq.label is None or not material.negatives.has(seq.dataset, seq.label):
            return None
        label = seq.label if draw.positive else material.negatives.draw(seq.dataset, seq.label, rng)
        return Example(self.name, prompts.yesno_prompt(label), prompts.YES if draw.positive else prompts.NO)

    def askable(self, clips: TrainingClips, material: Material) -> Iterable[str]:
        """See Task."""
        labelled = clips.labelled
        return (key for name, key in clips.pairs if key in labelled and material.negatives.has(name, clips.labels[key]))

    def typical(self, labels: Sequence[str], rationale: float) -> tuple[str, float]:
        """See Task."""
        return prompts.yesno_prompt(sorted(labels, key=len)[len(labels) // 2]), len(prompts.YES)
