"""Intervals and paired differences on cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipelines.scores import bootstrap
from pipelines.scores.bootstrap import compare_paired, draw_counts


def test_bootstrap_interval():
    values = np.array([1.0] * 30 + [0.0] * 70)
    result = bootstrap.bootstrap(values, seed=0)
    assert result == bootstrap.bootstrap(values, seed=0)
    assert (result.mean, result.clips) == (0.3, 100)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 100)
    assert result.low == pytest.approx(0.3 - half, abs=0.02)
    assert result.high == pytest.approx(0.3 + half, abs=0.02)
    sure = bootstrap.bootstrap(np.ones(5, dtype=bool), seed=1)
    assert (sure.low, sure.high) == (1, 1)
    with pytest.raises(ValueError, match="at least one clip"):
        bootstrap.bootstrap(np.array([]), seed=0)


def test_interval_agrees_with_scipys_bootstrap():
    values = np.random.default_rng(4).normal(size=200)
    ours = bootstrap.bootstrap(values, seed=0, resamples=4000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_blocks_change_nothing(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = bootstrap.bootstrap(values, seed=3, resamples=300)
    monkeypatch.setattr(bootstrap, "_BLOCK_VALUES", 50 * 7)
    assert [len(block) for block in draw_counts(50, 0, 15)] == [7, 7, 1]
    assert bootstrap.bootstrap(values, seed=3, resamples=300) == whole


def test_every_resample_has_as_many_clips():
    (counts,) = draw_counts(20, seed=0, resamples=30)
    assert counts.shape == (30, 20)
    assert (counts.sum(1) == 20).all()


def test_area_under_risk_by_hand():
    confidence, correct = np.array([0.2, 0.9, 0.5]), np.array([False, True, False])
    statistic = bootstrap.area_under_risk(confidence, correct)
    once = np.ones((1, 3))
    # Answered in the order 0.9, 0.5, 0.2: errors 0, 1/2, 2/3.
    assert statistic(once)[0] == pytest.approx((0 + 1 / 2 + 2 / 3) / 3)
    tied = bootstrap.area_under_risk(np.ones(3), correct)
    assert tied(once)[0] == pytest.approx(2 / 3)
    # The surest clip three times: never wrong.
    assert statistic(np.array([[0.0, 3.0, 0.0]]))[0] == 0


def test_paired_difference():
    rng = np.random.default_rng(0)
    a, b = rng.random(400) < 0.8, rng.random(400) < 0.6
    found = compare_paired(a, b, seed=0)
    assert found.value == pytest.approx(a.mean() - b.mean())
    assert found.low < found.value < found.high
    assert found.low > 0
    assert found.p < 0.01
    assert found.mcnemar == pytest.approx(stats.binomtest(found.only_a, found.only_a + found.only_b).pvalue)
    back = compare_paired(b, a, seed=0)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_pairing_makes_a_small_steady_difference_certain():
    """5 of 100 clips more, all others alike: unpaired intervals overlap, the paired one leaves out 0."""
    b = np.arange(100) < 50
    a = np.arange(100) < 56
    found = compare_paired(a, b, seed=0)
    assert found.low > 0
    assert bootstrap.bootstrap(a, 0).low < bootstrap.bootstrap(b, 0).high
    assert (found.only_a, found.only_b) == (6, 0)


def test_no_difference_is_no_difference():
    hits = np.arange(10) < 5
    same = compare_paired(hits, hits, seed=0)
    assert (same.value, same.low, same.high, same.p, same.mcnemar) == (0, 0, 0, 1, 1)
    with pytest.raises(ValueError, match="two equal rows"):
        compare_paired(hits, hits[:5], seed=0)
