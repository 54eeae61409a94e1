"""A configuration -> nothing, or one clear line about what contradicts what. Reads no files.

Bounds of one field stand beside the field; what several fields mean together is said here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.mllm.families.registry import FAMILIES
from pipelines.config.stages import FRESH, TASKS, StageConfig
from pipelines.runtime.errors import UserError

if TYPE_CHECKING:
    from pipelines.config.train import TrainConfig
    from pipelines.config.tree import FullConfig


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
    if train.negatives.miner == "list" and not train.negatives.file:
        raise UserError(f"{origin}: train.negatives.miner list needs train.negatives.file")
    if train.questions.source != "motion" and not train.questions.file:
        raise UserError(f"{origin}: train.questions.source {train.questions.source} needs train.questions.file")


def _check_stage(stage: StageConfig, before: Sequence[str], later: Sequence[str], place: str) -> None:
    """One row, by itself."""
    if not stage.name or "/" in stage.name or stage.name in (".", "..", FRESH):
        raise UserError(f"{place}: a stage's name is a folder's, and not {FRESH!r}")
    if not stage.tasks:
        raise UserError(f"{place} needs at least one task")
    if unknown := sorted({*stage.tasks, *stage.loss_weights} - set(TASKS)):
        raise UserError(f"{place}: there is no task {', '.join(unknown)}; there are {', '.join(TASKS)}")
    if not stage.trains:
        raise UserError(f"{place} trains nothing: `trains` is empty")
    if missing := sorted(set(stage.trains) - set(stage.learning_rate)):
        raise UserError(f"{place} trains {missing} but gives no learning_rate for them")
    if others := sorted(set(stage.loss_weights) - {*stage.tasks, "mqa"}):
        raise UserError(f"{place}: loss_weights name {', '.join(others)}, which the stage does not ask")
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
    """Every number of workers that may come up divides the global batch.

    Raises:
        UserError: with the field and what to change.
    """
    if train.min_workers > train.workers:
        raise UserError(f"{origin}: train.min_workers must be in 0..{train.workers}, found {train.min_workers}")
    for workers in range(train.min_workers or train.workers, train.workers + 1):
        if train.global_batch % workers:
            raise UserError(f"{origin}: train.global_batch {train.global_batch} is no multiple of {workers} workers")
