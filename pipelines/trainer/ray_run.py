"""A job and the path of its loop class -> one Ray Train run: workers and retries. Knows no model and no checkpoints.

Ray Train keeps no checkpoints here: each start of the workers goes on from the newest one of `checkpoints`, whether a
worker or the whole driver was lost, and with as many workers as there are then.
"""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from torch import distributed

from pipelines.cluster.connect import require
from pipelines.runtime import stop
from pipelines.runtime.errors import StageFailed, UserError
from pipelines.runtime.stop import Stopped
from pipelines.trainer.context import RayContext
from pipelines.trainer.job import Job, WorkerSettings, loop_class
from pipelines.trainer.telemetry.trackers import check_trackers

SETTINGS = {
    # Seconds between two looks at the workers; Ray's 2 s are idle time at the end of each short stage.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Ray Train's own print writes each line twice: to its log, which is echoed, and to standard output.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}
PATIENCE_S = 20.0
"""How long a rank that cannot go on waits for the others to say the same."""
ENDED = "skeleton-ray/ended"
RETURNED: dict[str, type[Exception]] = {kind.__name__: kind for kind in (StageFailed, UserError, Stopped)}


def apply_settings() -> None:
    """Settings of Ray Train for this process and the runs it starts; what the environment says goes first."""
    import ray

    for setting, value in SETTINGS.items():
        os.environ.setdefault(setting, value)
    if sum(node["Alive"] for node in ray.nodes()) == 1:
        # Nothing can be preempted that would not take the driver along; saves a process per stage.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def set_up_worker(settings: WorkerSettings) -> None:
    """Threads and environment of a worker process, before anything is built."""
    torch.set_num_threads(settings.threads_per_worker)
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns about what it finds by itself


def worker(config: dict[str, Any]) -> dict[str, Any]:
    """Runs on each rank; returns the summary on rank 0.

    What a retry cannot mend is returned, not raised, since Ray Train answers exceptions with retries. What one rank
    alone meets (a checkpoint that its node lacks) is raised: Ray would wait for the others, and they for this one.
    """
    job: Job = config["job"]
    set_up_worker(job.settings)
    try:
        loop = loop_class(config["loop"])(job, RayContext())
        loop.run()
        return loop.finish()
    except tuple(RETURNED.values()) as error:
        if not all_ranks_end():
            raise
        return {"failed": type(error).__name__, "message": str(error)}


def all_ranks_end(patience_s: float = PATIENCE_S) -> bool:
    """Whether all ranks get here, at most `patience_s` after this one. They need no collective for it to be seen."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return True
    store, deadline = distributed.distributed_c10d._get_default_store(), time.monotonic() + patience_s
    count = store.add(ENDED, 1)
    while count < distributed.get_world_size() and time.monotonic() < deadline:
        time.sleep(0.1)
        count = store.add(ENDED, 0)
    return count >= distributed.get_world_size()


def find_user_error(error: Any) -> UserError | None:
    """What the user can mend among the errors of a training's workers; None without such."""
    for rank, failure in sorted(getattr(error, "worker_failures", {}).items()):
        if isinstance(failure, UserError):
            return UserError(f"{failure} (worker {rank}; is it there on every node?)")
    return None


def make_scaling(settings: WorkerSettings) -> Any:
    """Workers and what each reserves."""
    from ray.train import ScalingConfig

    resources = {"CPU": settings.cpus_per_worker}
    if settings.gpus_per_worker:
        resources["GPU"] = settings.gpus_per_worker
    return ScalingConfig(
        num_workers=(settings.min_workers, settings.workers) if is_elastic(settings) else settings.workers,
        use_gpu=bool(settings.gpus_per_worker),
        resources_per_worker=resources,
        elastic_resize_monitor_interval_s=settings.resize_check_s,
    )


def is_elastic(settings: WorkerSettings) -> bool:
    """Whether the number of workers may change on the way."""
    return 0 < settings.min_workers < settings.workers


def make_torch_config() -> Any:
    """Ray's setup of torch in each worker, and SIGTERM in a worker asks for a checkpoint first.

    Signals can be handled in a process's main thread only. Ray Train runs the loop in another one, but what a backend
    executes before that in the main one.
    """
    from ray.train.torch import TorchConfig
    from ray.train.torch.config import _TorchBackend

    class Backend(_TorchBackend):
        def on_training_start(self, worker_group: Any, backend_config: Any) -> None:
            super().on_training_start(worker_group, backend_config)
            worker_group.execute(stop.catch_in_worker)

    class Config(TorchConfig):
        @property
        def backend_cls(self) -> Any:
            return Backend

    return Config()


def fit(loop: str, job: Job, storage_path: str, name: str) -> dict[str, Any]:
    """Trains one job on the connected cluster.

    Args:
        loop: import path of its `Loop`, "package.module:Class".
        job: what to train.
        storage_path: URI below which Ray Train keeps the run.
        name: of the run.

    Returns:
        The loop's summary.

    Raises:
        UserError: the cluster can never run so many workers, or a node lacks what a worker reads.
        StageFailed: the loss is not a number, or the workers failed more often than allowed.
        Stopped: the run was asked to end, and a checkpoint is on storage.
    """
    apply_settings()
    from ray.train import FailureConfig, LoggingConfig, RunConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    settings = job.settings
    check_trackers(settings.metrics)
    least = settings.min_workers if is_elastic(settings) else settings.workers
    what = f"training stage {job.name} ({least} workers)"
    require(least * settings.cpus_per_worker, least * settings.gpus_per_worker, what)
    trainer = TorchTrainer(
        worker,
        train_loop_config={"job": job, "loop": loop},
        scaling_config=make_scaling(settings),
        torch_config=make_torch_config(),
        run_config=RunConfig(
            name=name,
            storage_path=storage_path,
            failure_config=FailureConfig(max_failures=settings.max_failures),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    stop.withdraw(job.out)
    try:
        with stop.on_sigterm(lambda: stop.request(job.out)):
            summary: dict[str, Any] = trainer.fit().return_value or {}
    except TrainingFailedError as error:
        if mistake := find_user_error(error):
            raise mistake from error
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        raise StageFailed(
            f"stage {job.name}: the workers failed more than {settings.max_failures} times; last: {lines[-1]}; "
            "the last checkpoint is kept, and the same command goes on from there"
        ) from error
    if "failed" in summary:
        raise RETURNED[summary["failed"]](summary["message"])
    return summary
