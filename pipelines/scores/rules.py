"""Scores of predictions: answers and candidate log-probabilities as numpy arrays -> numbers to report.

Pure functions, no model and no files. N clips, C candidates. Every random draw takes a seed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.prompts import stated_label

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
_NOT_WORD = re.compile(r"[\W_]+")


def normalise(text: str) -> str:
    """Lower case, words separated by single spaces, no punctuation."""
    return _NOT_WORD.sub(" ", text.lower()).strip()


def exact_match(answer: str, candidates: Sequence[str]) -> int | None:
    """Index of the candidate an answer names, None if it names none.

    The text after the last `Label:` is judged where there is one, else the whole answer. After `normalise`, a
    candidate counts where it stands as whole words; the longest is tried first, so that "throw" is not found in an
    answer that says "throw and catch" where both are candidates.
    """
    stated = stated_label(answer)
    # Spaces around: whole words match at the ends too.
    text = f" {normalise(answer if stated is None else stated)} "
    by_length = sorted(range(len(candidates)), key=lambda c: -len(normalise(candidates[c])))
    for c in by_length:
        name = normalise(candidates[c])
        if name and f" {name} " in text:
            return c
    return None


def nearest_match(answer: str, candidates: Sequence[str]) -> int | None:
    """Index of the candidate an answer comes nearest to; None for an answer that has nothing in common with any.

    `exact_match` where it names one. Else the highest Dice coefficient of character trigrams (words padded with a space
    on both sides), the first in order where several are as near.
    """
    named = exact_match(answer, candidates)
    if named is not None:
        return named
    stated = stated_label(answer)
    own = _trigrams(answer if stated is None else stated)
    # The denominator is at least 1 for an answer of punctuation only.
    scores = [2 * len(own & other) / max(1, len(own) + len(other)) for other in map(_trigrams, candidates)]
    best = max(range(len(scores)), key=lambda c: scores[c])
    return best if scores[best] > 0 else None


def _trigrams(text: str) -> set[str]:
    return {f" {word} "[i : i + 3] for word in normalise(text).split() for i in range(len(word))}


def substring_match(answer: str, label: str) -> bool:
    """The paper's official score: the true label is contained in the lower-cased answer (arXiv 2603.18003).

    Unsound where one label contains another; reported for comparison only.
    """
    return label.lower() in answer.lower()


def closed_set(
    log_prob: Floats,
    tokens: Ints,
    prior_log_prob: Floats | None = None,
    length_normalise: bool = True,
) -> Floats:
    """Scores of a closed set of candidates, higher is better; the prediction is the argmax over the last axis.

    log_prob (N, C) summed over each candidate's tokens; tokens (N, C) or (C,) their number. prior_log_prob (C,) or
    (N, C): the same sums under a content-free clip; subtracting them removes what the words alone make likely
    (domain-conditional PMI, arXiv 2104.08315). length_normalise: per token instead of per candidate.
    """
    scores = np.asarray(log_prob, dtype=np.float64)
    if prior_log_prob is not None:
        scores = scores - np.asarray(prior_log_prob, dtype=np.float64)
    return scores / np.asarray(tokens) if length_normalise else scores


def log_posterior(scores: Floats) -> Floats:
    """(.., C) scores -> log-probabilities over the candidates."""
    # The softmax does not change, and nothing overflows.
    shifted = scores - scores.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def probabilities(scores: Floats) -> Floats:
    """(.., C) scores of `closed_set` -> probabilities of the candidates: their softmax."""
    return np.exp(log_posterior(scores))


def top_k(scores: Floats, truth: Ints, k: int) -> NDArray[np.bool_]:
    """(N,) whether fewer than k candidates score above the true one.

    A tie counts as above, so constants score 0; so does a rival that is NaN. A true candidate that is NaN is wrong.
    """
    own = np.take_along_axis(scores, np.asarray(truth)[:, None], -1)
    return ~np.isnan(own[:, 0]) & ((~(scores < own)).sum(-1) <= k)


def negative_log_likelihood(log_probs: Floats, truth: Ints) -> float:
    """Mean negative log-probability of the true candidate, nats; log_probs from `log_posterior`."""
    return float(-np.take_along_axis(log_probs, np.asarray(truth)[:, None], -1).mean())


def calibration_error(log_probs: Floats, truth: Ints, bins: int = 15) -> float:
    """Expected calibration error with equal-width bins (arXiv 1706.04599, equation 3), in [0, 1]."""
    confidence = np.exp(log_probs.max(-1))
    correct = log_probs.argmax(-1) == np.asarray(truth)
    place = confidence_bin(confidence, bins)
    gaps = [abs(correct[place == b].sum() - confidence[place == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(confidence))


def reliability(log_probs: Floats, truth: Ints, bins: int = 15) -> list[tuple[int, float, float]]:
    """(clips, mean confidence, accuracy) of each equal-width bin of confidence, what a calibration plot shows.

    NaN for the two shares of an empty bin. The bins are those of `calibration_error`.
    """
    confidence = np.exp(log_probs.max(-1))
    correct = log_probs.argmax(-1) == np.asarray(truth)
    place = confidence_bin(confidence, bins)
    table = []
    for b in range(bins):
        inside = place == b
        count = int(inside.sum())
        shares = (float(confidence[inside].mean()), float(correct[inside].mean())) if count else (np.nan, np.nan)
        table.append((count, *shares))
    return table


def confidence_bin(confidence: Floats, bins: int) -> Ints:
    """(N,) number of the equal-width bin of each confidence in [0, 1]; 1 belongs to the last."""
    return np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)


def risk_coverage(confidence: Floats, correct: Floats | NDArray[np.bool_]) -> Floats:
    """(N,) accuracy when only the k + 1 most confident clips are answered, k = 0 to N - 1 (arXiv 1705.08500).

    Clips of equal confidence are answered together: each of them gets the accuracy at the end of its group, so the
    result does not depend on their order.
    """
    confidence, correct = np.asarray(confidence), np.asarray(correct, dtype=np.float64)
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    running = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    last = np.searchsorted(-ordered, -ordered, side="right") - 1
    return running[last]


def harmonic_mean(seen: float, unseen: float) -> float:
    """Generalised zero-shot score 2 s u / (s + u); 0 where both are 0."""
    return 0.0 if seen + unseen == 0 else 2 * seen * unseen / (seen + unseen)


def per_class_accuracy(predicted: Ints, truth: Ints, classes: int) -> Floats:
    """(classes,) share of each true class that is predicted right; NaN for a class without clips. -1 = no answer."""
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    total = np.bincount(truth, minlength=classes).astype(np.float64)
    right = np.bincount(truth[predicted == truth], minlength=classes)
    return np.divide(right, total, out=np.full(classes, np.nan), where=total > 0)


def confusion_matrix(predicted: Ints, truth: Ints, classes: int) -> Ints:
    """(classes, classes + 1) counts, row = truth, column = prediction; the last column counts clips without answer."""
    table = np.zeros((classes, classes + 1), dtype=np.int64)
    # No answer has a column of its own behind the classes.
    column = np.where(np.asarray(predicted) < 0, classes, predicted)
    np.add.at(table, (np.asarray(truth), column), 1)
    return table
