"""The stages of a run, in order: one line each. A new stage is one file with `run(cfg, paths)` and one line here.

Modules are named by strings, so that the ground knows nothing of what stands on it and `--help` loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.runtime.paths import RunPaths


def _always(cfg: Any) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run."""

    module: str
    """Has `run(cfg, paths)`, which returns the stage's summary."""
    wanted: Callable[[Any], bool] = _always
    """Whether a configuration (a FullConfig) asks for it."""
    output: Callable[[RunPaths], str] | None = None
    """The folder with its manifest; None where each of its parts has a manifest of its own, or it has none."""


STAGES: dict[str, Stage] = {
    "demo-data": Stage(
        module="pipelines.ingest.demo_data", wanted=lambda cfg: cfg.data.demo, output=lambda paths: paths.demo
    ),
    "ingest": Stage(module="pipelines.ingest.stage", output=lambda paths: paths.shards),
    "rationales": Stage(module="pipelines.rationales.stage", output=lambda paths: paths.rationales),
    "tiny-mllm": Stage(
        module="pipelines.training.tiny_mllm", wanted=lambda cfg: not cfg.mllm.path, output=lambda paths: paths.mllm
    ),
    "train": Stage(module="pipelines.training.stage"),
    "tune": Stage(
        module="pipelines.tuning.stage", wanted=lambda cfg: bool(cfg.tune.space), output=lambda paths: paths.tune
    ),
    "transfer": Stage(
        module="pipelines.studies.transfer",
        wanted=lambda cfg: bool(cfg.evaluate.transfer) or cfg.evaluate.transfer_all,
    ),
    "evaluate": Stage(module="pipelines.evaluation.stage", output=lambda paths: paths.evaluate),
    "report": Stage(module="pipelines.report.stage"),
}
