"""Numbers of each step -> MLflow and Weights & Biases, where the configuration names them. Keeps no numbers itself.

Both are optional packages (extras `mlflow` and `wandb`), imported here and nowhere else. A run that goes on after a
stop goes on in the tracker too: its id is kept beside the metrics.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pipelines.config.faults import MetricsConfig
from pipelines.runtime.errors import UserError
from pipelines.runtime.progress import say
from skeleton_io import storage

IDS_FILE = "trackers.json"


class Tracker(Protocol):
    """A service that takes numbers.

    Attributes:
        run: id under which the service knows the run.
    """

    run: str

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers of one step."""
        ...

    def close(self) -> None:
        """The run is over, or stops for now."""
        ...


def load_tracker(package: str, setting: str) -> Any:
    """An optional package.

    Raises:
        UserError: it is not installed; names the extra that brings it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise UserError(
            f"train.metrics.{setting} needs a package that is not installed: pip install 'skeleton-ray[{setting}]'"
        ) from None


def check_trackers(cfg: MetricsConfig) -> None:
    """Whether everything that the configuration names is installed; before any worker starts.

    Raises:
        UserError: a package is missing.
    """
    for setting in ("mlflow", "wandb"):
        if getattr(cfg, setting):
            load_tracker(setting, setting)


class MlflowTracker:
    """One run of an MLflow experiment.

    Args:
        uri: of the tracking server, or what else MLflow takes (a database needs its full package).
        name: of the run.
        run: id to go on with; empty starts one.
    """

    def __init__(self, uri: str, name: str, run: str) -> None:
        self.client = load_tracker("mlflow", "mlflow").MlflowClient(tracking_uri=uri)
        if not run:
            known = self.client.get_experiment_by_name("skeleton-ray")
            experiment = known.experiment_id if known else self.client.create_experiment("skeleton-ray")
            run = self.client.create_run(experiment, run_name=name).info.run_id
        self.run = run

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """See Tracker."""
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = time.time_ns() // 1_000_000
        rows = [Metric(key, value, now, step) for key, value in numbers.items()]
        self.client.log_batch(self.run, metrics=rows)

    def close(self) -> None:
        """See Tracker."""
        self.client.set_terminated(self.run)


class WandbTracker:
    """One run of a Weights & Biases project; WANDB_MODE=offline keeps it on this machine.

    Args:
        project: its name.
        name: of the run.
        run: id to go on with; empty starts one.
    """

    def __init__(self, project: str, name: str, run: str) -> None:
        self.handle = load_tracker("wandb", "wandb").init(
            project=project, name=name, id=run or None, resume="allow", settings={"console": "off", "silent": True}
        )
        self.run = str(self.handle.id)

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """See Tracker."""
        self.handle.log(dict(numbers), step=step)

    def close(self) -> None:
        """See Tracker."""
        self.handle.finish()


class Trackers:
    """All that the configuration names. What one of them does wrong while training is said once and ends no run.

    Args:
        cfg: which ones.
        out: URI of the stage; the ids of the runs are kept there.
        name: of the runs.
        goes_on: whether the stage goes on from a checkpoint.

    Raises:
        UserError: a package is missing; or a service refuses a stage that begins (one that goes on does without).
    """

    def __init__(self, cfg: MetricsConfig, out: str, name: str, goes_on: bool) -> None:
        uri = storage.join(out, IDS_FILE)
        ids = json.loads(storage.read_text(uri)) if goes_on and storage.exists(uri) else {}
        self.trackers: dict[str, Tracker] = {}
        kinds: dict[str, Callable[[str, str, str], Tracker]] = {"mlflow": MlflowTracker, "wandb": WandbTracker}
        for key, kind in kinds.items():
            if not getattr(cfg, key):
                continue
            try:
                self.trackers[key] = kind(getattr(cfg, key), name, str(ids[key]) if key in ids else "")
            except UserError:
                raise
            except Exception as error:  # they raise what they like
                if not goes_on:
                    raise UserError(f"train.metrics.{key} {getattr(cfg, key)!r}: {error}") from error
                say(f"[train] {key} cannot be reached ({type(error).__name__}: {error}); training goes on without")
        if self.trackers:
            storage.write_atomic(uri, json.dumps({key: tracker.run for key, tracker in self.trackers.items()}))

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers of one step."""
        for key in list(self.trackers):
            try:
                self.trackers[key].add(step, numbers)
            except Exception as error:  # noqa: BLE001 - a service far away must not end hours of training
                say(f"[train] {key} takes no more numbers ({type(error).__name__}: {error}); training goes on without")
                del self.trackers[key]

    def close(self) -> None:
        """Ends all runs."""
        for key, tracker in self.trackers.items():
            try:
                tracker.close()
            except Exception as error:  # noqa: BLE001 - likewise
                say(f"[train] {key} could not be closed ({type(error).__name__}: {error})")
        self.trackers = {}
