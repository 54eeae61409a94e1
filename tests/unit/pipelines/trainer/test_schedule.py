"""Warm-up and cosine as a function of the step."""

import itertools
import math

import pytest

from pipelines.trainer.schedule import rate_factor


def test_rises_to_the_peak_and_falls() -> None:
    rates = [rate_factor(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.001


def test_single_step_and_no_warmup() -> None:
    assert rate_factor(0, 1, 0.03) == 1.0
    assert rate_factor(1, 4, 0.0) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


@pytest.mark.parametrize("step", [-1, 10])
def test_refuses_steps_outside(step: int) -> None:
    with pytest.raises(ValueError, match=r"\[0, 10\)"):
        rate_factor(step, 10, 0.1)
