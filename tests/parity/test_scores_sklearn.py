"""Our scores against scikit-learn's on one fixed set of 500 clips of 12 classes, three of them rare, one never seen."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from pipelines.scores import bootstrap, rules
from pipelines.scores.metrics import ClipScore, Scoreboard

CLASSES, CLIPS = 12, 500
NAMES = tuple(f"action {c}" for c in range(CLASSES))


@pytest.fixture(scope="module")
def fixed():
    """(N, C) log-probabilities, (N,) truth."""
    rng = np.random.default_rng(20)
    share = np.array([1.0] * 8 + [0.1] * 3 + [0.0])
    truth = rng.choice(CLASSES, CLIPS, p=share / share.sum())
    scores = rng.normal(size=(CLIPS, CLASSES)) + 1.5 * np.eye(CLASSES)[truth]
    return rules.log_posterior(scores), truth


@pytest.fixture(scope="module")
def judged(fixed):
    log_prob, truth = fixed
    clips = [
        ClipScore(f"a/{i:03d}", "a", NAMES[t], tuple(row), (1,) * CLASSES, (0.0,) * CLASSES, None)
        for i, (row, t) in enumerate(zip(log_prob.tolist(), truth, strict=True))
    ]
    return Scoreboard({"a": NAMES}, 200, 0).assemble(clips, {})["sets"]["a"]


def test_accuracy_and_top_k(fixed, judged):
    log_prob, truth = fixed
    labels = range(CLASSES)
    assert judged["accuracy"]["value"] == pytest.approx(reference.accuracy_score(truth, log_prob.argmax(1)), abs=5e-5)
    for k in (1, 2, 3, 5):
        ours = rules.top_k(log_prob, truth, k).mean()
        assert ours == pytest.approx(reference.top_k_accuracy_score(truth, log_prob, k=k, labels=labels), abs=1e-12)
    expected = reference.top_k_accuracy_score(truth, log_prob, k=5, labels=labels)
    assert judged["accuracy"]["top5"] == pytest.approx(expected, abs=5e-5)


def test_likelihood(fixed, judged):
    log_prob, truth = fixed
    expected = reference.log_loss(truth, np.exp(log_prob), labels=list(range(CLASSES)))
    assert rules.negative_log_likelihood(log_prob, truth) == pytest.approx(expected, abs=1e-9)
    assert judged["calibration"]["nll"] == pytest.approx(expected, abs=5e-5)


def test_confusion_and_classes(fixed, judged):
    log_prob, truth = fixed
    predicted = log_prob.argmax(1)
    expected = reference.confusion_matrix(truth, predicted, labels=list(range(CLASSES)))
    assert judged["confusion"] == expected.tolist()
    recall = reference.recall_score(truth, predicted, labels=range(11), average=None)
    np.testing.assert_allclose(rules.per_class_accuracy(predicted, truth, CLASSES)[:11], recall)
    assert judged["mean_class"]["value"] == pytest.approx(recall.mean(), abs=5e-5)


def test_calibration_bins(fixed, judged):
    """`calibration_curve` gives the bins of "predicted rightly" against the confidence; ECE weighs their gaps."""
    log_prob, truth = fixed
    confidence, correct = np.exp(log_prob.max(1)), log_prob.argmax(1) == truth
    share, mean = calibration_curve(correct, confidence, n_bins=15, strategy="uniform")
    ours = [row for row in rules.reliability(log_prob, truth) if row[0]]
    np.testing.assert_allclose([row[1] for row in ours], mean)
    np.testing.assert_allclose([row[2] for row in ours], share)
    weights = np.array([row[0] for row in ours]) / CLIPS
    assert judged["calibration"]["ece"] == pytest.approx((weights * np.abs(share - mean)).sum(), abs=5e-5)


def test_risk_coverage_is_precision_over_the_ranking(fixed):
    """Answering down to a threshold of confidence: the accuracy is the precision of "answered", for each threshold."""
    log_prob, truth = fixed
    confidence, correct = np.exp(log_prob.max(1)), log_prob.argmax(1) == truth
    precision, recall, _ = reference.precision_recall_curve(correct, confidence)
    ours = rules.risk_coverage(confidence, correct)
    answered_right = ours * np.arange(1, CLIPS + 1)
    # sklearn's lists run from the lowest threshold (all answered) to the highest, then a made-up point.
    np.testing.assert_allclose(ours, precision[:-1][::-1])
    np.testing.assert_allclose(answered_right / correct.sum(), recall[:-1][::-1])
    area = bootstrap.area_under_risk(confidence, correct)(np.ones((1, CLIPS)))[0]
    assert area == pytest.approx(np.mean(1 - precision[:-1]))
