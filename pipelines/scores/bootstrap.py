"""Per-clip values -> 95 % bootstrap intervals of means and other statistics, and of the difference of two models.

Resamples clips with replacement (Efron 1979), percentile interval, always from a seed. Knows no model and no
files. Memory is bounded whatever the number of clips: resamples are drawn in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Statistic = Callable[[Floats], Floats]
"""(R, N) how often each clip was drawn -> (R,) value of each resample."""
# Counts of one block, 32 MB as float64.
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval and what is needed to judge it."""

    mean: float
    low: float
    high: float
    clips: int


def draw_counts(clips: int, seed: int, resamples: int) -> Iterator[Floats]:
    """Blocks (R, clips) of counts: how often each clip is in each resample; R adds up to `resamples`."""
    # A generator of its own: an interval must not depend on what was drawn before.
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK_VALUES // max(1, clips))
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        # One bincount for the whole block: each resample counts in places of its own.
        places = rng.integers(0, clips, (size, clips)) + np.arange(size)[:, None] * clips
        yield np.bincount(places.ravel(), minlength=size * clips).reshape(size, clips).astype(np.float64)


def bootstrap_statistic(statistic: Statistic, clips: int, seed: int, resamples: int = 2000) -> Interval:
    """Interval of any statistic that can be computed from counts; its value is that of every clip once.

    A resample in which it is undefined (NaN) is left out.

    Raises:
        ValueError: no clips.
    """
    if clips < 1:
        raise ValueError(f"bootstrap: expected at least one clip, found {clips}")
    value = float(statistic(np.ones((1, clips)))[0])
    values = np.concatenate([statistic(counts) for counts in draw_counts(clips, seed, resamples)])
    # A resample without clips of an unseen class has no harmonic mean.
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Interval(value, float(low), float(high), clips)


def bootstrap(values: Floats | NDArray[np.bool_], seed: int, resamples: int = 2000) -> Interval:
    """Interval of the mean of per-clip values.

    Raises:
        ValueError: no clips.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"bootstrap: expected one value for each of at least one clip, found shape {x.shape}")
    ends = bootstrap_statistic(lambda counts: counts @ x / len(x), len(x), seed, resamples)
    # The plain mean: summed in another order, the last bit would differ from what a reader computes.
    return Interval(float(x.mean()), ends.low, ends.high, len(x))


def class_mean(hits: NDArray[np.bool_], classes: NDArray[np.integer]) -> Statistic:
    """Mean of the per-class accuracies; a class that a resample lacks is left out of its mean."""
    member = (np.asarray(classes)[:, None] == np.unique(classes)).astype(np.float64)
    right = member * np.asarray(hits, dtype=np.float64)[:, None]

    def statistic(counts: Floats) -> Floats:
        total = counts @ member
        share = np.divide(counts @ right, total, out=np.full(total.shape, np.nan), where=total > 0)
        # A class that the resample lacks is left out, not counted as 0.
        return np.nanmean(share, axis=1)

    return statistic


def binned_gap(confidence: Floats, correct: NDArray[np.bool_], place: NDArray[np.integer], bins: int) -> Statistic:
    """Expected calibration error of each resample (arXiv 1706.04599, equation 3); place: bin of each clip."""
    gap = (np.asarray(place)[:, None] == np.arange(bins)) * (np.asarray(correct, float) - confidence)[:, None]
    return lambda counts: np.abs(counts @ gap).sum(1) / counts.sum(1)


def area_under_risk(confidence: Floats, correct: NDArray[np.bool_]) -> Statistic:
    """Mean error over all coverages (AURC, arXiv 1705.08500): 0 is best; clips of equal confidence are one group."""
    order = np.argsort(-np.asarray(confidence), kind="stable")
    ordered = -np.asarray(confidence)[order]
    # Clips of equal confidence have no order: each gets the risk at the end of its group.
    last = np.searchsorted(ordered, ordered, side="right") - 1
    wrong = 1 - np.asarray(correct, dtype=np.float64)[order]

    def statistic(counts: Floats) -> Floats:
        ordered_counts = counts[:, order]
        total = np.cumsum(ordered_counts, axis=1)
        risk = np.cumsum(ordered_counts * wrong, axis=1) / np.maximum(total, 1)
        return (ordered_counts * risk[:, last]).sum(1) / total[:, -1]

    return statistic


@dataclass(frozen=True)
class Difference:
    """How much better A is than B on the same clips.

    Attributes:
        value: mean of A minus mean of B.
        low, high: 95 % interval, clips resampled in pairs.
        p: two-sided bootstrap p-value of no difference, at least 2 / (resamples + 1).
        only_a, only_b: clips that one has right and the other wrong.
        mcnemar: exact two-sided p-value of McNemar's test on those (Biometrika 12, 1947).
        clips: their number.
    """

    value: float
    low: float
    high: float
    p: float
    only_a: int
    only_b: int
    mcnemar: float
    clips: int


def compare_paired(a: NDArray[np.bool_], b: NDArray[np.bool_], seed: int, resamples: int = 2000) -> Difference:
    """Compares two models' hits on the same clips.

    Raises:
        ValueError: no clips, or not the same number.
    """
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"paired: expected two equal rows of at least one clip, found {a.shape} and {b.shape}")
    # Half a second of import that only this comparison needs.
    from scipy.stats import binomtest

    # +1: only A is right, -1: only B; clips on which both agree say nothing.
    gap = a.astype(np.float64) - b
    values = np.concatenate([counts @ gap / len(gap) for counts in draw_counts(len(gap), seed, resamples)])
    low, high = np.percentile(values, [2.5, 97.5])
    # Smaller of the two tails, doubled; one is added so that a finite number of resamples never says 0.
    tail = min((values <= 1e-12).sum(), (values >= -1e-12).sum())
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    exact = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    p = min(1.0, 2 * (float(tail) + 1) / (resamples + 1))
    return Difference(float(gap.mean()), float(low), float(high), p, only_a, only_b, float(exact), len(a))


def harmonic_of(hits: NDArray[np.bool_], hidden: NDArray[np.bool_]) -> Statistic:
    """2 s u / (s + u) of the accuracies on clips of seen and of unseen classes; NaN where one of them has no clip."""
    sides = np.stack([~np.asarray(hidden), np.asarray(hidden)], axis=1).astype(np.float64)
    right = sides * np.asarray(hits, dtype=np.float64)[:, None]

    def statistic(counts: Floats) -> Floats:
        total = counts @ sides
        seen, unseen = np.divide(counts @ right, total, out=np.full(total.shape, np.nan), where=total > 0).T
        both = seen + unseen
        return np.divide(2 * seen * unseen, both, out=np.where(np.isnan(both), np.nan, 0.0), where=both > 0)

    return statistic
