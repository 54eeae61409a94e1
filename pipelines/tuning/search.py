"""The search: a new Ray Tune run, or the one that was broken off."""

from __future__ import annotations

import os
from typing import Any

from pipelines.config.tree import FullConfig
from pipelines.runtime.progress import say
from pipelines.training.job import StageJob
from pipelines.tuning.objective import run_trial
from pipelines.tuning.space import current_values, make_distribution
from skeleton_io import storage

TRIAL_CPUS = 0.01
"""Of a trial's own process, which only waits for its worker; the worker reserves what it needs."""
HALVING = 2
"""ASHA keeps one of this many trials at each rung."""


def make_tuner(cfg: FullConfig, job: StageJob, storage_path: str, name: str) -> Any:
    """A new search, or the one of this name that was broken off."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints a banner even where it is silenced
    import optuna
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from pipelines.tuning.trial_lines import TrialLines  # derives from a class of Ray Tune

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trainable = tune.with_resources(tune.with_parameters(run_trial, job=job), {"CPU": TRIAL_CPUS})
    earlier = storage.join(storage_path, name)
    if storage.exists(earlier) and tune.Tuner.can_restore(earlier):
        say("[tune] goes on with the search that was broken off")
        return tune.Tuner.restore(earlier, trainable=trainable, resume_errored=True)
    # The first trial is the configuration as it is, so that the best can be compared with it.
    own = current_values(cfg)
    settings = cfg.tune
    return tune.Tuner(
        trainable,
        param_space={key: make_distribution(span) for key, span in settings.space.items()},
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
