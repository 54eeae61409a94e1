"""SkeletonLLM's loop on one rank: what a step of a stage is, what is validated and what is exported.

Everything else (checkpoints, stops, metrics) is `trainer.loop.TrainLoop`'s. Sees a TrainContext and a StageEngine: the
same loop runs under Ray Train with DeepSpeed, in one plain process, in a test. Everything random is drawn from (seed,
epoch, step) or (seed, epoch, clip), so a resumed stage goes on exactly.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.objectives import lm_objective, task_weights
from models.skeleton_llm import SkeletonLLM
from models.trainable import set_trainable
from pipelines.batches.collator import Batch, Collator
from pipelines.batches.lengths import SAMPLED
from pipelines.batches.sampler import stage_seed, take_share
from pipelines.config.train import TrainConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.exports.start_points import labels_of
from pipelines.exports.store import build_model, continue_model, write_export
from pipelines.runtime.progress import say
from pipelines.trainer.context import TrainContext
from pipelines.trainer.loop import TrainLoop, Validation
from pipelines.training import validation
from pipelines.training.bad_step import BadStep
from pipelines.training.engines.base import StageEngine
from pipelines.training.engines.plain import PlainEngine
from pipelines.training.engines.sharded_load import partition_on_load
from pipelines.training.job import StageJob, is_sharded
from pipelines.training.model_work import ModelWork, make_monitor
from pipelines.training.stage_data import missing_material, stage_data, stage_sets
from pipelines.training.step_metrics import StepMetrics, count_fallbacks
from skeleton_io import storage


def start_model(job: StageJob) -> SkeletonLLM:
    """The model that the stage starts from, with adapters where it trains them, and everything else frozen."""
    with partition_on_load(job.cfg.train, job.cfg.mllm.precision, is_sharded(job)):
        model = build_model(job.cfg, job.mllm) if job.start is None else continue_model(job.cfg, job.start)
    if "lora" in job.stage.trains:
        model.mllm.add_lora(job.cfg.mllm.lora, job.cfg.seed)
    set_trainable(model, job.stage.trains)
    return model.train()


def copy_renderer(model: SkeletonLLM) -> dict[str, Tensor]:
    """A copy of the renderer's weights, float64 on the CPU."""
    return {name: p.detach().double().cpu().clone() for name, p in model.renderer.named_parameters()}


def make_engine(model: SkeletonLLM, job: StageJob, train: TrainConfig, ctx: TrainContext) -> StageEngine:
    """DeepSpeed or plain torch around a model on this rank's device; `train` has the micro batch that is used."""
    precision, others = job.cfg.mllm.precision, set(job.stage.trains) - {"renderer"}
    # The renderer stays outside of DeepSpeed, which is left with nothing where the renderer alone learns.
    if not job.deepspeed or train.zero_stage == 0 or not others:
        return PlainEngine(model, job.stage, train, precision, ctx.world_size)
    from pipelines.training.engines.zero import ZeroEngine  # deepspeed is not needed by the plain loop

    return ZeroEngine(model, job.stage, train, precision, ctx.world_size)


class StageLoop(TrainLoop[list[Batch]]):
    """Trains one stage on this rank. Building it restores the newest checkpoint.

    Args:
        job: what to train.
        ctx: this rank's surroundings.
        logged: whether rank 0 writes metrics and progress lines.
    """

    job: StageJob
    engine: StageEngine

    def __init__(self, job: StageJob, ctx: TrainContext, logged: bool = True) -> None:
        torch.set_flush_denormal(True)  # thin Gaussians have denormal tails, which cost a hundred times as much
        store = ClipStore(job.shards)
        self.clip, self.selection = store.clip, select(job.cfg, store)
        self.labels = {name: self.selection.labels[name] for name in stage_sets(job, self.selection)}
        book, self.sampler = stage_data(job, store, self.selection)
        seed = stage_seed(job.cfg.seed, job.stage.name)
        steps = job.stage.steps or self.sampler.steps(job.stage.epochs, job.cfg.train.global_batch)
        self.model = start_model(job)
        self.before = copy_renderer(self.model)
        self.step_metrics = StepMetrics(job.stage.tasks)
        factors = {str(task): factor for task, factor in job.stage.loss_weights.items()}
        self.loss_weights = {task: factors.get(task, 1.0) for task in self.step_metrics.tasks}
        tokenize = self.model.mllm.tokenize
        self.collator = Collator(store.clip, book, tokenize, job.cfg.renderer, job.cfg.train.augment, seed)
        self.train = self._fit_micro_batch(job.cfg.train, seed, ctx.world_size)
        self.bad_step = BadStep(self.train.global_batch, ctx)
        # Before the engine, which keeps references to the collectives that the monitor wraps.
        monitor = make_monitor(job, ctx, self.model.to(ctx.device))
        self.work = ModelWork(self.model, job.cfg.renderer.image_size)
        engine = make_engine(self.model, job, self.train, ctx)
        if logged and ctx.rank == 0 and (line := missing_material(job, self.sampler)):
            say(line)
        rates = {str(group): job.stage.learning_rate[group] for group in job.stage.trains}
        sizes = {"steps": steps, "seed": seed, "epoch_clips": len(self.sampler)}
        super().__init__(job, ctx, engine, monitor, **sizes, rates=rates, logged=logged)

    def _fit_micro_batch(self, train: TrainConfig, seed: int, world_size: int) -> TrainConfig:
        """The settings with the micro batch that keeps padding low, measured on the first clips of the stage."""
        first = self.sampler.batch(seed, 0, 0, min(len(self.sampler), SAMPLED))
        own = train.global_batch // world_size
        size = self.collator.micro_batch(first, own, train.micro_batch, train.max_padding)
        return dataclasses.replace(train, micro_batch=size)

    def build(self, number: int) -> list[Batch]:
        """This rank's micro batches of one step, counted over the stage."""
        epoch, step = self.sampler.place(number, self.train.global_batch)
        draws = self.sampler.batch(self.seed, epoch, step, self.train.global_batch)
        return self.collator.step(take_share(draws, self.ctx.rank, self.ctx.world_size), self.train.micro_batch)

    def learn(self, batches: Sequence[Batch]) -> list[float]:
        """See TrainLoop.

        Each clip weighs its task's loss weight / global batch, however the batch is cut: the mean over a micro batch's
        clips is weighted by the sum of their weights, and the engine averages over micro batches and ranks.
        """
        self.step_metrics = StepMetrics(self.job.stage.tasks)
        self.bad_step = BadStep(self.train.global_batch, self.ctx)
        # Undoes the engine's mean over micro batches and ranks, and divides by the clips of the whole step.
        weight = len(batches) * self.ctx.world_size / self.train.global_batch
        for batch in batches:
            self._learn_batch(batch, weight)
        return self.step_metrics.sums()

    def _learn_batch(self, batch: Batch, weight: float) -> None:
        """One micro batch, forward and backward."""
        ready, clock = batch.to(self.ctx.device), self.monitor.clock
        with clock.region("llm"):
            out = self.engine.forward(ready.clips, ready.text)
        weights = task_weights(batch.tasks, self.loss_weights)
        loss = lm_objective(out, self.job.stage.label_smoothing, weights, reduction="example")
        clips = float(weights.sum())
        with clock.region("llm"):
            self.engine.backward(loss * (weight * clips))
        losses, tokens = out.example_loss.detach().tolist(), int(batch.text.attention_mask.sum())
        self.step_metrics.add(batch.wanted, batch.tasks, losses, float(loss.detach()) * clips, tokens)
        self.monitor.count(batch.keys, self.work.flops(batch))
        self.bad_step.add(batch.keys, losses)

    def step_row(self, total: Sequence[float]) -> dict[str, Any]:
        """See TrainLoop."""
        return self.step_metrics.row(total, self.train.global_batch)

    def save_bad_step(self, what: str) -> str:
        """See TrainLoop: the step's clips, in a file beside the metrics."""
        epoch, step = self.sampler.place(self.done, self.train.global_batch)
        draws = self.sampler.batch(self.seed, epoch, step, self.train.global_batch)
        place = {"seed": self.seed, "epoch": epoch, "step": step}
        return self.bad_step.save(storage.join(self.job.out, f"nan-step-{self.done + 1}.json"), place, draws, what)

    def validate(self, most: int) -> Validation:
        """Multiple-choice accuracy on at most `most` validation clips of the trained sets."""
        keys = validation.sample_keys({name: self.selection.validation[name] for name in self.labels}, most)
        bf16 = self.job.cfg.mllm.precision == "bf16"
        clip, cfg, batch = self.monitor.beat_on_read(self.clip), self.job.cfg.renderer, self.train.micro_batch
        accuracy = validation.measure_accuracy(self.model, keys, clip, self.labels, cfg, self.ctx, batch, bf16)
        return Validation(accuracy, len(keys))

    def export(self, uri: str) -> dict[str, Any]:
        """See TrainLoop."""
        after = copy_renderer(self.model)
        write_export(self.model, self.job.cfg, self._labels_seen(), uri)
        return self._summary(after)

    def _labels_seen(self) -> dict[str, tuple[str, ...]]:
        """Set -> labels that this model was trained on, in this stage or before."""
        earlier = {name: tuple(labels) for name, labels in labels_of(self.job.start).items()}
        return earlier | {name: tuple(sorted({*own, *earlier.get(name, ())})) for name, own in self.labels.items()}

    def _summary(self, after: dict[str, Tensor]) -> dict[str, Any]:
        """Numbers of the stage; the renderer's change is the norm of the difference to where the stage started."""
        changes = {name: float((after[name] - self.before[name]).norm()) for name in after}
        moved = math.sqrt(sum(c * c for c in changes.values()))
        size = math.sqrt(sum(float(t.square().sum()) for t in self.before.values()))
        return {
            "name": self.job.stage.name,
            "tasks": list(self.job.stage.tasks),
            "trains": list(self.job.stage.trains),
            "epochs": self.job.stage.epochs,
            "training_clips": len(self.sampler),
            "left_out": self.sampler.left_out,
            "fallbacks": count_fallbacks(self.log.rows) if self.log is not None else {},
            "workers": self.ctx.world_size,
            **self.measured(),
            "renderer_change": moved,
            "renderer_change_relative": moved / size if size else 0.0,  # fixed renderers have no weights
            "renderer_tensors": [{"name": name, "change": change} for name, change in changes.items()],
        }
