"""Stage: Ray Tune over rendering hyperparameters; every trial is a short Ray Train run with DeepSpeed on one worker.

Trained model (or the bare LLM, where nothing is trained yet) + `tune.space` -> tune/best.yaml, a whole configuration
that `skel train` accepts, and tune/trials.json. A trial goes on from the trained model with other rendering: renderer
weights are taken over where their shapes fit. Scores are accuracies on validation clips, which are cut from the
training subjects; test clips never reach the search.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pipelines.cluster.connect import require
from pipelines.config.tree import FullConfig
from pipelines.leakage import of_run as leakage
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.training.job import StageJob
from pipelines.training.keys import stage_key
from pipelines.training.stage import make_job
from pipelines.tuning.objective import find_start, make_trial_stage, with_one_worker
from pipelines.tuning.outcome import read_trials, write_outcome
from pipelines.tuning.search import TRIAL_CPUS, make_tuner
from skeleton_io import storage

SEARCHES = "search"
"""Folder below which Ray Tune keeps its searches, one for each key."""


def search(cfg: FullConfig, paths: RunPaths, job: StageJob, key: str) -> dict[str, Any]:
    """Runs the search and writes the best configuration and the table.

    Raises:
        StageFailed: no trial got through a round.
    """
    results = make_tuner(cfg, job, storage.join(paths.tune, SEARCHES), key).fit()
    summary = write_outcome(cfg, paths.tune, read_trials(results, cfg.tune.epochs))
    return summary | {"start": "trained model" if job.start else "untrained"}


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
    require(slots * (train.cpus_per_worker + TRIAL_CPUS), slots * train.gpus_per_worker, what)
    leakage.check_run(cfg, paths)
    start, stage = find_start(cfg, paths), make_trial_stage(cfg)
    job = make_job(cfg, paths, stage, start, paths.tune, ())
    job = dataclasses.replace(job, max_clips=settings.max_clips)
    key = digest("tune", settings, stage_key(with_one_worker(cfg), paths, stage, start, ()))
    return run_once("tune", paths.tune, key, lambda: search(cfg, paths, job, key))
