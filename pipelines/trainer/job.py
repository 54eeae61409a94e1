"""What Ray Train needs to know of a piece of training, whatever is trained: the protocol of a job and of its loop.

A model family brings a job (plain data, pickled to each rank) and a loop class; `ray_run` gets the loop by its import
path, so that nothing here imports a family.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from pipelines.config.faults import MetricsConfig
from pipelines.trainer.context import TrainContext


class WorkerSettings(Protocol):
    """How many ranks, what each reserves, and when a run gives up; `TrainConfig` says what each field means."""

    @property
    def workers(self) -> int: ...
    @property
    def min_workers(self) -> int: ...
    @property
    def resize_check_s(self) -> float: ...
    @property
    def cpus_per_worker(self) -> float: ...
    @property
    def gpus_per_worker(self) -> float: ...
    @property
    def threads_per_worker(self) -> int: ...
    @property
    def max_failures(self) -> int: ...
    @property
    def metrics(self) -> MetricsConfig: ...


class Job(Protocol):
    """One Ray Train run."""

    @property
    def name(self) -> str:
        """What messages call it, for example the stage of the table."""
        ...

    @property
    def out(self) -> str:
        """URI of the folder for metrics, faults and export."""
        ...

    @property
    def settings(self) -> WorkerSettings:
        """Ranks and resources."""
        ...


class Loop(Protocol):
    """What a rank does. Building it restores the newest checkpoint."""

    def __init__(self, job: Any, ctx: TrainContext) -> None: ...

    def run(self) -> None:
        """Trains to the end."""
        ...

    def finish(self) -> dict[str, Any]:
        """The summary on rank 0; others return an empty one."""
        ...


def loop_class(path: str) -> type[Loop]:
    """The class at "package.module:Class"."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
