"""Stage: Ray Tune over rendering hyperparameters; every trial is a short Ray Train run with DeepSpeed on one worker.

Trained model (or the bare LLM, where nothing is trained yet) + `tune.space` -> tune/best.yaml, a whole configuration
that `skel train` accepts, and tune/trials.json. A trial goes on from the trained model with other rendering: renderer
weights are taken over where their shapes fit. Scores are accuracies on validation clips, which are cut from the
training subjects; test clips never reach the search.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from pipelines import leakage, manifest
from pipelines.cluster import require
from pipelines.config import FullConfig, Range, StageConfig, digest, resolve, to_yaml, with_values
from pipelines.errors import StageFailed, UserError
from pipelines.manifest import RunPaths
from pipelines.progress import say
from pipelines.ray_stage import apply_settings, scaling
from pipelines.train import finished_stages, make_job, stage_key
from pipelines.train_loop import StageJob
from skeleton_io import storage

TRIALS_FILE = "trials.json"
BEST_FILE = "best.yaml"
SEARCHES = "search"
HALVING = 2
"""ASHA keeps one of this many trials at each rung."""


def trial_stage(cfg: FullConfig) -> StageConfig:
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


def one_worker(cfg: FullConfig) -> FullConfig:
    """The configuration with a single worker: trials are many, not wide."""
    return dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, workers=1))


def start_of(cfg: FullConfig, paths: RunPaths) -> str | None:
    """Export of the last training stage that is finished with this configuration; None where there is none."""
    finished = finished_stages(cfg, paths)
    return finished[-1][0] if finished else None


def trial_worker(config: dict[str, Any]) -> None:
    """Runs on the trial's worker: trains round by round and reports each round's accuracy."""
    import torch

    from pipelines.context import RayContext
    from pipelines.train_loop import StageLoop

    job: StageJob = config["job"]
    torch.set_num_threads(job.cfg.train.threads_per_worker)
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    ctx = RayContext()
    loop = StageLoop(job, ctx, logged=False)
    rounds = job.cfg.tune.epochs
    for number in range(1, rounds + 1):
        loop.run(round(loop.steps * number / rounds))
        accuracy, clips = loop.validate(job.cfg.tune.validation_clips)
        ctx.report({"accuracy": accuracy, "round": number, "validation_clips": clips})


def trial(values: dict[str, Any], job: StageJob) -> None:
    """One trial: decodes the configuration with its values again, then one Ray Train run."""
    apply_settings()
    from ray.train import LoggingConfig, RunConfig
    from ray.train.torch import TorchTrainer
    from ray.tune import get_context
    from ray.tune.integration.ray_train import TuneReportCallback

    cfg = one_worker(with_values(job.cfg, values, "tune.space"))
    asked = dataclasses.replace(job, cfg=cfg, stage=trial_stage(cfg))
    TorchTrainer(
        trial_worker,
        train_loop_config={"job": asked},
        scaling_config=scaling(asked),
        run_config=RunConfig(
            name=f"train-{get_context().get_trial_id()}",
            storage_path=storage.join(job.out, "runs"),
            callbacks=[TuneReportCallback()],
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    ).fit()


def distribution(span: Range) -> Any:
    """A range as Ray Tune takes it; `config.check` made sure that just one form is given."""
    from ray import tune

    if span.choice:
        return tune.choice(list(span.choice))
    if span.uniform is not None:
        return tune.uniform(*span.uniform)
    if span.log_uniform is not None:
        return tune.loguniform(*span.log_uniform)
    assert span.randint is not None
    return tune.randint(*span.randint)


def inside(span: Range, value: Any) -> bool:
    """Whether a value lies in a range."""
    if span.choice:
        return value in span.choice
    low, high = span.uniform or span.log_uniform or (span.randint or (0, 0))
    return low <= value < high if span.randint is not None else low <= value <= high


def current_values(cfg: FullConfig) -> dict[str, Any] | None:
    """The configuration's own values of the searched fields, None where one lies outside its range."""
    values = {key: resolve(cfg, key, "tune.space") for key in cfg.tune.space}
    return values if all(inside(cfg.tune.space[key], value) for key, value in values.items()) else None


def make_tuner(cfg: FullConfig, job: StageJob, storage_path: str, name: str) -> Any:
    """A new search, or the one of this name that was broken off."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints a banner even where it is silenced
    import optuna
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from pipelines.tune_log import TrialLines

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # The trial's own process only waits for its worker, which reserves what it needs.
    trainable = tune.with_resources(tune.with_parameters(trial, job=job), {"CPU": 0.01})
    found = storage.join(storage_path, name)
    if storage.exists(found) and tune.Tuner.can_restore(found):
        say("[tune] goes on with the search that was broken off")
        return tune.Tuner.restore(found, trainable=trainable, resume_errored=True)
    # The first trial is the configuration as it is, so that the best can be compared with it.
    own = current_values(cfg)
    settings = cfg.tune
    return tune.Tuner(
        trainable,
        param_space={key: distribution(span) for key, span in settings.space.items()},
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=settings.trials,
            max_concurrent_trials=settings.concurrent,
            search_alg=OptunaSearch(seed=cfg.seed, points_to_evaluate=[own] if own else None),
            scheduler=ASHAScheduler(
                time_attr="training_iteration",
                max_t=settings.epochs,
                grace_period=min(settings.grace, settings.epochs),
                reduction_factor=HALVING,
            ),
        ),
        run_config=tune.RunConfig(
            name=name, storage_path=storage_path, verbose=0, callbacks=[TrialLines(settings.trials)]
        ),
    )


def rows(results: Any, cfg: FullConfig) -> list[dict[str, Any]]:
    """One plain row per trial: values, accuracy per round, whether ASHA stopped it, what went wrong."""
    found = []
    for number, result in enumerate(results, 1):
        frame = result.metrics_dataframe
        scored = [] if frame is None or "accuracy" not in frame else frame["accuracy"].dropna().tolist()
        error = str(result.error).strip().splitlines() if result.error is not None else []
        found.append(
            {
                "trial": number,
                "values": result.config,
                "accuracy": [float(value) for value in scored],
                "stopped": not error and len(scored) < cfg.tune.epochs,
                "error": error[-1] if error else None,
            }
        )
    return found


def search(cfg: FullConfig, paths: RunPaths, job: StageJob, key: str) -> dict[str, Any]:
    """Runs the search and writes the best configuration and the table."""
    results = make_tuner(cfg, job, storage.join(paths.tune, SEARCHES), key).fit()
    table = rows(results, cfg)
    storage.write_atomic(storage.join(paths.tune, TRIALS_FILE), json.dumps(table, indent=1))
    scored = [row for row in table if row["accuracy"]]
    if not scored:
        raise StageFailed(f"no trial finished a round; the first says: {table[0]['error'] if table else 'nothing'}")
    # Rounds are compared at their best, as the report does; a tie goes to the earlier trial.
    best = max(scored, key=lambda row: max(row["accuracy"]))
    where = storage.join(paths.tune, BEST_FILE)
    storage.write_atomic(where, to_yaml(with_values(cfg, best["values"], "tune.space")))
    own = current_values(cfg)
    base = [row for row in scored if row["values"] == own]
    return {
        "trials": len(table),
        "finished": len(scored),
        "stopped_early": sum(row["stopped"] for row in table),
        "failed": sum(row["error"] is not None for row in table),
        "validation_clips": cfg.tune.validation_clips,
        "best_accuracy": max(best["accuracy"]),
        "accuracy_before": max(base[0]["accuracy"]) if base else None,
        "best": best["values"],
        "best_config": where,
        "start": "trained model" if job.start else "untrained",
    }


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Searches `tune.space`; does nothing where that is done for this model, space and data.

    Raises:
        UserError: nothing to search, no validation clips, or the cluster is too small.
        StageFailed: no trial got through a round.
    """
    settings = cfg.tune
    if not settings.space:
        raise UserError("nothing to tune: tune.space is empty")
    if not cfg.data.validation_share:
        raise UserError("tune needs validation clips: set data.validation_share above 0")
    if not cfg.tune.validation_clips:
        raise UserError("tune needs validation clips: set tune.validation_clips above 0")
    train, what = cfg.train, f"tune ({settings.concurrent} trials at a time)"
    slots = settings.concurrent
    require(slots * (train.cpus_per_worker + 0.01), slots * train.gpus_per_worker, what)
    leakage.check_run(cfg, paths)
    start, stage = start_of(cfg, paths), trial_stage(cfg)
    job = make_job(cfg, paths, stage, start, paths.tune, ())
    job = dataclasses.replace(job, max_clips=settings.max_clips)
    key = digest("tune", settings, stage_key(one_worker(cfg), paths, stage, start, ()))
    return manifest.run_stage("tune", paths.tune, key, lambda: search(cfg, paths, job, key))
