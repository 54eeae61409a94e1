"""A second model family on the same trainer: a linear encoder with settings, job, engine and loop of its own.

It is what a new family has to write, at its smallest. Workers of Ray import it by its path.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from pipelines.config.faults import FaultsConfig, MetricsConfig
from pipelines.trainer.context import TrainContext
from pipelines.trainer.loop import TrainLoop, Validation
from pipelines.trainer.monitor import Monitor
from pipelines.trainer.replica import ReplicaEngine
from skeleton_io import storage

LOOP = "tests.second_family:EncoderLoop"
WIDTH = 6


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The same settings of workers and pace as `TrainConfig`, and a rate of its own."""

    learning_rate: float = 0.05
    global_batch: int = 8
    warmup_share: float = 0.1
    checkpoint_every: int = 4
    keep_checkpoints: int = 2
    keep_best: int = 1
    export_best: bool = False
    validate_every: int = 0
    validate_clips: int = 16
    workers: int = 2
    min_workers: int = 0
    resize_check_s: float = 60.0
    cpus_per_worker: float = 0.5
    gpus_per_worker: float = 0
    threads_per_worker: int = 1
    max_failures: int = 2
    faults: FaultsConfig = field(default_factory=lambda: FaultsConfig(stop_poll_s=0.05))
    metrics: MetricsConfig = field(default_factory=lambda: MetricsConfig(profile_every=3))


@dataclass(frozen=True)
class EncoderJob:
    """Plain data for a rank.

    Attributes:
        steps: of the whole job.
        breaks_at: (step, marker file): rank 0 ends its process there, once; None: never.
        nan_at: step whose input holds no number; -1: none.
    """

    name: str
    out: str
    checkpoints: str
    settings: EncoderSettings = EncoderSettings()
    steps: int = 12
    seed: int = 5
    breaks_at: tuple[int, str] | None = None
    nan_at: int = -1


def clips(seed: int, number: int, count: int) -> Tensor:
    """(count, WIDTH) "clips" of a step."""
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(1000 * seed + number))


class EncoderLoop(TrainLoop[Tensor]):
    """Learns to give back what it is shown, through dropout."""

    job: EncoderJob

    def __init__(self, job: EncoderJob, ctx: TrainContext, logged: bool = True) -> None:
        torch.manual_seed(job.seed)
        self.model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.3), nn.Linear(WIDTH, WIDTH)).to(ctx.device)
        monitor = Monitor(job, ctx, ("encoder",))
        monitor.clock.watch_module(self.model, "encoder")
        rate = job.settings.learning_rate
        groups = [{"name": "encoder", "params": list(self.model.parameters()), "lr": rate}]
        engine = ReplicaEngine(self.model, groups, 1.0, ctx.world_size)
        epoch = 4 * job.settings.global_batch
        sizes = {"steps": job.steps, "seed": job.seed, "epoch_clips": epoch}
        super().__init__(job, ctx, engine, monitor, **sizes, rates={"encoder": rate}, logged=logged)

    def build(self, number: int) -> Tensor:
        """This rank's clips."""
        whole = clips(self.job.seed, number, self.settings.global_batch)
        if number == self.job.nan_at:
            whole[0, 0] = float("nan")
        return whole.chunk(self.ctx.world_size)[self.ctx.rank].to(self.ctx.device)

    def learn(self, batches: Tensor) -> list[float]:
        """(sum of the clips' losses)."""
        if self.job.breaks_at is not None:
            step, marker = self.job.breaks_at
            if self.done == step and self.ctx.rank == 0 and not Path(marker).exists():
                Path(marker).write_text("")
                os._exit(1)
        losses = (self.model(batches) - batches).square().mean(1)
        self.engine.backward(losses.mean())
        self.monitor.count([f"toy/{self.done}/{self.ctx.rank}"])
        return [float(losses.detach().sum())]

    def step_row(self, total: Sequence[float]) -> dict[str, Any]:
        """Its loss."""
        return {"loss": total[0] / self.settings.global_batch}

    def validate(self, most: int) -> Validation:
        """Share of numbers that come back with the right sign; each rank scores the same clips."""
        self.model.eval()
        with torch.no_grad():
            shown = clips(self.job.seed, -1, most).to(self.ctx.device)
            right = float((self.model(shown).sign() == shown.sign()).double().mean())
        self.model.train()
        return Validation(right, most)

    def export(self, uri: str) -> dict[str, Any]:
        """One file of weights."""
        weights = {name: value.cpu().contiguous() for name, value in self.model.state_dict().items()}
        storage.write_atomic(storage.join(uri, "encoder.safetensors"), save(weights))
        return {"name": self.job.name, "workers": self.ctx.world_size, **self.measured()}
