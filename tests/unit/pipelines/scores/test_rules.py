"""Scores on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.scores import rules

NAMES = ["throw", "throw and catch", "sit down"]


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("throw", 0),
        ("  Throw-and-catch.", 1),
        ("The person sits... Label: Sit Down", 2),
        ("Label: throw and catch\nLabel: throw", 0),
        ("first sit down\nLabel: throw", 0),
        ("overthrow", None),
        ("", None),
        ("Label: jump\n", None),
    ],
)
def test_exact_match(answer, index):
    assert rules.exact_match(answer, NAMES) == index


def test_longest_candidate_wins_whatever_the_order():
    assert rules.exact_match("throw and catch", NAMES[::-1]) == 1
    assert rules.exact_match("throw and catch", NAMES) == 1


def test_substring_match_is_as_loose_as_the_papers():
    assert rules.substring_match("I think: THROW and catch", "throw")
    assert rules.substring_match("overthrow", "Throw")
    assert not rules.substring_match("catch", "throw")


def test_closed_set_normalisation_and_prior_change_the_winner():
    log_prob = np.array([[-4.0, -6.0, -9.0]])
    tokens = np.array([1, 3, 9])
    assert rules.closed_set(log_prob, tokens, length_normalise=False).argmax() == 0
    assert rules.closed_set(log_prob, tokens).argmax() == 2
    prior = np.array([-1.0, -6.0, -9.0])
    assert rules.closed_set(log_prob, tokens, prior, length_normalise=False).argmax() == 1
    np.testing.assert_allclose(rules.closed_set(log_prob, tokens, prior), [[-3, 0, 0]])


def test_top_k_counts_ties_against_the_model():
    scores = np.array([[0.0, 0.0, 0.0], [3.0, 2.0, 1.0]])
    assert rules.top_k(scores, np.array([0, 1]), 1).tolist() == [False, False]
    assert rules.top_k(scores, np.array([0, 1]), 2).tolist() == [False, True]
    assert rules.top_k(scores, np.array([0, 2]), 3).tolist() == [True, True]


def test_top_k_never_counts_nan_as_right():
    scores = np.array([[np.nan, 1.0, 0.0], [2.0, np.nan, 1.0], [np.nan] * 3])
    truth = np.zeros(3, dtype=int)
    assert rules.top_k(scores, truth, 1).tolist() == [False, False, False]
    assert rules.top_k(scores, truth, 2).tolist() == [False, True, False]
    assert rules.top_k(scores, truth, 3).tolist() == [False, True, False]


def test_likelihood_and_calibration():
    log_probs = rules.log_posterior(np.log([[6.0, 2.0, 2.0], [1.0, 8.0, 1.0]]) + 5)
    np.testing.assert_allclose(np.exp(log_probs), [[0.6, 0.2, 0.2], [0.1, 0.8, 0.1]])
    truth = np.array([0, 0])
    assert rules.negative_log_likelihood(log_probs, truth) == pytest.approx(-(np.log(0.6) + np.log(0.1)) / 2)
    assert rules.calibration_error(log_probs, truth) == pytest.approx((0.4 + 0.8) / 2)
    assert rules.calibration_error(log_probs, np.array([0, 1])) == pytest.approx((0.4 + 0.2) / 2)


def test_certain_and_right_is_calibrated():
    assert rules.calibration_error(rules.log_posterior(np.array([[1e3, 0.0]])), np.array([0])) == 0


def test_per_class_and_confusion():
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, -1, 1])
    np.testing.assert_array_equal(rules.per_class_accuracy(predicted, truth, 3), [0.5, 0.5, np.nan])
    table = rules.confusion_matrix(predicted, truth, 3)
    assert table.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    assert table.sum() == len(truth)


def test_harmonic_mean():
    assert rules.harmonic_mean(0.6, 0.3) == pytest.approx(0.4)
    assert rules.harmonic_mean(0.0, 0.0) == 0
