"""The stage table of a configuration -> nothing, or one clear line about what contradicts what. Reads no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.mllm.families.registry import FAMILIES
from pipelines.config.stages import FRESH, StageConfig
from pipelines.runtime.errors import UserError

if TYPE_CHECKING:
    from pipelines.config.tree import FullConfig, TrainConfig


def check_stages(config: FullConfig, origin: str) -> None:
    """One folder per stage, something to ask, a rate for all that is trained, files where they are needed.

    Raises:
        UserError: with the stage and what to change.
    """
    train = config.train
    names = [stage.name for stage in train.stages]
    if len(set(names)) < len(names):
        raise UserError(f"{origin}: train.stages must have names of their own, found {', '.join(names)}")
    for number, stage in enumerate(train.stages):
        _check_stage(stage, names[:number], names[number:], f"{origin}: stage {stage.name}")
        if config.renderer.kind != "draction" and list(stage.trains) == ["renderer"]:
            raise UserError(f"{origin}: stage {stage.name} trains only the renderer, and renderer.kind is fixed")
    if train.negatives.hardest < 0 or train.negatives.confusion_clips < 0:
        raise UserError(f"{origin}: train.negatives.hardest and confusion_clips must be at least 0")
    if train.negatives.miner == "list" and not train.negatives.file:
        raise UserError(f"{origin}: train.negatives.miner list needs train.negatives.file")
    if train.questions.source != "motion" and not train.questions.file:
        raise UserError(f"{origin}: train.questions.source {train.questions.source} needs train.questions.file")
    for name, value in (("set", train.set_temperature), ("class", train.class_temperature)):
        if not 0 <= value <= 1:
            raise UserError(f"{origin}: train.{name}_temperature must be in [0, 1], found {value}")


def _check_stage(stage: StageConfig, before: Sequence[str], later: Sequence[str], place: str) -> None:
    """One row, by itself."""
    if not stage.name or "/" in stage.name or stage.name in (".", "..", FRESH):
        raise UserError(f"{place}: a stage's name is a folder's, and not {FRESH!r}")
    if not stage.tasks or min(stage.tasks.values()) <= 0:
        raise UserError(f"{place} needs at least one task, each with a weight above 0")
    if not stage.trains:
        raise UserError(f"{place} trains nothing: `trains` is empty")
    if missing := sorted(set(stage.trains) - set(stage.learning_rate)):
        raise UserError(f"{place} trains {missing} but gives no learning_rate for them")
    if stage.loss_weights and min(stage.loss_weights.values()) <= 0:
        raise UserError(f"{place}: loss_weights must be above 0")
    if unasked := sorted(set(stage.loss_weights) - {*stage.tasks, "mqa"}):
        raise UserError(f"{place}: loss_weights name {', '.join(unasked)}, which the stage does not ask")
    if stage.steps < 0 or stage.epochs <= 0:
        raise UserError(f"{place}: epochs must be above 0 and steps at least 0")
    if stage.steps and stage.epochs != 1:
        raise UserError(f"{place} gives both epochs and steps; give one")
    if stage.start and "/" not in stage.start and stage.start not in (FRESH, *before):
        known = ", ".join([*before, FRESH])
        when = "is no earlier stage" if stage.start in later else "is no stage of the table"
        raise UserError(f"{place}: start {stage.start!r} {when}; give one of {known}, or the path or URI of a model")


def check_family(family: str, origin: str) -> None:
    """`mllm.family` is in the table of families.

    Raises:
        UserError: with those that are.
    """
    if family not in FAMILIES:
        raise UserError(f"{origin}: mllm.family must be one of {', '.join(FAMILIES)}, found {family!r}")


def check_workers(train: TrainConfig, origin: str) -> None:
    """Every number of workers that may come up divides the global batch; watching takes no negative time.

    Raises:
        UserError: with the field and what to change.
    """
    if not 0 <= train.min_workers <= train.workers:
        raise UserError(f"{origin}: train.min_workers must be in 0..{train.workers}, found {train.min_workers}")
    for workers in range(train.min_workers or train.workers, train.workers + 1):
        if train.global_batch % workers:
            raise UserError(f"{origin}: train.global_batch {train.global_batch} is no multiple of {workers} workers")
    times = {"resize_check_s": train.resize_check_s, "faults.watchdog_s": train.faults.watchdog_s}
    times |= {"faults.stop_poll_s": train.faults.stop_poll_s, "metrics.profile_every": train.metrics.profile_every}
    for name, value in times.items():
        if value < 0:
            raise UserError(f"{origin}: train.{name} must be at least 0, found {value}")
