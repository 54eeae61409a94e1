"""Scored clips -> accuracy, ranks, calibration, abstention, confusion, each with its interval, as plain JSON data.

Reads no files, runs no model and chooses nothing: every rule is computed on all clips and stands under its own name.
The formulas are in `pipelines.scores.rules` and `pipelines.scores.bootstrap`; this module only groups clips and lays
the numbers out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pipelines.scores import bootstrap
from pipelines.scores import rules as scoring
from pipelines.scores.blocks import (
    AbstentionBlock,
    AccuracyBlock,
    AllScoresBlock,
    BinBlock,
    CalibrationBlock,
    ClassBlock,
    HarmonicBlock,
    IntervalBlock,
    ScoresBlock,
    SetBlock,
    WrittenBlock,
)
from pipelines.scores.rule_names import AnswerRule, RankingRule, Rule

RULES: tuple[RankingRule, ...] = get_args(RankingRule)
HEADLINE: RankingRule = "normalised"
"""The rule behind "accuracy", fixed in advance: choosing it by its test score would be selection on the test clips."""
BINS = 15
"""Bins of the calibration error."""
COVERAGES = tuple(round(0.05 * k, 2) for k in range(1, 21))
"""Shares of the clips at which the abstention curve is given."""


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


def round_interval(interval: bootstrap.Interval) -> IntervalBlock:
    """An interval as JSON has it: rounded to 4 digits, null where the statistic is undefined."""
    numbers = (interval.mean, interval.low, interval.high)
    # JSON has no NaN; the page shows null as a dash.
    value, low, high = (round(x, 4) if np.isfinite(x) else None for x in numbers)
    return {"value": value, "n": interval.clips, "ci95": [low, high]}


@dataclass(frozen=True)
class Scoreboard:
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

    def share(self, hits: Sequence[bool]) -> IntervalBlock:
        """Share of successes."""
        return round_interval(bootstrap.bootstrap(np.asarray(hits, dtype=bool), self.seed, self.resamples))

    def statistic(self, of: bootstrap.Statistic, clips: int) -> IntervalBlock:
        """A statistic of counts."""
        return round_interval(bootstrap.bootstrap_statistic(of, clips, self.seed, self.resamples))

    def ranked(self, clip: ClipScore, rule: str, k: int) -> bool:
        """Whether the true label is among the k best; never for a label outside the candidates."""
        truth = self.truth(clip)
        return truth is not None and bool(scoring.top_k(rule_scores(clip, rule)[None], np.array([truth]), k)[0])

    def is_right(self, clip: ClipScore, rule: Rule) -> bool:
        """Whether a clip counts as told rightly.

        Raises:
            ValueError: a rule on written answers, and the clip has none.
        """
        if rule in RULES:
            return self.ranked(clip, rule, 1)
        if clip.generated is None:
            raise ValueError(f"{clip.key}: no written answer to judge by {rule!r}")
        if rule == "substring":
            return scoring.substring_match(clip.generated, clip.label)
        match = scoring.exact_match if rule == "exact" else scoring.nearest_match
        named = match(clip.generated, list(self.candidates[clip.set]))
        return named is not None and named == self.truth(clip)

    def accuracy(self, clips: Sequence[ClipScore], rule: str) -> AccuracyBlock:
        """Top-1, -3 and -5 accuracy under one rule."""
        first = self.share([self.ranked(c, rule, 1) for c in clips])
        chance = float(np.mean([1 / len(self.candidates[c.set]) for c in clips]))
        third, fifth = (self.share([self.ranked(c, rule, k) for c in clips]) for k in (3, 5))
        return {
            "value": first["value"],
            "chance": round(chance, 4),
            "n": first["n"],
            "ci95": first["ci95"],
            "top3": third["value"],
            "top3_ci95": third["ci95"],
            "top5": fifth["value"],
            "top5_ci95": fifth["ci95"],
        }

    def generated(self, clips: Sequence[ClipScore]) -> WrittenBlock | None:
        """Exact, nearest and official substring accuracy of the written answers; None where none were asked for."""
        texts = [(c, c.generated) for c in clips if c.generated is not None]
        if not texts:
            return None
        exact = [scoring.exact_match(text, list(self.candidates[c.set])) for c, text in texts]
        shares = {rule: self.share([self.is_right(c, rule) for c, _ in texts]) for rule in get_args(AnswerRule)}
        return {
            "exact": shares["exact"],
            "nearest": shares["nearest"],
            "substring": shares["substring"],
            "no_label_named": round(float(np.mean([index is None for index in exact])), 4),
        }

    def posterior(self, clips: Sequence[ClipScore]) -> NDArray[np.floating]:
        """(N, C) log-probabilities over the candidates: softmax of the summed log-probabilities of the answers.

        Clips of several sets have different numbers of candidates; missing ones get probability 0.
        """
        # Probability 0 after the softmax, and still finite.
        table = np.full((len(clips), max(len(c.log_prob) for c in clips)), -1e9)
        for row, clip in zip(table, clips, strict=True):
            row[: len(clip.log_prob)] = rule_scores(clip, "summed")
        return scoring.log_posterior(table)

    def calibration(self, clips: Sequence[ClipScore]) -> CalibrationBlock | None:
        """Negative log-likelihood (nats), expected calibration error, both with intervals, and the bins of a plot."""
        known = [(c, t) for c in clips if (t := self.truth(c)) is not None]
        if not known:
            return None
        # A label outside the candidates has no probability that could be calibrated.
        posterior, truth = self.posterior([c for c, _ in known]), np.array([t for _, t in known])
        losses = -np.take_along_axis(posterior, truth[:, None], -1)[:, 0]
        nll = round_interval(bootstrap.bootstrap(losses, self.seed, self.resamples))
        confidence, correct = np.exp(posterior.max(-1)), posterior.argmax(-1) == truth
        place = scoring.confidence_bin(confidence, BINS)
        ece = self.statistic(bootstrap.binned_gap(confidence, correct, place, BINS), len(known))
        bins: list[BinBlock] = [
            {
                "low": round(b / BINS, 4),
                "high": round((b + 1) / BINS, 4),
                "n": n,
                "confidence": round(c, 4) if n else None,
                "accuracy": round(a, 4) if n else None,
            }
            for b, (n, c, a) in enumerate(scoring.reliability(posterior, truth, BINS))
        ]
        return {
            "nll": nll["value"],
            "nll_ci95": nll["ci95"],
            "ece": ece["value"],
            "ece_ci95": ece["ci95"],
            "bins": bins,
        }

    def abstention(self, clips: Sequence[ClipScore]) -> AbstentionBlock:
        """Accuracy on the most confident share of the clips, and the area under the risk-coverage curve.

        The answer is the headline's; its confidence is its probability under `posterior`.
        """
        answers = np.array([int(rule_scores(c, HEADLINE).argmax()) for c in clips])
        confidence = np.take_along_axis(self.posterior(clips), answers[:, None], -1)[:, 0]
        correct = np.array([self.ranked(c, HEADLINE, 1) for c in clips])
        curve = scoring.risk_coverage(confidence, correct)
        area = self.statistic(bootstrap.area_under_risk(confidence, correct), len(clips))
        # At least one clip is answered.
        places = [max(1, round(share * len(clips))) - 1 for share in COVERAGES]
        return {
            "coverage": list(COVERAGES),
            "accuracy": [round(float(curve[place]), 4) for place in places],
            "aurc": area["value"],
            "aurc_ci95": area["ci95"],
        }

    def mean_class(self, clips: Sequence[ClipScore]) -> IntervalBlock:
        """Mean of the per-class accuracies, each label of each set weighing the same."""
        names = {pair: i for i, pair in enumerate(sorted({(c.set, c.label) for c in clips}))}
        hits = np.array([self.ranked(c, HEADLINE, 1) for c in clips])
        classes = np.array([names[c.set, c.label] for c in clips])
        return self.statistic(bootstrap.class_mean(hits, classes), len(clips))

    def summary(self, clips: Sequence[ClipScore]) -> ScoresBlock:
        """The block that stands both over all sets and for each."""
        rules = {rule: self.accuracy(clips, rule) for rule in RULES}
        return {
            "accuracy": rules[HEADLINE],
            "mean_class": self.mean_class(clips),
            "rules": rules,
            "generated": self.generated(clips),
            "calibration": self.calibration(clips),
            "abstention": self.abstention(clips),
            "outside_candidates": sum(self.truth(c) is None for c in clips),
        }

    def set_metrics(self, name: str, clips: Sequence[ClipScore], floor: float | None) -> SetBlock:
        """`summary` of one set with its floor, per-class accuracy and confusion matrix (row = truth)."""
        names = list(self.candidates[name])
        known = [(c, t) for c in clips if (t := self.truth(c)) is not None]
        predicted = np.array([int(rule_scores(c, HEADLINE).argmax()) for c, _ in known], dtype=int)
        truth = np.array([t for _, t in known], dtype=int)
        counts = scoring.confusion_matrix(predicted, truth, len(names))[:, : len(names)]
        hits = [[self.ranked(c, HEADLINE, 1) for c, t in known if t == i] for i in range(len(names))]
        return {
            **self.summary(clips),
            "floor": floor,
            "labels": names,
            "per_class": [self._class_block(*pair) for pair in zip(names, hits, strict=True)],
            "confusion": counts.tolist(),
        }

    def _class_block(self, label: str, hits: Sequence[bool]) -> ClassBlock:
        """Accuracy on one label's clips; without any there is no value."""
        share: IntervalBlock = self.share(hits) if hits else {"value": None, "n": 0, "ci95": [None, None]}
        return {"label": label, "n": share["n"], "value": share["value"], "ci95": share["ci95"]}

    def harmonic(self, clips: Sequence[ClipScore], unseen: Sequence[str]) -> HarmonicBlock:
        """Generalised zero-shot: accuracy on seen and on unseen classes and 2 s u / (s + u), over all candidates.

        Raises:
            ValueError: no clip of a seen or none of an unseen class.
        """
        hidden = np.array([c.label in set(unseen) for c in clips])
        hits = np.array([self.ranked(c, HEADLINE, 1) for c in clips])
        if not hidden.any() or hidden.all():
            raise ValueError("harmonic mean: expected clips of seen and of unseen classes")
        both = self.statistic(bootstrap.harmonic_of(hits, hidden), len(clips))
        return {
            "seen": self.share(hits[~hidden].tolist()),
            "unseen": self.share(hits[hidden].tolist()),
            "harmonic": both,
        }

    def assemble(self, clips: Sequence[ClipScore], floors: Mapping[str, float]) -> AllScoresBlock:
        """Rows of all sets -> `summary` over all of them and "sets" with one entry for each set that has clips.

        Raises:
            ValueError: no clips at all.
        """
        if not clips:
            raise ValueError("no scored clips")
        # In the order of the candidates, clips by key: the order decides which clips a resample draws.
        by_set: dict[str, list[ClipScore]] = {name: [] for name in self.candidates}
        for clip in sorted(clips, key=lambda c: c.key):
            by_set[clip.set].append(clip)
        sets = {name: self.set_metrics(name, members, floors.get(name)) for name, members in by_set.items() if members}
        return {**self.summary([c for members in by_set.values() for c in members]), "sets": sets}
