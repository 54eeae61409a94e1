"""A trained model on the test clips of a shard set, in words: captions against references and facts; questions.

Checkpoint, shards -> OUT/captions.json, OUT/qa.json, each with the rows it came from in a folder beside it. Batch
inference on Ray Data; broken off, it goes on with the answers that have no row yet. Chooses nothing by a score.
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
from pipelines.evaluation.any_checkpoint import EvaluationRequest, configured
from pipelines.evaluation.stage import held_out, protocols_used
from pipelines.exports.find import find_export, identity
from pipelines.leakage.of_export import check_export
from pipelines.runtime import manifest
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import run_once
from pipelines.scores.metrics import Scoreboard
from skeleton_io import storage


@dataclass(frozen=True)
class Setting:
    """What both evaluations start from."""

    asked: EvaluationRequest
    cfg: FullConfig
    export: str
    model: str
    store: ClipStore
    clips: tuple[str, ...]

    @property
    def judge(self) -> Scoreboard:
        """Intervals only; there are no classes."""
        return Scoreboard({}, self.cfg.evaluate.bootstrap, self.cfg.seed)

    def head(self) -> dict[str, Any]:
        """What a reader needs to know about where the numbers come from."""
        return {
            "model": self.model,
            "checkpoint": self.asked.checkpoint,
            "shards": {"uri": self.asked.shards, "digest": self.store.digest},
            "protocols": protocols_used(self.cfg, self.store),
        }

    def finish(self, name: str, file: str, key: str, work: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """Runs `work` in OUT/NAME unless it is done for this key, and writes OUT/FILE."""
        folder = storage.join(self.asked.out, name)
        found = run_once(name, folder, key, lambda: self.head() | work(storage.join(folder, f"rows-{key}")))
        now = {"written": datetime.now(UTC).isoformat(timespec="seconds"), "provenance": manifest.provenance()}
        storage.write_atomic(storage.join(self.asked.out, file), json.dumps({**found, **now}, indent=1))
        return {**found, **now}


def setting(asked: EvaluationRequest) -> Setting:
    """Model, shards and test clips; Ray must be connected.

    Raises:
        UserError: no model, shards, set or test clips there, or the model has seen what the test asks.
    """
    import ray

    export = find_export(asked.checkpoint)
    store = ClipStore(asked.shards)
    cfg = configured(asked, export, store, 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0)
    check_export(cfg, export, store)
    clips = tuple(question.key for question in held_out(cfg, store, select(cfg, store)))
    if not clips:
        raise UserError("nothing to evaluate: no set has test clips under its protocol")
    return Setting(asked, cfg, export, identity(export), store, clips)
