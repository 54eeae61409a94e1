"""Scored clips -> accuracy with chance and interval, ranks, calibration, confusion, per class, as plain JSON data.

Reads no files, runs no model and chooses nothing: every rule is computed on all clips and stands under its own name.
The formulas are in `models.scoring`; this module only groups clips and lays the numbers out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import scoring

RULES = ("normalised", "summed", "prior_corrected")
HEADLINE = "normalised"
"""The rule behind "accuracy", fixed in advance: choosing it by its test score would be selection on the test clips."""


@dataclass(frozen=True)
class ClipScore:
    """What the model said about one clip.

    log_prob, tokens and prior hold one entry per candidate of the clip's set, in the order of that set's candidates:
    summed log-probability in nats, token count, and the log-probability for frames without content.
    """

    key: str
    set: str
    label: str
    log_prob: tuple[float, ...]
    tokens: tuple[int, ...]
    prior: tuple[float, ...]
    generated: str | None


def rule_scores(clip: ClipScore, rule: str) -> NDArray[np.floating]:
    """(C,) scores of a clip's candidates, higher is better.

    normalised: mean log-probability per token. summed: log-probability of the whole answer. prior_corrected:
    normalised, less the same for a content-free clip.
    """
    log_prob, tokens = np.asarray(clip.log_prob), np.asarray(clip.tokens)
    if rule == "summed":
        return scoring.closed_set(log_prob, tokens, length_normalise=False)
    if rule == "normalised":
        return scoring.closed_set(log_prob, tokens)
    if rule == "prior_corrected":
        return scoring.closed_set(log_prob, tokens, prior_log_prob=np.asarray(clip.prior))
    raise ValueError(f"rule: expected one of {RULES}, found {rule!r}")


@dataclass(frozen=True)
class Judge:
    """The closed sets and how intervals are drawn.

    candidates: set -> candidate labels in order. resamples, seed: of the bootstrap over clips.
    """

    candidates: Mapping[str, Sequence[str]]
    resamples: int
    seed: int

    def truth(self, clip: ClipScore) -> int | None:
        """Index of the true label among its set's candidates; None where it is not one of them."""
        names = list(self.candidates[clip.set])
        return names.index(clip.label) if clip.label in names else None

    def share(self, hits: Sequence[bool]) -> dict[str, Any]:
        """{"value", "n", "ci95"} of a list of successes."""
        found = scoring.bootstrap(np.asarray(hits, dtype=bool), self.seed, self.resamples)
        return {
            "value": round(found.mean, 4),
            "n": found.clips,
            "ci95": [round(found.low, 4), round(found.high, 4)],
        }

    def ranked(self, clip: ClipScore, rule: str, k: int) -> bool:
        """Whether the true label is among the k best; never for a label outside the candidates."""
        truth = self.truth(clip)
        return truth is not None and bool(scoring.top_k(rule_scores(clip, rule)[None], np.array([truth]), k)[0])

    def accuracy(self, clips: Sequence[ClipScore], rule: str) -> dict[str, Any]:
        """{"value", "chance", "n", "ci95", "top3"}; chance is the mean of 1 / number of candidates."""
        first = self.share([self.ranked(c, rule, 1) for c in clips])
        chance = float(np.mean([1 / len(self.candidates[c.set]) for c in clips]))
        top3 = float(np.mean([self.ranked(c, rule, 3) for c in clips]))
        return {
            "value": first["value"],
            "chance": round(chance, 4),
            "n": first["n"],
            "ci95": first["ci95"],
            "top3": round(top3, 4),
        }

    def generated(self, clips: Sequence[ClipScore]) -> dict[str, Any] | None:
        """Exact and official substring accuracy of the written answers; None where none were asked for."""
        told = [(c, c.generated) for c in clips if c.generated is not None]
        if not told:
            return None
        exact = [scoring.exact_match(text, list(self.candidates[c.set])) for c, text in told]
        return {
            "exact": self.share([e is not None and e == self.truth(c) for e, (c, _) in zip(exact, told, strict=True)]),
            "substring": self.share([scoring.substring_match(text, c.label) for c, text in told]),
            "no_label_named": round(float(np.mean([e is None for e in exact])), 4),
        }

    def calibration(self, clips: Sequence[ClipScore]) -> dict[str, float] | None:
        """Negative log-likelihood (nats) and expected calibration error of the softmax over summed log-probabilities.

        Clips of several sets have different numbers of candidates; missing ones get probability 0.
        """
        known = [(c, t) for c in clips if (t := self.truth(c)) is not None]
        if not known:
            return None
        table = np.full((len(known), max(len(c.log_prob) for c, _ in known)), -1e9)
        for row, (clip, _) in zip(table, known, strict=True):
            row[: len(clip.log_prob)] = rule_scores(clip, "summed")
        posterior, truth = scoring.log_posterior(table), np.array([t for _, t in known])
        return {
            "nll": round(scoring.negative_log_likelihood(posterior, truth), 4),
            "ece": round(scoring.calibration_error(posterior, truth), 4),
        }

    def summary(self, clips: Sequence[ClipScore]) -> dict[str, Any]:
        """The block that stands both over all sets and for each."""
        rules = {rule: self.accuracy(clips, rule) for rule in RULES}
        return {
            "accuracy": rules[HEADLINE],
            "rules": rules,
            "generated": self.generated(clips),
            "calibration": self.calibration(clips),
            "outside_candidates": sum(self.truth(c) is None for c in clips),
        }

    def set_metrics(self, name: str, clips: Sequence[ClipScore], floor: float | None) -> dict[str, Any]:
        """`summary` of one set with its floor, per-class accuracy and confusion matrix (row = truth)."""
        names = list(self.candidates[name])
        known = [(c, t) for c in clips if (t := self.truth(c)) is not None]
        predicted = np.array([int(rule_scores(c, HEADLINE).argmax()) for c, _ in known], dtype=int)
        truth = np.array([t for _, t in known], dtype=int)
        counts = scoring.confusion_matrix(predicted, truth, len(names))[:, : len(names)]
        per_class = [
            {"label": label, "n": int(row.sum()), "value": round(float(row[i] / row.sum()), 4) if row.sum() else None}
            for i, (label, row) in enumerate(zip(names, counts, strict=True))
        ]
        return {
            **self.summary(clips),
            "floor": floor,
            "labels": names,
            "per_class": per_class,
            "confusion": counts.tolist(),
        }

    def assemble(self, clips: Sequence[ClipScore], floors: Mapping[str, float]) -> dict[str, Any]:
        """Rows of all sets -> `summary` over all of them and "sets" with one entry for each set that has clips.

        Raises:
            ValueError: no clips at all.
        """
        if not clips:
            raise ValueError("no scored clips")
        by_set: dict[str, list[ClipScore]] = {name: [] for name in self.candidates}
        for clip in sorted(clips, key=lambda c: c.key):
            by_set[clip.set].append(clip)
        sets = {name: self.set_metrics(name, members, floors.get(name)) for name, members in by_set.items() if members}
        return {**self.summary([c for members in by_set.values() for c in members]), "sets": sets}
