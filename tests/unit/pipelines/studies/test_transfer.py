"""When a pair that was scored before is scored again. Nothing is trained and no clip is read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.config.loading import decode
from pipelines.runtime.paths import RunPaths
from pipelines.studies import transfer

STAGE = {"name": "1", "tasks": {"mqa": 1}, "trains": ["renderer"], "learning_rate": {"renderer": 1e-3}}


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs one pair under some settings of `evaluate`; returns how often a pair was scored so far."""
    counts: list[int] = []

    def score_pair(*_: object) -> dict[str, Any]:
        counts.append(1)
        accuracy = {"value": 0.5, "ci95": [0.4, 0.6], "chance": 0.5, "n": 8}
        return {"train": "a", "test": "b", "labels": ["x", "y"], "nearest": None, "accuracy": accuracy}

    monkeypatch.setattr(transfer, "ClipStore", lambda _: None)
    monkeypatch.setattr(transfer, "shared_labels", lambda *_: {"x": "x", "y": "y"})
    monkeypatch.setattr(transfer.leakage, "check_transfer", lambda *_: None)
    monkeypatch.setattr(transfer, "train_sources", lambda *_: ("model", "key"))
    monkeypatch.setattr(transfer, "protocol_of", lambda *_: SimpleNamespace(hash="protocol"))
    monkeypatch.setattr(transfer, "score_pair", score_pair)

    def run(**settings: Any) -> int:
        asked = {"transfer": [{"train": "a", "test": "b"}], **settings}
        transfer.run(decode({"train": {"stages": [STAGE]}, "evaluate": asked}, "test"), RunPaths(str(tmp_path)))
        return len(counts)

    return run


def test_a_pair_is_scored_again_where_its_answers_would_differ(scored: Any) -> None:
    assert [scored(), scored(), scored(actors=7)] == [1, 1, 1]
    assert scored(answer="reason") == 2
    assert scored(answer="reason", max_reason_tokens=7) == 3
    assert scored(answer="reason", max_reason_tokens=7) == 3
