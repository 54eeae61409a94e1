"""A group of processes that train one stage together over gloo, without Ray: what parity and resume are measured with.

A `StageJob` goes in, what every step saw and gave comes back. The engine, the loop and the checkpoints are those of
`skel train`; only who starts the processes differs.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipelines.trainer.context import LocalContext
from pipelines.trainer.telemetry.metrics_log import read_rows
from pipelines.training.job import StageJob
from pipelines.training.loop import StageLoop

PATIENCE_S = 300


@dataclass(frozen=True)
class Trace:
    """What a run of a stage did.

    Attributes:
        first: steps that were done before, from a checkpoint.
        losses: of each step since then.
        norms: of the whole gradient before clipping, likewise.
        clips: step -> keys of its global batch, sorted (each rank puts clips of like length together).
        rates: optimiser group -> learning rate in the optimiser after the last step.
        seconds: that the steps took.
    """

    first: int
    losses: list[float]
    norms: list[float]
    clips: dict[int, list[str]]
    rates: dict[str, float]
    seconds: float


class GlooContext(LocalContext):
    """One rank of a torch.distributed group on the CPU."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.rank = torch.distributed.get_rank()
        self.world_size = torch.distributed.get_world_size()

    def sum(self, values: Sequence[float]) -> list[float]:
        """See TrainContext."""
        total = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(total)
        return total.tolist()

    def barrier(self) -> None:
        """See TrainContext."""
        torch.distributed.barrier()


def rates(engine: Any) -> dict[str, float]:
    """Group -> rate, as the optimisers hold them."""
    optimisers = [engine.replica.adamw, engine.zero if hasattr(engine, "zero") else None]
    return {group["name"]: group["lr"] for found in optimisers if found is not None for group in found.param_groups}


def trace(job: StageJob, ctx: LocalContext, until: int | None = None) -> Trace:
    """Trains on this rank up to a step (None: to the end), then saves where the job has a folder for checkpoints."""
    loop, clips = StageLoop(job, ctx), {}
    first, build = loop.done, loop.build

    def seen(number: int) -> Any:
        batches = build(number)
        clips[number] = [key for batch in batches for key in batch.keys]
        return batches

    loop.build = seen
    loop.run(until)
    if loop.saved != loop.done:
        loop.save({})
    loop.checkpoints.close()
    rows = []
    if loop.log is not None:
        loop.log.close()
        rows = [row for row in read_rows(job.out) if row["step"] > first]
    losses, norms = [row["loss"] for row in rows], [row["grad_norm"] for row in rows]
    return Trace(first, losses, norms, clips, rates(loop.engine), sum(row["seconds"] for row in rows))


def _serve(rank: int, ranks: int, store: str, pipe: Any) -> None:
    """Runs in each process: one job after the other, until None comes."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "DS_ACCELERATOR": "cpu"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    while (asked := pipe.recv()) is not None:
        try:
            pipe.send(trace(asked[0], GlooContext(), asked[1]))
        except Exception as error:  # noqa: BLE001 - told to the parent, which raises it
            pipe.send(error)
    torch.distributed.destroy_process_group()


class Ranks:
    """Processes that stay up for many jobs.

    Args:
        number: of ranks.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.folder = tempfile.TemporaryDirectory()
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for rank in range(number):
            near, far = context.Pipe()
            process = context.Process(target=_serve, args=(rank, number, f"{self.folder.name}/store", far), daemon=True)
            process.start()
            self.pipes.append(near)
            self.processes.append(process)

    def run(self, job: StageJob, until: int | None = None) -> Trace:
        """Trains a job on all ranks; batches of the ranks are put together again.

        Raises:
            Exception: what a rank raised.
            TimeoutError: no answer for minutes.
        """
        for pipe in self.pipes:
            pipe.send((job, until))
        found = []
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            if not pipe.poll(PATIENCE_S):
                raise TimeoutError(f"no answer of a rank for {PATIENCE_S} s")
            try:
                found.append(pipe.recv())
            except EOFError:
                process.join(10)
                raise RuntimeError(f"a rank ended with exit code {process.exitcode}") from None
            if isinstance(found[-1], Exception):
                raise found[-1]
        first = found[0]
        clips = {number: sorted(key for trace in found for key in trace.clips[number]) for number in first.clips}
        return Trace(first.first, first.losses, first.norms, clips, first.rates, first.seconds)

    def close(self) -> None:
        """Ends the processes."""
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            if process.is_alive():
                pipe.send(None)
        for process in self.processes:
            process.join(20)
            if process.is_alive():
                process.kill()
        self.folder.cleanup()
