"""Stage: Ray Tune over rendering hyperparameters; every trial is a short Ray Train run with DeepSpeed on one worker.

Trained model (or the bare LLM, where nothing is trained yet) + `tune.space` -> tune/best.yaml, a whole configuration
that `skel train` accepts, and tune/trials.json. A trial goes on from the trained model with other rendering: renderer
weights are taken over where their shapes fit. Scores are accuracies on validation clips, which are cut from the
training subjects; test clips never reach the search.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from pipelines.cluster.connect import require
from pipelines.config.loading import to_yaml, with_values
from pipelines.config.tree import FullConfig
from pipelines.leakage import of_run as leakage
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import StageFailed, UserError
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.training.job import StageJob
from pipelines.training.keys import stage_key
from pipelines.training.stage import make_job
from pipelines.tuning.objective import one_worker, start_of, trial_stage
from pipelines.tuning.outcome import BEST_FILE, TRIALS_FILE, rows
from pipelines.tuning.search import make_tuner
from pipelines.tuning.space import current_values
from skeleton_io import storage

SEARCHES = "search"


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
    return run_once("tune", paths.tune, key, lambda: search(cfg, paths, job, key))
