"""What the evaluations in words share (`captions`, `questions`): model, shards, test clips, and the folder of results.

Batch inference on Ray Data; broken off, it goes on with the answers that have no row yet. Chooses nothing by a score.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.evaluation.any_checkpoint import EvaluationRequest, configure_evaluation
from pipelines.evaluation.stage import protocols_used, select_test_clips
from pipelines.exports.find import find_export, identity
from pipelines.leakage.of_export import check_export
from pipelines.runtime import manifest
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import run_once
from pipelines.scores.metrics import Scoreboard
from skeleton_io import storage


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What both evaluations start from.

    Attributes:
        request: what the command line names.
        cfg: the export's configuration with this evaluation's overrides.
        export: folder of the model.
        model_key: what the model is recognised by; rows of another one are never mixed in.
        store: the clips.
        clips: keys of the test clips.
    """

    request: EvaluationRequest
    cfg: FullConfig
    export: str
    model_key: str
    store: ClipStore
    clips: tuple[str, ...]

    @property
    def scoreboard(self) -> Scoreboard:
        """Intervals only; there are no classes."""
        # The seed of the run: the same answers have the same intervals in every file.
        return Scoreboard({}, self.cfg.evaluate.bootstrap, self.cfg.seed)

    def origin(self) -> dict[str, Any]:
        """Where the numbers come from: the head of the JSON file."""
        return {
            "model": self.model_key,
            "checkpoint": self.request.model,
            "shards": {"uri": self.request.shards, "digest": self.store.digest},
            "protocols": protocols_used(self.cfg, self.store),
        }

    def finish(self, name: str, file: str, key: str, work: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """Runs `work` in OUT/NAME unless it is done for this key, and writes OUT/FILE."""
        folder = storage.join(self.request.out, name)
        scores = run_once(name, folder, key, lambda: self.origin() | work(storage.join(folder, f"rows-{key}")))
        now = {"written": datetime.now(UTC).isoformat(timespec="seconds"), "provenance": manifest.provenance()}
        report = {**scores, **now}
        # Also where nothing was left to do: the file may have been removed, or be of another run of the command.
        storage.write_atomic(storage.join(self.request.out, file), json.dumps(report, indent=1))
        return report


def prepare(request: EvaluationRequest) -> Setting:
    """Model, shards and test clips; Ray must be connected.

    Raises:
        UserError: no model, shards, set or test clips there, or the model has seen what the test asks.
    """
    import ray

    export = find_export(request.model)
    store = ClipStore(request.shards)
    cfg = configure_evaluation(request, export, store, 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0)
    check_export(cfg, export, store)
    clips = tuple(question.key for question in select_test_clips(cfg, store, select(cfg, store)))
    if not clips:
        raise UserError("nothing to evaluate: no set has test clips under its protocol")
    return Setting(request=request, cfg=cfg, export=export, model_key=identity(export), store=store, clips=clips)
