"""What the trainer must know of a piece of training, whatever is trained: the protocols of its settings and its job.

A model family brings a job (plain data, pickled to each rank) and a loop class; `ray_run` gets the loop by its import
path, so that nothing here imports a family. The loop itself is `loop.TrainLoop`, of which a family fills in the steps.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from pipelines.config.faults import FaultsConfig, MetricsConfig
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


class LoopSettings(WorkerSettings, Protocol):
    """Size of a step, and when a rank saves, validates and reports; `TrainConfig` says what each field means."""

    @property
    def global_batch(self) -> int: ...
    @property
    def warmup_share(self) -> float: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def keep_checkpoints(self) -> int: ...
    @property
    def keep_best(self) -> int: ...
    @property
    def export_best(self) -> bool: ...
    @property
    def validate_every(self) -> int: ...
    @property
    def validate_clips(self) -> int: ...
    @property
    def faults(self) -> FaultsConfig: ...
    @property
    def metrics(self) -> MetricsConfig: ...


class Job(Protocol):
    """One Ray Train run. A frozen dataclass with these fields is one."""

    @property
    def name(self) -> str:
        """What messages call it, for example the stage of the table."""
        ...

    @property
    def out(self) -> str:
        """URI of the folder for metrics, faults and export."""
        ...

    @property
    def checkpoints(self) -> str:
        """URI of the folder for checkpoints; empty: none are written."""
        ...

    @property
    def settings(self) -> LoopSettings:
        """Ranks, resources and pace."""
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
