"""What one trial does: a short Ray Train run with other rendering, scored on validation clips round by round."""

from __future__ import annotations

import dataclasses
from typing import Any

from pipelines.config.loading import with_values
from pipelines.config.stages import StageConfig
from pipelines.config.tree import FullConfig
from pipelines.runtime.paths import RunPaths
from pipelines.trainer.context import RayContext
from pipelines.trainer.ray_run import apply_settings, make_scaling, set_up_worker
from pipelines.training.job import StageJob
from pipelines.training.keys import finished_stages
from pipelines.training.loop import StageLoop
from skeleton_io import storage


def make_trial_stage(cfg: FullConfig) -> StageConfig:
    """What a trial trains: multiple choice, `tune.epochs` rounds."""
    rates = cfg.tune.learning_rate
    smoothing = cfg.train.stages[0].label_smoothing if cfg.train.stages else 0.0
    return StageConfig(
        name="trial",
        tasks={"mqa": 1.0},
        trains=tuple(rates),
        learning_rate=rates,
        epochs=float(cfg.tune.epochs),
        label_smoothing=smoothing,
    )


def with_one_worker(cfg: FullConfig) -> FullConfig:
    """The configuration with a single worker: trials are many, not wide."""
    return dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, workers=1))


def find_start(cfg: FullConfig, paths: RunPaths) -> str | None:
    """Export of the last training stage that is finished with this configuration; None where there is none."""
    finished = finished_stages(cfg, paths)
    return finished[-1][0] if finished else None


def train_trial(config: dict[str, Any]) -> None:
    """Runs on the trial's worker: trains round by round and reports each round's accuracy."""
    job: StageJob = config["job"]
    set_up_worker(job.settings)
    ctx = RayContext()
    # Nothing is written: a trial has no metrics, checkpoints or export of its own.
    loop = StageLoop(job, ctx, logged=False)
    rounds = job.cfg.tune.epochs
    for number in range(1, rounds + 1):
        loop.run(round(loop.steps * number / rounds))
        validation = loop.validate(job.cfg.tune.validation_clips)
        ctx.report({"accuracy": validation.accuracy, "round": number, "validation_clips": validation.clips})


def run_trial(values: dict[str, Any], job: StageJob) -> None:
    """One trial: decodes the configuration with its values again, then one Ray Train run."""
    apply_settings()
    from ray.train import LoggingConfig, RunConfig
    from ray.train.torch import TorchTrainer
    from ray.tune import get_context
    from ray.tune.integration.ray_train import TuneReportCallback

    # Values come as plain numbers: they are checked like those of a file.
    cfg = with_one_worker(with_values(job.cfg, values, "tune.space"))
    own = dataclasses.replace(job, cfg=cfg, stage=make_trial_stage(cfg))
    TorchTrainer(
        train_trial,
        train_loop_config={"job": own},
        scaling_config=make_scaling(own.settings),
        run_config=RunConfig(
            name=f"train-{get_context().get_trial_id()}",
            storage_path=storage.join(job.out, "runs"),
            callbacks=[TuneReportCallback()],
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    ).fit()
