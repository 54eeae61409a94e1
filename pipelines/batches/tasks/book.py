"""A draw -> question and answer, by the task that it names or the next that has material; and which clips have some.

The question never holds the answer, except as one of the candidates. Which task a clip is asked is drawn by `sampler`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from models import prompts
from pipelines.batches.sampler import Draw
from pipelines.batches.tasks.base import Example, Material, TrainingClips
from pipelines.batches.tasks.registry import task_named
from skeleton_io.record.sequence import SkeletonSequence

PEOPLE = "How many people do the frames show?"
"""The last resort: every clip has an answer to it."""
FALLBACKS = ("mqa", "caption")
"""Tasks that a clip is asked where the drawn one has nothing for it, in this order."""


class TaskBook(Material):
    """Writes the questions of one stage; takes what `Material` takes."""

    def example(self, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example:
        """Question and answer of one draw.

        Where the task has no material for the clip it is multiple choice, else a caption; a clip that has neither label
        nor caption, and whose motion answers no question clearly, is asked how many people it shows.

        Args:
            draw: names task and, for yes/no, the right answer.
            seq: the clip.
            rng: draws the order of candidates, negatives, captions and questions.

        Raises:
            ValueError: the task is unknown.
        """
        for name in (draw.task, *FALLBACKS):
            example = task_named(name).write(self, draw, seq, rng)
            if example is not None:
                return example
        people = int(seq.present.any(axis=(0, 2)).sum())
        return Example(draw.task, prompts.qa_prompt(PEOPLE), str(people))


def find_material(
    tasks: Iterable[str],
    keys: Mapping[str, Sequence[str]],
    labels: Mapping[str, str],
    captioned: Collection[str],
    book: TaskBook,
    questioned: Collection[str] | None,
) -> dict[str, frozenset[str]]:
    """Task -> keys of the clips that it can be asked about, for the tasks of a mix and multiple choice.

    Args:
        tasks: of the mix.
        keys: set -> keys of the training clips.
        labels: key -> label.
        captioned: keys of the clips with a caption.
        book: has the rationales and negatives.
        questioned: keys of the clips with questions of their own; None: each clip has some.
    """
    clips = TrainingClips(keys=keys, labels=labels, captioned=captioned, questioned=questioned)
    return {name: frozenset(task_named(name).askable(clips, book)) for name in {*tasks, "mqa"}}
