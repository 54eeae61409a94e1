"""The search for rendering hyperparameters. Decodes and checks nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from pipelines.config.stages import STRICT, Group


@dataclass(frozen=True, kw_only=True)
class Range:
    """One searched field: exactly one of the four is given."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    choice: tuple[int | float | bool | str, ...] = ()
    """Values to choose from."""
    uniform: tuple[float, float] | None = None
    """Low and high."""
    log_uniform: tuple[float, float] | None = None
    """Low and high, drawn on a log scale."""
    randint: tuple[int, int] | None = None
    """Low (inclusive) and high (exclusive)."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Ray Tune over rendering hyperparameters; every trial is a short Ray Train run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    space: dict[str, Range] = field(default_factory=dict)
    """Dotted field of this tree -> range, for example "renderer.bone_radius"."""
    trials: Annotated[int, Ge(1)] = 4
    """Trials started."""
    concurrent: Annotated[int, Ge(1)] = 1
    """Trials at a time."""
    epochs: Annotated[int, Ge(1)] = 3
    """Rounds of a trial; after each it is scored on validation clips and ASHA may stop it."""
    max_clips: Annotated[int, Ge(0)] = 0
    """Training clips per round; 0 uses all."""
    validation_clips: Annotated[int, Ge(0)] = 96
    """Most validation clips scored per round; all are cut from the training subjects."""
    grace: Annotated[int, Ge(1)] = 1
    """Rounds that ASHA leaves every trial."""
    learning_rate: dict[Group, Annotated[float, Ge(0)]] = field(
        default_factory=lambda: {"renderer": 3e-3, "projector": 6e-4}
    )
    """Learning rate per trained group during a trial."""
