"""One stage on one rank: batches -> losses -> steps, with checkpoints, metrics, validation and the export.

Sees a TrainContext and a StageEngine: the same loop runs under Ray Train with DeepSpeed, in one plain process, in a
test. Everything random is drawn from (seed, epoch, step) or (seed, epoch, clip), so a resumed stage goes on exactly.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.objectives import lm_objective, task_weights
from models.skeleton_llm import SkeletonLLM
from models.trainable import set_trainable
from pipelines.batches.collator import Batch, Collator
from pipelines.batches.lengths import SAMPLED
from pipelines.batches.prefetch import Prefetcher
from pipelines.batches.sampler import share, stage_seed
from pipelines.config.train import TrainConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.exports.start_points import labels_of
from pipelines.exports.store import build_model, continue_model, write_export
from pipelines.runtime.errors import StageFailed
from pipelines.runtime.progress import say
from pipelines.trainer import schedule
from pipelines.trainer.checkpoints import ACCURACY, Checkpoints
from pipelines.trainer.context import TrainContext
from pipelines.trainer.telemetry import metrics_log
from pipelines.trainer.telemetry.metrics_log import TrainLog
from pipelines.training import validation as validate
from pipelines.training.bad_step import FailedStep
from pipelines.training.engines.base import StageEngine
from pipelines.training.engines.plain import PlainEngine
from pipelines.training.engines.sharded_load import partitioned
from pipelines.training.job import StageJob, sharded
from pipelines.training.monitor import Monitor
from pipelines.training.stage_data import chosen_sets, missing_material, stage_data
from pipelines.training.step_metrics import StepMetrics, count_fallbacks
from skeleton_io import storage


def start_model(job: StageJob) -> SkeletonLLM:
    """The model that the stage starts from, with adapters where it trains them, and everything else frozen."""
    with partitioned(job.cfg.train, job.cfg.mllm.precision, sharded(job)):
        model = build_model(job.cfg, job.mllm) if job.start is None else continue_model(job.cfg, job.start)
    if "lora" in job.stage.trains:
        model.mllm.add_lora(job.cfg.mllm.lora, job.cfg.seed)
    set_trainable(model, job.stage.trains)
    return model.train()


def snapshot(model: SkeletonLLM) -> dict[str, Tensor]:
    """A copy of the renderer's weights, float64 on the CPU."""
    return {name: p.detach().double().cpu().clone() for name, p in model.renderer.named_parameters()}


class StageLoop:
    """Trains one stage on this rank. Building it restores the newest checkpoint.

    Args:
        job: what to train.
        ctx: this rank's surroundings.
        logged: whether rank 0 writes metrics and progress lines.
    """

    def __init__(self, job: StageJob, ctx: TrainContext, logged: bool = True) -> None:
        torch.set_flush_denormal(True)  # thin Gaussians have denormal tails, which cost a hundred times as much
        self.job, self.ctx = job, ctx
        self.train = job.cfg.train
        store = ClipStore(job.shards)
        self.clip, self.selection = store.clip, select(job.cfg, store)
        self.labels = {name: self.selection.labels[name] for name in chosen_sets(job, self.selection)}
        book, self.sampler = stage_data(job, store, self.selection)
        self.seed = stage_seed(job.cfg.seed, job.stage.name)
        self.steps = job.stage.steps or self.sampler.steps(job.stage.epochs, self.train.global_batch)
        self.model = start_model(job)
        self.before = snapshot(self.model)
        factors = {str(task): factor for task, factor in job.stage.loss_weights.items()}
        self.loss_weights = {task: factors.get(task, 1.0) for task in StepMetrics(job.stage.tasks).asked}
        self.collator = Collator(
            store.clip, book, self.model.mllm.tokenize, job.cfg.renderer, self.train.augment, self.seed
        )
        self.train = self._fitting(job.cfg.train)
        self.monitor = Monitor(job, ctx, self.model.to(ctx.device))
        self.engine = self._engine()
        self.checkpoints = Checkpoints(job.checkpoints, ctx, self.train.keep_checkpoints, self.train.keep_best)
        self.done = self.saved = self.checkpoints.restore(self.engine)
        self.log: TrainLog | None = None
        if logged and ctx.rank == 0:
            if line := missing_material(job, self.sampler):
                say(line)
            if self.done:
                say(f"[train {job.stage.name}] goes on after step {self.done} of {self.steps}")
            self.log = TrainLog(
                job.out, job.stage.name, self.steps, self.train.global_batch, self.done, self.train.metrics
            )

    def _fitting(self, train: TrainConfig) -> TrainConfig:
        """The settings with the micro batch that keeps padding low, found from the first clips of the stage."""
        some = self.sampler.batch(self.seed, 0, 0, min(len(self.sampler), SAMPLED))
        own = train.global_batch // self.ctx.world_size
        size = self.collator.micro_batch(some, own, train.micro_batch, train.max_padding)
        return dataclasses.replace(train, micro_batch=size)

    def _engine(self) -> StageEngine:
        """DeepSpeed or plain torch around the model, on this rank's device."""
        precision = self.job.cfg.mllm.precision
        ranks, others = self.ctx.world_size, set(self.job.stage.trains) - {"renderer"}
        if not self.job.deepspeed or self.train.zero_stage == 0 or not others:
            return PlainEngine(self.model, self.job.stage, self.train, precision, ranks)
        from pipelines.training.engines.zero import ZeroEngine  # deepspeed is not needed by the plain loop

        return ZeroEngine(self.model, self.job.stage, self.train, precision, ranks)

    def build(self, number: int) -> list[Batch]:
        """This rank's micro batches of one step, counted over the stage."""
        epoch, step = self.sampler.place(number, self.train.global_batch)
        draws = self.sampler.batch(self.seed, epoch, step, self.train.global_batch)
        return self.collator.step(share(draws, self.ctx.rank, self.ctx.world_size), self.train.micro_batch)

    def run(self, until: int | None = None) -> None:
        """Trains up to a step (None: to the end); on the way checkpoints, and validation where that is asked for.

        Raises:
            StageFailed: the loss is not a number; the clips of that step are saved beside the metrics.
            Stopped: the run was asked to end; a checkpoint is on storage.
        """
        last = self.steps if until is None else min(until, self.steps)
        if self.done >= last:
            return
        batches = Prefetcher(self.build, self.done, last)
        waited, start = 0.0, time.perf_counter()
        self.monitor.start()
        try:
            for micro_batches in batches:
                self.monitor.begin(self.done)
                row, total = self._step(micro_batches)
                now = time.perf_counter()
                row |= self.monitor.row(total, now - start, batches.waited - waited)
                self._record(row, now - start, batches.waited - waited)
                start, waited = now, batches.waited
                self.done += 1
                self.monitor.beat()
                if self.done < last and (self._asked_to_stop() or self._pause()):
                    start = time.perf_counter()
        finally:
            batches.close()
            self.checkpoints.wait()
            self.monitor.close()

    def _asked_to_stop(self) -> bool:
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
        self.monitor.leave(self.done, self.steps)
        return True

    def _pause(self) -> bool:
        """Validates and saves where one of them is due after this step."""
        train = self.train
        scored = train.validate_every > 0 and self.done % train.validate_every == 0
        if not scored and self.done % train.checkpoint_every:
            return False
        self.save(self._scores() if scored else {})
        return True

    def _scores(self) -> dict[str, Any]:
        """Accuracy on the validation clips, as it goes with a checkpoint; written beside the step's numbers too."""
        accuracy, clips = self.validate(self.train.validate_clips)
        if accuracy is None:
            return {}
        if self.log is not None:
            self.log.note(ACCURACY, accuracy)
        return {ACCURACY: accuracy, "validation_clips": clips}

    def _step(self, batches: Sequence[Batch]) -> tuple[dict[str, Any], list[float]]:
        """One optimiser step; returns its numbers, and the monitor's, summed over the ranks.

        Each clip weighs its task's loss weight / global batch, however the batch is cut: the mean over a micro batch's
        clips is weighted by the sum of their weights, and the engine averages over micro batches and ranks.
        """
        # Dropout must not depend on what was drawn before a restart.
        torch.manual_seed((self.seed + 7919 * self.done + self.ctx.rank) & 0x7FFFFFFF)
        tally = StepMetrics(self.job.stage.tasks)
        weight = len(batches) * self.ctx.world_size / self.train.global_batch
        bad, clock = FailedStep(self.train.global_batch, self.ctx), self.monitor.clock
        for batch in batches:
            ready = batch.to(self.ctx.device)
            with clock.region("llm"):
                out = self.engine.forward(ready.clips, ready.text)
            rows = task_weights(batch.tasks, self.loss_weights)
            loss = lm_objective(out, self.job.stage.label_smoothing, rows, reduction="example")
            summed = float(rows.sum())
            with clock.region("llm"):
                self.engine.backward(loss * (weight * summed))
            losses, tokens = out.example_loss.detach().tolist(), int(batch.text.attention_mask.sum())
            tally.add(batch.wanted, batch.tasks, losses, float(loss.detach()) * summed, tokens)
            self.monitor.seen(batch)
            bad.seen(batch.keys, losses)
        own = tally.vector()
        total = self.ctx.sum([*own, *self.monitor.vector()])
        if not math.isfinite(total[0]):
            self._not_a_number("loss", bad)
        factor = schedule.factor(self.done, self.steps, self.train.warmup_share)
        with clock.region("optimizer"):
            norm = self.engine.step(factor)
        if not math.isfinite(norm):
            self._not_a_number("gradient", bad)
        row = tally.row(total[: len(own)], self.train.global_batch) | {"grad_norm": norm}
        row |= {f"lr/{name}": self.job.stage.learning_rate[name] * factor for name in self.job.stage.trains}
        return row, total[len(own) :]

    def _record(self, row: dict[str, Any], seconds: float, waited: float) -> None:
        """Adds rates and writes the line."""
        if self.log is None:
            return
        batch = self.train.global_batch
        rates = {
            "seconds": seconds,
            "clips": batch,
            "clips_per_second": batch / seconds,
            "tokens_per_second": row["tokens"] / seconds,
            "data_wait_share": min(1.0, waited / seconds),
        }
        self.log.add({"step": self.done + 1, "epoch": self.done * batch / len(self.sampler), **row, **rates})

    def _not_a_number(self, what: str, bad: FailedStep) -> None:
        """Saves the step's clips and ends the stage. Every rank gets here, as loss and norm are the same on all.

        Raises:
            StageFailed: always.
        """
        epoch, step = self.sampler.place(self.done, self.train.global_batch)
        draws = self.sampler.batch(self.seed, epoch, step, self.train.global_batch)
        if self.log is not None:
            self.log.flush()
        place = {"seed": self.seed, "epoch": epoch, "step": step}
        clips = bad.save(storage.join(self.job.out, f"nan-step-{self.done + 1}.json"), place, draws, what)
        raise StageFailed(
            f"stage {self.job.stage.name}: the {what} is not a number at step {self.done + 1} of {self.steps}; "
            f"{clips}; the last checkpoint is kept"
        )

    def save(self, metrics: dict[str, Any]) -> None:
        """A checkpoint of where the stage stands, written in the background; metrics go with it."""
        if self.log is not None:
            self.log.flush()
        self.checkpoints.save(self.engine, self.done, metrics)
        self.saved = self.done

    def validate(self, most: int) -> tuple[float | None, int]:
        """(accuracy on at most `most` validation clips of the trained sets, number of clips); None without clips."""
        keys = validate.sample({name: self.selection.validation[name] for name in self.labels}, most)
        bf16 = self.job.cfg.mllm.precision == "bf16"
        batch = self.train.micro_batch
        found = validate.accuracy(
            self.model, keys, self.monitor.beating(self.clip), self.labels, self.job.cfg.renderer, self.ctx, batch, bf16
        )
        return found, len(keys)

    def finish(self) -> dict[str, Any]:
        """Validation, last checkpoint, export, summary (the summary on rank 0; others return an empty one)."""
        scores = self._scores()
        # What follows takes as long as the storage does and gives no sign of life; a clip starts the watch again.
        self.monitor.close()
        if self.saved != self.done:
            self.save(scores)
        self.checkpoints.close()
        exported = self.done
        if self.train.export_best and (found := self.checkpoints.restore(self.engine, best=True)):
            exported = found
            accuracy, clips = self.validate(self.train.validate_clips)
            self.monitor.close()
            scores = {ACCURACY: accuracy, "validation_clips": clips}
        export = storage.join(self.job.out, "export")
        summary: dict[str, Any] = {}
        with self.engine.gathered():
            if self.ctx.rank == 0:
                after = snapshot(self.model)
                write_export(self.model, self.job.cfg, self._labels_seen(), export)
                summary = self._summary(after) | {"export": export, "exported_step": exported}
        self.ctx.barrier()
        if summary and self.log is not None:
            summary |= {ACCURACY: None, "validation_clips": 0} | scores
            self.log.close()
        return summary

    def _labels_seen(self) -> dict[str, tuple[str, ...]]:
        """Set -> labels that this model was trained on, in this stage or before."""
        earlier = {name: tuple(found) for name, found in labels_of(self.job.start).items()}
        return earlier | {n: tuple(sorted({*found, *earlier.get(n, ())})) for n, found in self.labels.items()}

    def _summary(self, after: dict[str, Tensor]) -> dict[str, Any]:
        """Numbers of the stage; the renderer's change is the norm of the difference to where the stage started."""
        changes = {name: float((after[name] - self.before[name]).norm()) for name in after}
        moved = math.sqrt(sum(c * c for c in changes.values()))
        size = math.sqrt(sum(float(t.square().sum()) for t in self.before.values()))
        numbers = metrics_log.summary(self.log.rows) if self.log is not None else {}
        return {
            "name": self.job.stage.name,
            "tasks": list(self.job.stage.tasks),
            "trains": list(self.job.stage.trains),
            "epochs": self.job.stage.epochs,
            "training_clips": len(self.sampler),
            "left_out": self.sampler.left_out,
            "fallbacks": count_fallbacks(self.log.rows) if self.log is not None else {},
            "workers": self.ctx.world_size,
            **numbers,
            "renderer_change": moved,
            "renderer_change_relative": moved / size if size else 0.0,  # fixed renderers have no weights
            "renderer_tensors": [{"name": name, "change": change} for name, change in changes.items()],
        }
