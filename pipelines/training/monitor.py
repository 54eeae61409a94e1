"""What a rank watches while it trains: the watchdog, requests to stop, where the time goes, FLOPs, memory, which clips.

The loop says what happens (`beat`, `begin`, `seen`, `vector`, `row`); nothing here changes what is learned. Numbers of
time and FLOPs are rank 0's own, memory and clips are summed or compared over the ranks.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from models.mllm import flops
from models.skeleton_llm import SkeletonLLM
from pipelines.runtime.progress import say
from pipelines.runtime.stop import EXIT_STOPPED, RUN_WEIGHT, Stopped, StopWatch
from pipelines.trainer.telemetry.metrics_log import SHARE_PREFIX
from pipelines.trainer.telemetry.step_clock import StepClock, watch_collectives
from pipelines.trainer.telemetry.watchdog import FOLDER, Watchdog, collect

if TYPE_CHECKING:
    from pipelines.batches.collator import Batch
    from pipelines.trainer.context import TrainContext
    from pipelines.training.job import StageJob
    from skeleton_io.record.sequence import SkeletonSequence


PREEMPTION_STEPS = 10
"""Steps between two looks whether Ray is about to lose a node; all ranks wait for one another there."""


def memory_gb(device: torch.device) -> float:
    """Most memory that this process ever held, GB: of the GPU where it works on one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def vision_encoder(model: SkeletonLLM) -> nn.Module | None:
    """The vision encoder of a multimodal LLM; None where it goes by no known name."""
    for name, module in model.mllm.named_modules():
        if name.endswith((".vision_tower", ".visual")):
            return module
    return None


class Monitor:
    """One per stage and rank; built before the engine, which keeps references to what is wrapped here.

    Args:
        job: what is trained.
        ctx: this rank's surroundings.
        model: with `requires_grad` as in the stage, on its device.
    """

    def __init__(self, job: StageJob, ctx: TrainContext, model: SkeletonLLM) -> None:
        train = job.cfg.train
        self.job, self.ctx, self.every = job, ctx, train.metrics.profile_every
        self.watchdog = Watchdog(train.faults.watchdog_s, job.out, ctx.rank)
        self.stops = StopWatch(job.out, ctx.rank, train.faults.stop_poll_s)
        self.clock = StepClock(ctx.device)
        if ctx.world_size > 1:
            watch_collectives()
        self.clock.watch_model(model.renderer, vision_encoder(model))
        below = any(parameter.requires_grad for parameter in model.renderer.parameters())
        self.flops = flops.model_flops(model.mllm, below)
        encoder, size = model.mllm.encoder, job.cfg.renderer.image_size
        self.image_id, self.image_tokens = encoder.image_id, model.mllm.geometry.tokens(size)
        self.peak = 1e12 * train.metrics.peak_tflops or flops.peak(ctx.device, job.cfg.mllm.precision)
        self.work, self.cpu, self.checksum, self.stop, self.preempted = 0.0, time.process_time(), 0, 0, False
        self.report_hangs()

    def report_hangs(self) -> None:
        """Says on each start which stacks lie there; uploads them where the stage is remote."""
        found = collect(self.job.out)
        if found and self.ctx.rank == 0:
            files = ", ".join(f"{self.job.out}/{FOLDER}/{name}" for name in found)
            say(f"[train {self.job.stage.name}] a rank hung before; its stacks are in {files}")

    def beat(self) -> None:
        """Something was done."""
        self.watchdog.beat()

    def start(self) -> None:
        """Steps follow."""
        self.cpu = time.process_time()
        self.stops.start()
        self.beat()

    def beating(self, clip: Callable[[str], SkeletonSequence]) -> Callable[[str], SkeletonSequence]:
        """The same reader of clips; each clip counts as a sign of life."""

        def read(key: str) -> SkeletonSequence:
            self.beat()
            return clip(key)

        return read

    def begin(self, done: int) -> None:
        """A step begins; `done` are behind it. Every so many are measured, the first among them."""
        self.work, self.checksum = 0.0, 0
        if self.every and done % self.every == 0:
            self.clock.begin()

    def seen(self, batch: Batch) -> None:
        """One micro batch went through the model."""
        self.checksum += sum(zlib.crc32(key.encode()) for key in batch.keys)
        text = batch.text
        tokens, images = text.attention_mask.sum(1).tolist(), (text.input_ids == self.image_id).sum(1).tolist()
        answers = (text.labels >= 0).sum(1).tolist() if text.labels is not None else [0] * len(tokens)
        self.work += self.flops.step(zip(tokens, answers, images, strict=True), self.image_tokens)

    def vector(self) -> list[float]:
        """This rank's part of what the ranks add up at each step."""
        memory = [0.0] * self.ctx.world_size
        memory[self.ctx.rank] = memory_gb(self.ctx.device)
        used, self.cpu = time.process_time() - self.cpu, time.process_time()
        return [float(self.stops.weight()), float(self.checksum), self.work, used, *memory]

    def row(self, total: Sequence[float], seconds: float, waited: float) -> dict[str, Any]:
        """Numbers of the step that ends here from the sum of all `vector`s; remembers whether to stop.

        Args:
            total: the sum.
            seconds: of the whole step, the wait for data with it.
            waited: seconds for data.
        """
        self.stop = int(total[0])
        row: dict[str, Any] = {"clips_checksum": int(total[1]), "workers": self.ctx.world_size}
        row |= {
            "cpu_seconds": total[3],
            "memory_gb": max(total[4:]),
            "tflops": total[2] / self.ctx.world_size / seconds / 1e12,
        }
        if self.peak:
            row["mfu"] = row["tflops"] * 1e12 / self.peak
        if self.clock.on:
            times = self.clock.end() | {"data": waited}
            whole = sum(times.values())
            row |= {f"{SHARE_PREFIX}{name}": value / whole for name, value in times.items()}
        return row

    def checkpoint_due(self, done: int) -> bool:
        """Whether a checkpoint is due before its time; the same on all ranks, which all call it after each step."""
        if not self.preempted and done % PREEMPTION_STEPS == 0 and self.ctx.preempted():
            self.preempted = True
            say(f"[train {self.job.stage.name}] a node will be taken away: a checkpoint is written now")
            return True
        return self.stop > 0

    @property
    def ends_run(self) -> bool:
        """Whether the whole run was asked to end; the same on all ranks."""
        return self.stop >= RUN_WEIGHT

    def leave(self, done: int, steps: int) -> None:
        """After the checkpoint that a request asked for.

        Raises:
            Stopped: the run was asked to end. A worker that was asked to end does so here, with exit code 75.
        """
        if self.ends_run:
            raise Stopped(
                f"stage {self.job.stage.name} was asked to end and did after step {done} of {steps}; the checkpoint is "
                "on storage, and the same command goes on from there"
            )
        if self.stops.leaving:
            say(
                f"[train {self.job.stage.name}] rank {self.ctx.rank} ends on SIGTERM; checkpoint of step {done} written"
            )
            os._exit(EXIT_STOPPED)  # Ray's own way out would wait for the thread that this is

    def close(self) -> None:
        """Stops watching."""
        self.stops.close()
        self.watchdog.close()
