"""A line for each round of each trial, in place of Ray Tune's tables, which a job's log cannot carry."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback

from pipelines.runtime.progress import say


class TrialLines(Callback):
    """Prints trial, round, accuracy and values.

    Args:
        trials: how many there will be.
    """

    def __init__(self, trials: int) -> None:
        self.trials = trials
        self.numbers: dict[str, int] = {}

    def _name(self, trial: Any) -> str:
        number = self.numbers.setdefault(trial.trial_id, len(self.numbers) + 1)
        return f"[tune] trial {number}/{self.trials}"

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial begins."""
        values = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in trial.config.items())
        say(f"{self._name(trial)} starts: {values}")

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A round is scored."""
        if "round" in result:
            clips = result["validation_clips"]
            say(f"{self._name(trial)} round {result['round']}: accuracy {result['accuracy']:.3f} on {clips} clips")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial broke off."""
        say(f"{self._name(trial)} failed; see trials.json")
