"""Ranges of a search: what lies inside, what Ray Tune draws from them, and the configuration's own values."""

from __future__ import annotations

import pytest

from pipelines.config.loading import decode
from pipelines.config.tune import Range
from pipelines.tuning.space import current_values, is_inside, make_distribution


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (Range(choice=(3, 5)), 5, 4),
        (Range(uniform=(0.0, 1.0)), 1.0, 1.1),
        (Range(log_uniform=(0.01, 0.04)), 0.01, 0.009),
        (Range(randint=(1, 4)), 3, 4),  # the upper end is never drawn
    ],
)
def test_a_range_is_what_ray_draws_from(span: Range, inside: float, outside: float) -> None:
    assert is_inside(span, inside)
    assert not is_inside(span, outside)
    assert all(is_inside(span, value) for value in make_distribution(span).sample(size=50))


def test_the_first_trial_is_the_configuration_itself() -> None:
    span = {"log_uniform": [0.01, 0.04]}
    cfg = decode({"tune": {"space": {"renderer.bone_radius": span}}}, "test")
    assert current_values(cfg) == {"renderer.bone_radius": cfg.renderer.bone_radius}
    elsewhere = decode({"tune": {"space": {"renderer.bone_radius": {"uniform": [0.5, 0.9]}}}}, "test")
    assert current_values(elsewhere) is None
