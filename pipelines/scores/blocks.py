"""Shapes of the JSON blocks that hold scores: in metrics.json, robustness.json, captions.json, qa.json, transfer.json.

Shares are 0 to 1, rounded to 4 digits; `ci95` is [low, high] of a 95 % bootstrap interval over clips; null where a
statistic is undefined.
"""

from __future__ import annotations

from typing import Any, TypedDict

Ends = list[float | None]
"""[low, high] of an interval."""


class IntervalBlock(TypedDict):
    """A value with its interval; n: clips."""

    value: float | None
    n: int
    ci95: Ends


class AccuracyBlock(TypedDict):
    """Top-1, -3 and -5 accuracy under one rule; chance: mean of 1 / number of candidates."""

    value: float | None
    chance: float
    n: int
    ci95: Ends
    top3: float | None
    top3_ci95: Ends
    top5: float | None
    top5_ci95: Ends


class WrittenBlock(TypedDict):
    """Accuracy of the answers that the model wrote; no_label_named: share that name none of the candidates."""

    exact: IntervalBlock
    nearest: IntervalBlock
    substring: IntervalBlock
    no_label_named: float


class BinBlock(TypedDict):
    """One bar of a calibration plot; the last two are null where the bin is empty."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


class CalibrationBlock(TypedDict):
    """Negative log-likelihood (nats) and expected calibration error (0 to 1)."""

    nll: float | None
    nll_ci95: Ends
    ece: float | None
    ece_ci95: Ends
    bins: list[BinBlock]


class AbstentionBlock(TypedDict):
    """Accuracy on the most confident share of the clips; aurc: area under the risk-coverage curve, 0 is best."""

    coverage: list[float]
    accuracy: list[float]
    aurc: float | None
    aurc_ci95: Ends


class ScoresBlock(TypedDict):
    """What stands both over all sets and for each; rules: by name of the rule."""

    accuracy: AccuracyBlock
    mean_class: IntervalBlock
    rules: dict[str, AccuracyBlock]
    generated: WrittenBlock | None
    calibration: CalibrationBlock | None
    abstention: AbstentionBlock
    outside_candidates: int


class ClassBlock(TypedDict):
    """Accuracy on the clips of one label."""

    label: str
    n: int
    value: float | None
    ci95: Ends


class SetBlock(ScoresBlock):
    """One set. confusion: (classes, classes) counts, row = truth; floor: accuracy that the configuration names."""

    floor: float | None
    labels: list[str]
    per_class: list[ClassBlock]
    confusion: list[list[int]]


class AllScoresBlock(ScoresBlock):
    """All clips, and each set by itself."""

    sets: dict[str, SetBlock]


class HarmonicBlock(TypedDict):
    """Generalised zero-shot: accuracy on seen and unseen classes over all candidates, and their harmonic mean."""

    seen: IntervalBlock
    unseen: IntervalBlock
    harmonic: IntervalBlock


class DifferenceBlock(TypedDict):
    """One model minus another on the same clips; p: paired bootstrap, mcnemar: exact."""

    value: float
    ci95: list[float]
    p: float
    mcnemar: float


MissingBlock = dict[str, Any]
"""{"missing": reason} in the place of an IntervalBlock."""
