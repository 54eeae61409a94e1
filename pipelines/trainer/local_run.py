"""A job and the path of its loop class -> trained in this process: no Ray, one rank, all cores."""

from __future__ import annotations

from typing import Any

from pipelines.runtime import stop
from pipelines.trainer.context import LocalContext
from pipelines.trainer.job import Job, loop_class


def fit_here(loop: str, job: Job) -> dict[str, Any]:
    """Trains one job; see `ray_run.fit`, which takes the same loop.

    Args:
        loop: import path of its `Loop`, "package.module:Class".
        job: what to train.

    Returns:
        The loop's summary.

    Raises:
        StageFailed: the loss is not a number.
        Stopped: the run was asked to end, and a checkpoint is on storage.
    """
    rank = loop_class(loop)(job, LocalContext())
    # A request that an earlier run obeyed must not end this one.
    stop.withdraw(job.out)
    with stop.on_sigterm(lambda: stop.request(job.out)):
        rank.run()
    return rank.finish()
