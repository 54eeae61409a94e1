"""What a teacher is asked and what it answers: the protocol and its plain dataclasses.

A teacher knows the true label and explains it from the motion; the student learns to write the same text without being
told the label. A blind question hides the label, to see whether the motion alone leads to it. Starts nothing, stores
nothing: asking many clips is `pipelines.rationales.stage`, keeping the answers is
`pipelines.rationales.teachers.ledger`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import SkeletonSequence

Purpose = Literal["explain", "blind"]
FailureKind = Literal["refused", "truncated", "empty", "malformed", "rejected", "unavailable", "unanswerable"]


@dataclass(frozen=True, kw_only=True)
class TeacherRequest:
    """One clip to explain.

    Attributes:
        sequence: the clip, for teachers that read positions; its `key` identifies the request.
        label: the true label, in the words in which the answer must end; None asks blind.
        candidates: labels that a blind answer may name: those of the training classes, never others.
        frames: (F, H, W, 3) uint8 rendered frames, for teachers that look at pictures; None where not drawn.
        images: the same as encoded pictures, (MIME type, bytes) each; empty where not drawn.
    """

    sequence: SkeletonSequence
    label: str | None
    candidates: tuple[str, ...] = ()
    frames: NDArray[np.uint8] | None = None
    images: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens that an answer cost, as the server reports them; `cached` are part of `input`."""

    input: int = 0
    output: int = 0
    cached: int = 0

    @property
    def total(self) -> int:
        """Input and output."""
        return self.input + self.output


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, before anybody judges it.

    Attributes:
        raw: the teacher's own words; `structured.parse` makes a Rationale of them, today and after it has improved.
        model: who answered, as the server names it.
        usage: what it cost.
    """

    raw: str
    model: str
    usage: Usage


class TeacherError(Exception):
    """No usable answer for one request. What was paid for it is kept with the reason.

    Args:
        kind: sort of failure, for the table of dead letters.
        reason: one line; holds no secret.
        usage: what was paid nevertheless.
        raw: what came back, if anything.
    """

    def __init__(self, kind: FailureKind, reason: str, usage: Usage | None = None, raw: str = "") -> None:
        super().__init__(reason)
        self.kind: FailureKind = kind
        self.reason, self.usage, self.raw = reason, usage or Usage(), raw

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.reason, self.usage, self.raw)


class RetryLater(Exception):
    """The request may succeed if sent again.

    Args:
        reason: one line; holds no secret.
        after_s: what the server asked to wait, seconds; 0 where it did not say.
        limited: the server is well but wants fewer requests (429), so the circuit stays closed.
    """

    def __init__(self, reason: str, after_s: float = 0.0, limited: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.after_s, self.limited = reason, after_s, limited


class StopAsking(Exception):
    """Nobody's request can succeed (wrong key, unknown model, no credit): the whole stage stops, answers are kept."""


@runtime_checkable
class Teacher(Protocol):
    """Anything that explains clips. Made in each actor that asks."""

    name: str
    """Short name, as in the configuration."""
    version: int
    """Raised whenever the same request gives another answer; answers of other versions are asked for again."""
    wants_frames: bool
    """Whether it looks at pictures; if not, none are drawn."""

    async def ask(self, request: TeacherRequest) -> Answer:
        """One attempt; retries, limits and budgets are the caller's business.

        Raises:
            TeacherError: there is no usable answer.
            RetryLater: sent again, the request may succeed.
            StopAsking: no request can succeed.
        """
        ...
