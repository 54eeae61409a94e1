"""Which fields are in a stage's key: each one that is not marked, and no other."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pipelines.config.faults import FaultsConfig, MetricsConfig
from pipelines.config.key_fields import is_keyless, key_values, keyless
from pipelines.config.stages import NegativesConfig, QuestionsConfig, StageConfig
from pipelines.config.train import AugmentConfig, TrainConfig

OTHERS: dict[type, Any] = {
    bool: lambda value: not value,
    int: lambda value: value + 1,
    float: lambda value: value + 1,
    str: lambda value: value + "x",
}
SECTIONS = {
    "stages": (StageConfig(name="a", tasks={"mqa": 1}, trains=("llm",), learning_rate={"llm": 1}),),
    "negatives": NegativesConfig(miner="random"),
    "questions": QuestionsConfig(kinds=("speed",)),
    "sets": ("ntu",),
    "augment": AugmentConfig(crop=0.1),
}


def changed(section: Any, name: str) -> Any:
    """A copy of a section whose field `name` has another value."""
    value = getattr(section, name)
    return replace(section, **{name: SECTIONS[name] if name in SECTIONS else OTHERS[type(value)](value)})


@pytest.mark.parametrize("section", [TrainConfig(), FaultsConfig(), MetricsConfig()], ids=lambda s: type(s).__name__)
def test_a_field_is_either_in_the_key_or_marked(section: Any) -> None:
    for field in dataclasses.fields(section):
        if field.name not in ("faults", "metrics"):  # sections of their own
            decides = key_values(changed(section, field.name)) != key_values(section)
            assert decides is not is_keyless(field), field.name


def test_what_decides_a_training() -> None:
    fields = {field.name for field in dataclasses.fields(TrainConfig) if not is_keyless(field)}
    assert fields - {"faults", "metrics"} == {
        "sets",
        "global_batch",
        "max_padding",
        "weight_decay",
        "warmup_share",
        "clip_grad",
        "set_temperature",
        "class_temperature",
        "export_best",
        "augment",
    }
    assert all(is_keyless(field) for part in (FaultsConfig, MetricsConfig) for field in dataclasses.fields(part))


def test_validation_decides_where_the_best_checkpoint_is_exported() -> None:
    last, best = TrainConfig(), TrainConfig(export_best=True)
    for name in ("validate_clips", "validate_every"):
        assert key_values(changed(last, name)) == key_values(last)
        assert key_values(changed(best, name)) != key_values(best)


def test_a_new_field_that_is_marked_without_a_neutral_value_leaves_the_keys_as_they_are() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Before:
        batch: int = 4

    @dataclass(frozen=True, kw_only=True)
    class After:
        batch: int = 4
        poll_s: float = keyless(2.0)

    assert key_values(After()) == key_values(After(poll_s=5.0)) == key_values(Before()) == {"batch": 4}
    assert After().poll_s == 2.0
