"""`StageConfig.tasks` -> tasks. A new task is one file of this folder and one line in `config.stages.TASKS`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module

from pipelines.batches.tasks.base import Task
from pipelines.config.stages import TASKS


def task_named(name: str) -> Task:
    """A task of the table.

    Raises:
        ValueError: there is no such task; names those that there are.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; there are {', '.join(TASKS)}")
    return _load(TASKS[name])


def take_unlabelled(names: Iterable[str]) -> bool:
    """Whether a mix of tasks also trains on clips without a label."""
    return any(not task_named(name).needs_label for name in names)


@cache
def _load(place: str) -> Task:
    module, _, kind = place.partition(":")
    return getattr(import_module(module), kind)()
