"""What a rank watches while it trains: the watchdog, requests to stop, where the time goes, FLOPs, memory, which clips.

The loop says what happens (`beat`, `begin_step`, `count`, `own_sums`, `end_step`); nothing here changes what is
learned. Numbers of time and FLOPs are rank 0's own, memory and clips are summed or compared over the ranks.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch

from pipelines.runtime.progress import say
from pipelines.runtime.stop import EXIT_STOPPED, RUN_WEIGHT, Stopped, StopWatch
from pipelines.trainer.context import TrainContext
from pipelines.trainer.job import Job
from pipelines.trainer.telemetry.metrics_log import SHARE_PREFIX
from pipelines.trainer.telemetry.step_clock import StepClock, watch_collectives
from pipelines.trainer.telemetry.watchdog import FOLDER, Watchdog, collect

T = TypeVar("T")
PREEMPTION_STEPS = 10
"""Steps between two looks whether Ray is about to lose a node; all ranks wait for one another there."""


def memory_gb(device: torch.device) -> float:
    """Most memory that this process ever held, GB: of the GPU where it works on one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class Monitor:
    """One per job and rank; built before the engine, which keeps references to what is wrapped here.

    Args:
        job: what is trained.
        ctx: this rank's surroundings.
        regions: names of the model's parts; the family enters them on `clock`.
        peak_flops: of one worker, operations per second, which MFU is a share of; 0: no MFU.
    """

    def __init__(self, job: Job, ctx: TrainContext, regions: Sequence[str] = (), peak_flops: float = 0.0) -> None:
        settings = job.settings
        self.job, self.ctx, self.every = job, ctx, settings.metrics.profile_every
        self.watchdog = Watchdog(settings.faults.watchdog_s, job.out, ctx.rank)
        self.stops = StopWatch(job.out, ctx.rank, settings.faults.stop_poll_s)
        self.clock = StepClock(ctx.device, regions)
        if ctx.world_size > 1:
            watch_collectives()
        self.peak_flops = peak_flops
        self.flops, self.cpu, self.checksum, self.stop, self.preempted = 0.0, time.process_time(), 0, 0, False
        self.report_hangs()

    def report_hangs(self) -> None:
        """Says on each start which stacks lie there; uploads them where the stage is remote."""
        names = collect(self.job.out)
        if names and self.ctx.rank == 0:
            files = ", ".join(f"{self.job.out}/{FOLDER}/{name}" for name in names)
            say(f"[train {self.job.name}] a rank hung before; its stacks are in {files}")

    def beat(self) -> None:
        """Something was done."""
        self.watchdog.beat()

    def start(self) -> None:
        """Steps follow."""
        self.cpu = time.process_time()
        self.stops.start()
        self.beat()

    def beat_on_read(self, read: Callable[[str], T]) -> Callable[[str], T]:
        """The same reader of clips; each clip counts as a sign of life."""

        def read_and_beat(key: str) -> T:
            self.beat()
            return read(key)

        return read_and_beat

    def begin_step(self, done: int) -> None:
        """A step begins; `done` are behind it. Every so many are measured, the first among them."""
        self.flops, self.checksum = 0.0, 0
        if self.every and done % self.every == 0:
            self.clock.begin()

    def count(self, keys: Iterable[str], flops: float = 0.0) -> None:
        """One micro batch went through the model.

        Args:
            keys: of its clips.
            flops: operations that it took, forward and backward.
        """
        # A sum, as the order in which ranks and micro batches take a step's clips does not matter.
        self.checksum += sum(zlib.crc32(key.encode()) for key in keys)
        self.flops += flops

    def own_sums(self) -> list[float]:
        """This rank's part of what the ranks add up at each step."""
        # A place of its own for each rank, so that the sum over the ranks holds the memory of all of them.
        memory = [0.0] * self.ctx.world_size
        memory[self.ctx.rank] = memory_gb(self.ctx.device)
        used, self.cpu = time.process_time() - self.cpu, time.process_time()
        return [float(self.stops.weight()), float(self.checksum), self.flops, used, *memory]

    def end_step(self, total: Sequence[float], seconds: float, waited: float) -> dict[str, Any]:
        """Numbers of the step that ends here; remembers whether to stop.

        Args:
            total: `own_sums` added up over the ranks.
            seconds: of the whole step, the wait for data with it.
            waited: seconds for data.
        """
        self.stop = int(total[0])
        row: dict[str, Any] = {"clips_checksum": int(total[1]), "workers": self.ctx.world_size}
        row |= {"cpu_seconds": total[3], "memory_gb": max(total[4:])}
        if total[2]:  # a family that counts no operations has no such columns
            row["tflops"] = total[2] / self.ctx.world_size / seconds / 1e12
            if self.peak_flops:
                row["mfu"] = row["tflops"] * 1e12 / self.peak_flops
        if self.clock.on:
            times = self.clock.end() | {"data": waited}
            whole = sum(times.values())
            row |= {f"{SHARE_PREFIX}{name}": value / whole for name, value in times.items()}
        return row

    def checkpoint_due(self, done: int) -> bool:
        """Whether a checkpoint is due before its time; the same on all ranks, which all call it after each step."""
        if not self.preempted and done % PREEMPTION_STEPS == 0 and self.ctx.preempted():
            self.preempted = True
            say(f"[train {self.job.name}] a node will be taken away: a checkpoint is written now")
            return True
        return self.stop > 0

    @property
    def ends_run(self) -> bool:
        """Whether the whole run was asked to end; the same on all ranks."""
        return self.stop >= RUN_WEIGHT

    def end_if_requested(self, done: int, steps: int) -> None:
        """After the checkpoint that a request asked for.

        Raises:
            Stopped: the run was asked to end. A worker that was asked to end does so here, with exit code 75.
        """
        if self.ends_run:
            raise Stopped(
                f"stage {self.job.name} was asked to end and did after step {done} of {steps}; the checkpoint is "
                "on storage, and the same command goes on from there"
            )
        if self.stops.leaving:
            say(f"[train {self.job.name}] rank {self.ctx.rank} ends on SIGTERM; checkpoint of step {done} written")
            os._exit(EXIT_STOPPED)  # Ray's own way out would wait for the thread that this is

    def close(self) -> None:
        """Stops watching."""
        self.stops.close()
        self.watchdog.close()
