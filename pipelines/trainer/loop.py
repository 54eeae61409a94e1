"""One job on one rank, whatever is trained: steps, with checkpoints, requests to stop, metrics, validation and the end.

A family's loop builds model and engine, then says what a step is (`build`, `learn`, `step_row`), what is validated
(`validate`) and what is left behind (`export`). It sees a TrainContext only, so the same loop runs under Ray Train, in
one plain process and in a test. Whatever is drawn at random must depend on the seed and the step alone: then a resumed
job goes on exactly.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from pipelines.runtime.errors import StageFailed
from pipelines.runtime.progress import say
from pipelines.trainer.checkpoints import ACCURACY, Checkpoints
from pipelines.trainer.context import TrainContext
from pipelines.trainer.engine import Engine
from pipelines.trainer.job import Job
from pipelines.trainer.monitor import Monitor
from pipelines.trainer.prefetch import Prefetcher
from pipelines.trainer.schedule import rate_factor
from pipelines.trainer.telemetry import metrics_log
from pipelines.trainer.telemetry.metrics_log import TrainLog
from skeleton_io import storage

B = TypeVar("B")
CLIPS = "validation_clips"
EXPORT = "export"
"""Folder of the finished model below a job's own."""


@dataclass(frozen=True)
class Validation:
    """How good the model is by now.

    Attributes:
        accuracy: 0 to 1, more is better: the best checkpoints are chosen by it. None: there were no clips.
        clips: that were scored.
    """

    accuracy: float | None
    clips: int

    def metrics(self) -> dict[str, Any]:
        """As it stands in a checkpoint and in the summary; empty without clips."""
        return {} if self.accuracy is None else {ACCURACY: self.accuracy, CLIPS: self.clips}


class TrainLoop(ABC, Generic[B]):
    """Trains one job on this rank. A family derives from it; `B` is what this rank needs for one step.

    The subclass calls this constructor last, with everything built: it restores the newest checkpoint.

    Args:
        job: what to train.
        ctx: this rank's surroundings.
        engine: steps the model.
        monitor: made before the engine.
        steps: of the whole job.
        seed: of the job.
        epoch_clips: clips in one epoch.
        rates: group -> peak learning rate, for the metrics.
        logged: whether rank 0 writes metrics and progress lines.
    """

    def __init__(
        self,
        job: Job,
        ctx: TrainContext,
        engine: Engine,
        monitor: Monitor,
        *,
        steps: int,
        seed: int,
        epoch_clips: int,
        rates: Mapping[str, float],
        logged: bool = True,
    ) -> None:
        self.job, self.ctx, self.engine, self.monitor = job, ctx, engine, monitor
        self.steps, self.seed, self.epoch_clips, self.rates = steps, seed, epoch_clips, rates
        self.settings = job.settings
        self.checkpoints = Checkpoints(job.checkpoints, ctx, self.settings.keep_checkpoints, self.settings.keep_best)
        self.done = self.saved = self.checkpoints.restore(engine)
        self.log: TrainLog | None = None
        if logged and ctx.rank == 0:
            if self.done:
                say(f"[train {job.name}] goes on after step {self.done} of {steps}")
            batch, trackers = self.settings.global_batch, self.settings.metrics
            self.log = TrainLog(job.out, job.name, steps, batch, self.done, trackers)

    @abstractmethod
    def build(self, number: int) -> B:
        """What this rank needs for a step, counted over the job. Runs ahead, in another thread: touches no weights."""

    @abstractmethod
    def learn(self, batches: B) -> list[float]:
        """Forward and backward passes of one step.

        Returns:
            This rank's part of what the ranks add up; the first is the objective, which must be a number.
        """

    @abstractmethod
    def step_row(self, total: Sequence[float]) -> dict[str, Any]:
        """The family's numbers of a step, `loss` among them, from what `learn` returned, added up over the ranks."""

    @abstractmethod
    def validate(self, most: int) -> Validation:
        """Scores at most `most` validation clips. Every rank calls it."""

    @abstractmethod
    def export(self, uri: str) -> dict[str, Any]:
        """Writes the finished model, whose weights are whole; rank 0 alone.

        Returns:
            The family's part of the summary.
        """

    def save_bad_step(self, what: str) -> str:
        """Saves what is needed to look into a step whose loss or gradient is no number; every rank calls it.

        Returns:
            A part of a sentence that says where.
        """
        return f"nothing more is known about the {what}"

    def run(self, until: int | None = None) -> None:
        """Trains up to a step (None: to the end); on the way checkpoints, and validation where that is asked for.

        Raises:
            StageFailed: the loss is not a number; see `save_bad_step`.
            Stopped: the run was asked to end; a checkpoint is on storage.
        """
        last = self.steps if until is None else min(until, self.steps)
        if self.done >= last:
            return
        batches = Prefetcher(self.build, self.done, last)
        waited, start = 0.0, time.perf_counter()
        self.monitor.start()
        try:
            for step_batches in batches:
                self.monitor.begin_step(self.done)
                row, total = self._step(step_batches)
                now = time.perf_counter()
                row |= self.monitor.end_step(total, now - start, batches.waited - waited)
                self._record(row, now - start, batches.waited - waited)
                start, waited = now, batches.waited
                self.done += 1
                self.monitor.beat()
                # The time of a pause belongs to no step.
                if self.done < last and (self._pause_for_request() or self._pause_when_due()):
                    start = time.perf_counter()
        finally:
            batches.close()
            self.checkpoints.wait()
            self.monitor.close()

    def _step(self, batches: B) -> tuple[dict[str, Any], list[float]]:
        """One optimiser step; returns its numbers, and the monitor's, summed over the ranks."""
        # Dropout must not depend on what was drawn before a restart.
        torch.manual_seed((self.seed + 7919 * self.done + self.ctx.rank) & 0x7FFFFFFF)
        own = self.learn(batches)
        # One message for both: each collective makes the ranks wait for the slowest.
        total = self.ctx.sum([*own, *self.monitor.own_sums()])
        if not math.isfinite(total[0]):
            self._fail("loss")
        factor = rate_factor(self.done, self.steps, self.settings.warmup_share)
        with self.monitor.clock.region("optimizer"):
            norm = self.engine.step(factor)
        if not math.isfinite(norm):
            self._fail("gradient")
        row = self.step_row(total[: len(own)]) | {"grad_norm": norm}
        return row | {f"lr/{name}": rate * factor for name, rate in self.rates.items()}, total[len(own) :]

    def _fail(self, what: str) -> None:
        """Ends the job, as `what` is not a number. Every rank gets here, since loss and norm are the same on all.

        Raises:
            StageFailed: always.
        """
        if self.log is not None:
            self.log.flush()
        detail = self.save_bad_step(what)
        raise StageFailed(
            f"stage {self.job.name}: the {what} is not a number at step {self.done + 1} of {self.steps}; "
            f"{detail}; the last checkpoint is kept"
        )

    def _record(self, row: dict[str, Any], seconds: float, waited: float) -> None:
        """Adds rates and writes the line."""
        if self.log is None:
            return
        batch = self.settings.global_batch
        rates = {"seconds": seconds, "clips": batch, "clips_per_second": batch / seconds}
        if "tokens" in row:
            rates["tokens_per_second"] = row["tokens"] / seconds
        rates["data_wait_share"] = min(1.0, waited / seconds)
        self.log.add({"step": self.done + 1, "epoch": self.done * batch / self.epoch_clips, **row, **rates})

    def _pause_for_request(self) -> bool:
        """A checkpoint where a worker or the whole run was asked to end; whether one was written.

        Raises:
            Stopped: the whole run was, or this worker.
        """
        if not self.monitor.checkpoint_due(self.done):
            return False
        self.save({})
        self.checkpoints.close()
        if self.log is not None:
            self.log.flush()
        self.monitor.end_if_requested(self.done, self.steps)
        return True

    def _pause_when_due(self) -> bool:
        """Validates and saves where one of them is due after this step."""
        settings = self.settings
        scored = settings.validate_every > 0 and self.done % settings.validate_every == 0
        if not scored and self.done % settings.checkpoint_every:
            return False
        self.save(self._validate_and_log().metrics() if scored else {})
        return True

    def _validate_and_log(self) -> Validation:
        """Accuracy on the validation clips; written beside the step's numbers too."""
        validation = self.validate(self.settings.validate_clips)
        if validation.accuracy is not None and self.log is not None:
            self.log.note(ACCURACY, validation.accuracy)
        return validation

    def save(self, metrics: dict[str, Any]) -> None:
        """A checkpoint of where the job stands, written in the background; metrics go with it."""
        if self.log is not None:
            self.log.flush()
        self.checkpoints.save(self.engine, self.done, metrics)
        self.saved = self.done

    def finish(self) -> dict[str, Any]:
        """Validation, last checkpoint, export, summary (the summary on rank 0; others return an empty one)."""
        validation = self._validate_and_log()
        # What follows takes as long as the storage does and gives no sign of life; a clip starts the watch again.
        self.monitor.close()
        if self.saved != self.done:
            self.save(validation.metrics())
        self.checkpoints.close()
        exported = self.done
        if self.settings.export_best and (best := self.checkpoints.restore(self.engine, best=True)):
            exported, validation = best, self.validate(self.settings.validate_clips)
            self.monitor.close()
        uri, summary = storage.join(self.job.out, EXPORT), {}
        with self.engine.whole_weights():
            if self.ctx.rank == 0:
                summary = self.export(uri) | {"export": uri, "exported_step": exported}
        self.ctx.barrier()
        if summary and self.log is not None:
            summary |= {ACCURACY: None, CLIPS: 0} | validation.metrics()
            self.log.close()
        return summary

    def measured(self) -> dict[str, Any]:
        """First and last loss, rates and times so far, for the summary; empty where nothing is logged."""
        return metrics_log.summary(self.log.rows) if self.log is not None else {}
