"""What the page knows of a clip: before the model has seen it, after, and as an example of a confusion."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PageClip:
    """One clip of the page, before the model has seen it.

    Attributes:
        key: of the shard set.
        set: its set.
        split: "test" or "training".
        label: its true label.
        candidates: what the model chooses from.
        rationale: the teacher's; empty where there is none.
    """

    key: str
    set: str
    split: str
    label: str
    candidates: tuple[str, ...]
    rationale: str = ""


@dataclass(frozen=True, kw_only=True)
class DrawnClip:
    """The same clip as the model saw it and what it said.

    Attributes:
        key, split, label, rationale: as in `PageClip`.
        prediction: the likeliest candidate.
        probability: of the prediction, 0 to 1.
        of_truth: probability of the true label; None where it is no candidate.
        answer: what the model writes.
        explanation: its own rationale; None where no stage trained one.
        rendered, sticks: frames of the trained renderer and of a fixed one, as data URIs of strips.
    """

    key: str
    split: str
    label: str
    rationale: str
    prediction: str
    probability: float
    of_truth: float | None
    answer: str
    explanation: str | None
    rendered: list[str]
    sticks: list[str]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A wrong prediction, by how many of the label's clips it was given."""

    truth: str
    predicted: str
    count: int
    of: int


@dataclass(frozen=True, kw_only=True)
class WorstClip:
    """A clip that stands for a confusion; written: what the model wrote in the evaluation."""

    clip: PageClip
    confusion: Confusion
    written: str | None


@dataclass(frozen=True, kw_only=True)
class DrawnConfusion:
    """The same with its frames."""

    confusion: Confusion
    drawn: DrawnClip
    written: str | None


@dataclass(frozen=True, kw_only=True)
class ClipGroup:
    """Clips of one set."""

    set: str
    clips: list[DrawnClip]
