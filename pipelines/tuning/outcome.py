"""What a search has come to: one row per trial, written as trials.json, and the best configuration as best.yaml."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.config.loading import to_yaml, with_values
from pipelines.config.tree import FullConfig
from pipelines.runtime.errors import StageFailed
from pipelines.tuning.space import current_values
from skeleton_io import storage

TRIALS_FILE = "trials.json"
BEST_FILE = "best.yaml"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial, as a row of trials.json.

    Attributes:
        trial: its number, from 1.
        values: of the searched fields.
        accuracy: on validation clips after each round.
        stopped: whether ASHA ended it before its last round.
        error: what went wrong, in one line; None: nothing.
    """

    trial: int
    values: Mapping[str, Any]
    accuracy: Sequence[float]
    stopped: bool
    error: str | None

    @property
    def best_accuracy(self) -> float:
        """Of its rounds; at least one must have been scored."""
        return max(self.accuracy)


def read_trials(results: Iterable[Any], rounds: int) -> list[Trial]:
    """One row per trial of Ray Tune's results; `rounds` is how many each was to have."""
    trials = []
    for number, result in enumerate(results, 1):
        frame = result.metrics_dataframe
        scored = [] if frame is None or "accuracy" not in frame else frame["accuracy"].dropna().tolist()
        error = str(result.error).strip().splitlines() if result.error is not None else []
        trials.append(
            Trial(
                trial=number,
                values=result.config,
                accuracy=[float(value) for value in scored],
                stopped=not error and len(scored) < rounds,
                error=error[-1] if error else None,  # of a traceback, the line that says what it was
            )
        )
    return trials


def choose_best(trials: Sequence[Trial]) -> Trial:
    """The trial with the most accurate round; of equal ones the earlier.

    Raises:
        StageFailed: no trial got through a round.
    """
    scored = [trial for trial in trials if trial.accuracy]
    if not scored:
        raise StageFailed(f"no trial finished a round; the first says: {trials[0].error if trials else 'nothing'}")
    # Rounds are compared at their best, as the report does.
    return max(scored, key=lambda trial: trial.best_accuracy)


def write_outcome(cfg: FullConfig, folder: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """Writes the table of trials and the configuration with the best one's values.

    Args:
        cfg: the run's configuration.
        folder: URI of the stage.
        trials: all of them.

    Returns:
        The stage's summary.

    Raises:
        StageFailed: no trial got through a round; the table is written all the same.
    """
    rows = [dataclasses.asdict(trial) for trial in trials]
    storage.write_atomic(storage.join(folder, TRIALS_FILE), json.dumps(rows, indent=1))
    best, uri, own = choose_best(trials), storage.join(folder, BEST_FILE), current_values(cfg)
    storage.write_atomic(uri, to_yaml(with_values(cfg, dict(best.values), "tune.space")))
    scored = [trial for trial in trials if trial.accuracy]
    base = [trial.best_accuracy for trial in scored if trial.values == own]
    return {
        "trials": len(trials),
        "finished": len(scored),
        "stopped_early": sum(trial.stopped for trial in trials),
        "failed": sum(trial.error is not None for trial in trials),
        "validation_clips": cfg.tune.validation_clips,
        "best_accuracy": best.best_accuracy,
        "accuracy_before": base[0] if base else None,
        "best": best.values,
        "best_config": uri,
    }
