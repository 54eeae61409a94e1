"""`tune.space` of the configuration -> ranges that Ray Tune draws from."""

from __future__ import annotations

from typing import Any

from pipelines.config.loading import resolve_field
from pipelines.config.tree import FullConfig
from pipelines.config.tune import Range


def make_distribution(span: Range) -> Any:
    """A range as Ray Tune takes it; `config.checks` sees to it that there is just one form."""
    from ray import tune

    if span.choice:
        return tune.choice(list(span.choice))
    if span.uniform is not None:
        return tune.uniform(*span.uniform)
    if span.log_uniform is not None:
        return tune.loguniform(*span.log_uniform)
    assert span.randint is not None
    return tune.randint(*span.randint)


def is_inside(span: Range, value: Any) -> bool:
    """Whether a value lies in a range."""
    if span.choice:
        return value in span.choice
    # Integers are drawn below their upper end, real numbers up to it.
    low, high = span.uniform or span.log_uniform or (span.randint or (0, 0))
    return low <= value < high if span.randint is not None else low <= value <= high


def current_values(cfg: FullConfig) -> dict[str, Any] | None:
    """The configuration's own values of the searched fields, None where one lies outside its range."""
    values = {key: resolve_field(cfg, key, "tune.space") for key in cfg.tune.space}
    return values if all(is_inside(cfg.tune.space[key], value) for key, value in values.items()) else None
