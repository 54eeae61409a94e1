"""Numbers of a step: the same from any cut over micro batches and ranks; what was asked instead is counted."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.training.step_metrics import StepMetrics, count_fallbacks


def test_ranks_add_up() -> None:
    mix = ("rationale", "yesno")
    wanted, tasks = ["rationale", "rationale", "yesno", "rationale"], ["rationale", "mqa", "yesno", "yesno"]
    whole, one, two = (StepMetrics(mix) for _ in range(3))
    whole.add(wanted, tasks, [1.0, 2.0, 3.0, 5.0], 22.0, 40)
    one.add(wanted[:1], tasks[:1], [1.0], 2.0, 10)
    two.add(wanted[1:], tasks[1:], [2.0, 3.0, 5.0], 20.0, 30)
    total = [a + b for a, b in zip(one.sums(), two.sums(), strict=True)]
    assert total == pytest.approx(whole.sums())
    assert whole.row(total, 4) == {
        "loss": 2.75,
        "loss/rationale": 1.0,
        "loss/yesno": 4.0,
        "loss/mqa": 2.0,
        "fallback/rationale": 2,
        "objective": 5.5,
        "tokens": 40,
    }


def test_nothing_moved_is_not_written() -> None:
    numbers = StepMetrics(["mqa"])
    numbers.add(["mqa"], ["mqa"], [0.5], 0.5, 3)
    assert set(numbers.row(numbers.sums(), 1)) == {"loss", "loss/mqa", "objective", "tokens"}


def test_a_stage_is_summed() -> None:
    rows = [{"step": 1, "fallback/caption": 2}, {"step": 2, "loss": np.nan}, {"fallback/caption": 1, "fallback/qa": 4}]
    assert count_fallbacks(rows) == {"caption": 3, "qa": 4}
