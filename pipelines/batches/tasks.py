"""A draw -> question and answer. Candidates and negatives come from the labels seen in training, per set.

The question never holds the answer, except as one of the candidates. Owns no wording: `models.prompts` does. Says which
clips have material for which task; which task a clip is asked is drawn by `sampler`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models import prompts
from pipelines.batches.negatives import Negatives, build_negatives
from pipelines.batches.sampler import Draw
from pipelines.config.stages import NegativesConfig
from skeleton_io.questions.motion import Question
from skeleton_io.record.sequence import SkeletonSequence

PEOPLE = "How many people do the frames show?"
"""The last resort: every clip has an answer to it."""
Ask = Callable[[SkeletonSequence], Sequence[Question]]
"""A clip -> the questions that the task `qa` may ask about it."""


@dataclass(frozen=True)
class Example:
    """One question; `task` is what is really asked, where the wanted task has no material for this clip."""

    task: str
    prompt: str
    answer: str


class TaskBook:
    """Writes the questions of one stage.

    Args:
        labels: set -> labels seen in training; candidates are drawn from them.
        rationales: key -> teacher's text.
        negatives: the wrong labels of yes/no questions; None: by the wording of the labels.
        questions: of the task qa; None: there are none.
    """

    def __init__(
        self,
        labels: Mapping[str, Sequence[str]],
        rationales: Mapping[str, str],
        negatives: Negatives | None = None,
        questions: Ask | None = None,
    ) -> None:
        self.labels, self.rationales, self.questions = labels, rationales, questions
        self._negatives = negatives

    @cached_property
    def negatives(self) -> Negatives:
        """The wrong labels; made when they are first asked for, since many labels make many pairs."""
        return self._negatives or build_negatives(NegativesConfig(), dict.fromkeys(self.labels, ()), {}, self.labels)

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
        if draw.task not in WRITERS:
            raise ValueError(f"unknown task {draw.task!r}")
        for task in (draw.task, "mqa", "caption"):
            example = WRITERS[task](self, draw, seq, rng)
            if example is not None:
                return example
        people = int(seq.present.any(axis=(0, 2)).sum())
        return Example(draw.task, prompts.qa_prompt(PEOPLE), str(people))

    def _mqa(self, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        if seq.label is None:
            return None
        labels = self.labels[seq.dataset]
        order = [labels[int(i)] for i in rng.permutation(len(labels))]
        return Example("mqa", prompts.mqa_prompt(order), seq.label)

    def _yesno(self, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        if seq.label is None or not self.negatives.has(seq.dataset, seq.label):
            return None
        label = seq.label if draw.positive else self.negatives.draw(seq.dataset, seq.label, rng)
        return Example("yesno", prompts.yesno_prompt(label), prompts.YES if draw.positive else prompts.NO)

    def _rationale(self, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        if seq.label is None or draw.key not in self.rationales:
            return None
        answer = prompts.rationale_target(self.rationales[draw.key], seq.label)
        return Example("rationale", prompts.rationale_prompt(), answer)

    def _caption(self, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        if not seq.captions:
            return None
        return Example("caption", prompts.caption_prompt(), seq.captions[int(rng.integers(len(seq.captions)))])

    def _qa(self, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        questions = self.questions(seq) if self.questions is not None else ()
        if not questions:
            return None
        question = questions[int(rng.integers(len(questions)))]
        choices = [question.choices[int(i)] for i in rng.permutation(len(question.choices))]
        return Example("qa", prompts.qa_prompt(question.question, choices), question.answer)


WRITERS: dict[str, Callable[[TaskBook, Draw, SkeletonSequence, np.random.Generator], Example | None]] = {
    "mqa": TaskBook._mqa,
    "yesno": TaskBook._yesno,
    "rationale": TaskBook._rationale,
    "caption": TaskBook._caption,
    "qa": TaskBook._qa,
}


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
    every = [(name, key) for name, own in keys.items() for key in own]
    labelled = frozenset(key for _, key in every if key in labels)
    known: dict[str, Callable[[], Iterable[str]]] = {
        "mqa": lambda: labelled,
        "yesno": lambda: (key for name, key in every if key in labelled and book.negatives.has(name, labels[key])),
        "rationale": lambda: (key for key in labelled if key in book.rationales),
        "caption": lambda: (key for _, key in every if key in captioned),
        "qa": lambda: (key for _, key in every if questioned is None or key in questioned),
    }
    return {task: frozenset(known[task]()) for task in {*tasks, "mqa"}}
