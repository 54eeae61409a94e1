"""What a teacher is asked and what it answers: the protocol and its plain dataclasses.

A teacher knows the true label and explains it from the motion; the student learns to write the same text without being
told the label. Starts nothing, stores nothing: asking many clips and keeping the answers is `pipelines.rationales`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from skeleton_io.sequence import SkeletonSequence


@dataclass(frozen=True, kw_only=True)
class TeacherRequest:
    """One clip to explain."""

    sequence: SkeletonSequence
    """The clip; its `key` identifies the request."""
    label: str
    """The true label, in the words in which the answer must end."""
    frames: NDArray[np.uint8] | None = None
    """(F, H, W, 3) rendered frames, for teachers that look at pictures; None where they were not drawn."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One link of the causal chain over time.

    Attributes:
        start, end: seconds from the first frame.
        part: what moves, for example "right hand"; motion: what it does, for example "goes up 0.5 m".
        cause: how it follows from the steps before, for example "then"; empty for the first.
    """

    start: float
    end: float
    part: str
    motion: str
    cause: str


@dataclass(frozen=True, kw_only=True)
class Rationale:
    """A teacher's answer, as structure and as the text that the student learns.

    Attributes:
        summary: one short sentence.
        steps: in the order of time.
        evidence: what sets the motion apart (contacts, repetitions, what stays still).
        label: as requested.
        text: summary, steps, evidence and a last line "Label: X", which alone names the label.
    """

    summary: str
    steps: tuple[Step, ...]
    evidence: str
    label: str
    text: str


@runtime_checkable
class Teacher(Protocol):
    """Anything that explains clips. Must be picklable: it travels to the workers that ask."""

    name: str
    """Short name, as in the configuration."""
    version: int
    """Raised whenever the same request gives another answer; stored rationales of other versions are made again."""

    def ask(self, request: TeacherRequest) -> Rationale:
        """Explains one clip.

        Raises:
            ValueError: the request cannot be answered; the clip then gets no rationale, with this reason.
        """
        ...
