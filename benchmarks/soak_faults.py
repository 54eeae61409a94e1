"""Faults at an exact step of a training run: what a worker does to itself instead of that step, once.

A fault is planted by `planted`, in the process that starts the run; its workers load this module and act. That the
process ends itself makes no difference to SIGKILL: it gets no chance to do anything either way. A marker file says that
a fault has happened, so that the same step goes through when it is done again.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from pipelines.runtime import stop
from pipelines.trainer import ray_run
from pipelines.training.loop import StageLoop


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: kill: SIGKILL. hang: the step never ends. term: SIGTERM to the worker. nan: a weight becomes NaN. full:
            the disk that holds `where` is filled. stop: the stage at `where` is asked to end. slow: nothing breaks,
            each step takes 0.5 s longer, so that something can be done to the run from outside.
        rank: of the worker; with `full` and `slow` any.
        step: counted from 0; the fault stands before it.
        marker: file that says that it has happened.
        where: folder on the disk that is filled.
    """

    kind: str
    rank: int
    step: int
    marker: str
    where: str = ""

    def strike(self, loop: StageLoop) -> None:
        """Does it, where it is due and was not done."""
        if self.kind == "slow":
            time.sleep(0.5)
        if loop.done != self.step or loop.ctx.rank != self.rank or Path(self.marker).exists():
            return
        Path(self.marker).write_text(f"{loop.done}\n")
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        elif self.kind == "hang":
            time.sleep(3600)
        elif self.kind == "nan":
            for parameter in loop.model.mllm.parameters():
                parameter.data.fill_(float("nan"))
                return
        elif self.kind == "stop":
            stop.request(self.where)
        elif self.kind == "full":
            fill(self.where)


def fill(where: str) -> None:
    """Leaves no room on the disk that holds a folder; the file `ballast` there gives it back when it is removed."""
    with open(Path(where) / "ballast", "wb", buffering=0) as file:
        block = b"\0" * 65536
        while True:
            try:
                file.write(block)
            except OSError:
                if len(block) == 1:
                    break
                block = b"\0"


def worker(config: dict[str, Any], faults: tuple[Fault, ...]) -> dict[str, Any]:
    """`ray_run.worker` with faults planted in its steps."""
    step = StageLoop._step

    def struck(loop: StageLoop, batches: Any) -> Any:
        for fault in faults:
            fault.strike(loop)
        return step(loop, batches)

    with mock.patch.object(StageLoop, "_step", struck):
        return _worker(config)


_worker = ray_run.worker


@contextmanager
def planted(*faults: Fault) -> Iterator[None]:
    """Runs that are started within the block meet the faults."""
    if not faults:
        yield
        return
    with mock.patch.object(ray_run, "worker", functools.partial(worker, faults=faults)):
        yield
