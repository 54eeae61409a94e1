"""Independent jobs -> their results as they finish, spread over the cluster by Ray Data. Knows nothing of the jobs.

A job is plain JSON data and so is its result: heavy data go through storage, never through the driver.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipelines.runtime.errors import StageFailed

Job = dict[str, Any]


def quiet() -> None:
    """Ray Data's own bars and plans stay out of the log; stages print their own progress."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # "Progress bars disabled", on every start.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


def spread(work: Callable[[Job], Job], jobs: Sequence[Job], workers: int = 0) -> Iterator[Job]:
    """Runs `work` on every job in Ray tasks of one CPU each; a task that dies with its worker is run again by Ray.

    Args:
        work: a function of an importable module; what it writes must be the same however often it runs.
        jobs: plain JSON data.
        workers: tasks at a time, which makes Ray Data wait a little between them; 0: as many as the cluster has CPUs.

    Yields:
        Results, in the order in which jobs finish.

    Raises:
        StageFailed: a job could not read or write its storage.
    """
    import ray

    if not jobs:
        return
    quiet()

    def run(row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"result": json.dumps(work(json.loads(row["job"]))), "failed": ""}
        except OSError as error:  # a value, since Ray would wrap it in pages of its own
            return {"result": "", "failed": f"{type(error).__name__}: {error}"}

    rows = ray.data.from_items([{"job": json.dumps(job)} for job in jobs], override_num_blocks=len(jobs))
    del jobs  # they may name every file of a large set
    rows = rows.map(run, compute=ray.data.TaskPoolStrategy(workers) if workers else None)
    # It would keep CPUs back for operators downstream; there are none here, and on two CPUs the tasks would take turns.
    rows.context.op_resource_reservation_enabled = False
    for row in rows.iter_rows():
        if row["failed"]:
            raise StageFailed(f"the storage failed: {row['failed']}; what is finished is kept, start again")
        yield json.loads(row["result"])
