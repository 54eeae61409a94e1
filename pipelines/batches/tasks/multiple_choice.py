"""mqa: which of the labels? The candidates are all labels of the set, in an order drawn anew each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from models import prompts
from pipelines.batches.sampler import Draw
from pipelines.batches.tasks.base import Example, Material, Task, TrainingClips
from skeleton_io.record.sequence import SkeletonSequence


class MultipleChoice(Task):
    """See Task."""

    name = "mqa"

    def write(self, material: Material, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        """See Task."""
        if seq.label is None:
            return None
        labels = material.labels[seq.dataset]
        order = [labels[int(i)] for i in rng.permutation(len(labels))]
        return Example(self.name, prompts.mqa_prompt(order), seq.label)

    def askable(self, clips: TrainingClips, material: Material) -> Iterable[str]:
        """See Task."""
        return clips.labelled

    def typical(self, labels: Sequence[str], rationale: float) -> tuple[str, float]:
        """See Task."""
        return prompts.mqa_prompt(labels), sum(map(len, labels)) / len(labels)
