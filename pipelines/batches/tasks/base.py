"""What a task is, and what tasks read beside the clip: the surface of one file of this folder. Owns no wording."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from pipelines.batches.negatives import Negatives, build_negatives
from pipelines.batches.sampler import Draw
from pipelines.config.stages import NegativesConfig
from skeleton_io.questions.motion import Question
from skeleton_io.record.sequence import SkeletonSequence

FindQuestions = Callable[[SkeletonSequence], Sequence[Question]]
"""A clip -> the questions that may be asked about its motion."""
CHARACTERS_PER_TOKEN = 4.0
"""English text in the vocabularies of the three families; used without a tokenizer."""


@dataclass(frozen=True)
class Example:
    """One question; `task` is what is really asked, where the wanted task has no material for this clip."""

    task: str
    prompt: str
    answer: str


class Material:
    """What the tasks of a stage read beside the clip.

    Args:
        labels: set -> labels seen in training; candidates are drawn from them.
        rationales: key -> teacher's text.
        negatives: the wrong labels of yes/no questions; None: by the wording of the labels.
        questions: about the motion; None: there are none.
    """

    def __init__(
        self,
        labels: Mapping[str, Sequence[str]],
        rationales: Mapping[str, str],
        negatives: Negatives | None = None,
        questions: FindQuestions | None = None,
    ) -> None:
        self.labels, self.rationales, self.questions = labels, rationales, questions
        self._negatives = negatives

    @cached_property
    def negatives(self) -> Negatives:
        """The wrong labels; made when they are first needed, since many labels make many pairs."""
        return self._negatives or build_negatives(NegativesConfig(), dict.fromkeys(self.labels, ()), {}, self.labels)


@dataclass(frozen=True, kw_only=True)
class TrainingClips:
    """The clips of a stage, as far as their table tells, positions aside.

    Attributes:
        keys: set -> keys.
        labels: key -> label.
        captioned: keys of the clips with a caption.
        questioned: keys of the clips with questions of their own; None: each clip has some.
    """

    keys: Mapping[str, Sequence[str]]
    labels: Mapping[str, str]
    captioned: Collection[str] = frozenset()
    questioned: Collection[str] | None = None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(set, key) of every clip."""
        return [(name, key) for name, own in self.keys.items() for key in own]

    @property
    def labelled(self) -> frozenset[str]:
        """Keys of the clips with a label."""
        return frozenset(key for _, key in self.pairs if key in self.labels)


class Task(ABC):
    """One way to ask about a clip; has no state.

    Attributes:
        name: in `StageConfig.tasks`.
        needs_label: whether only clips with a label can be asked; a stage with a task that needs none also trains on
            clips without.
    """

    name: ClassVar[str]
    needs_label: ClassVar[bool] = True

    @abstractmethod
    def write(self, material: Material, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example | None:
        """Question and answer about a clip; None where there is no material for it.

        Args:
            material: what the stage's tasks read.
            draw: the clip's key and, for yes/no, the right answer.
            seq: the clip.
            rng: the only source of chance.
        """

    @abstractmethod
    def askable(self, clips: TrainingClips, material: Material) -> Iterable[str]:
        """Keys of the clips that `write` has material for, without a look at their motion."""

    @abstractmethod
    def typical(self, labels: Sequence[str], rationale: float) -> tuple[str, float]:
        """(question, characters of the answer) that stand for the task where nothing was written yet.

        Args:
            labels: of a set, at least one.
            rationale: mean characters of the accepted rationales; 0: not known.
        """

    def assumption(self, rationale: float) -> str:
        """What `typical` takes for granted about the length of answers; empty where it is known."""
        return ""
