"""What is evaluated anew and what is not, and what is missing. Neither Ray nor a model."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest

from pipelines.config.loading import decode
from pipelines.config.tree import FullConfig
from pipelines.data.selection import Selection
from pipelines.evaluation import stage as evaluation
from pipelines.evaluation.stage import find_trained_model
from pipelines.inference import scorer
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from pipelines.scores.rows import (
    ROWS,
    ClipToScore,
    to_clip_score,
    write_part,
)
from skeleton_io.protocols.protocol import Protocol


def rows(*keys, prediction="bow"):
    one = {"set": "a", "label": "bow", "prediction": prediction, "log_prob": [-1.0, -2.0], "tokens": [1, 2]}
    return pa.Table.from_pylist([{"key": k, **one, "prior": [0.0, 0.0], "generated": None} for k in keys], ROWS)


def test_finished_rows_are_not_scored_again(tmp_path):
    questions = [ClipToScore("a/2", "a", "bow"), ClipToScore("a/1", "a", "bow")]
    write_part(str(tmp_path), rows("a/1", "a/2", "a/9"))
    # Ray is not connected here: a single missing row would start it.
    found = scorer.score("no model", "no shards", questions, {"a": ("bow", "wave")}, str(tmp_path), FullConfig())
    assert [clip.key for clip in found] == ["a/1", "a/2"]


def test_a_protocol_that_tests_alike_and_trains_otherwise_is_evaluated_anew(tmp_path, monkeypatch):
    sides = {"train": ("1",), "test": ("2",)}
    rules = {name: Protocol(name=name, field="subject", **sides) for name in ("whole", "clean")}
    store = SimpleNamespace(sets=("a",), digest="d", labels=lambda: {"a/2": "bow"})
    chosen = Selection({"a": ("a/1",)}, {"a": ()}, {"a": ("a/2",)}, {"a": ("bow", "wave")}, {"a": ()})
    (score,) = (to_clip_score(row) for row in rows("a/2").to_pylist())
    made = []
    monkeypatch.setattr(evaluation, "ClipStore", lambda _: store)
    monkeypatch.setattr(evaluation, "select", lambda *_: chosen)
    monkeypatch.setattr(evaluation, "protocol_of", lambda cfg, *_: rules[cfg.data.protocols["a"]])
    monkeypatch.setattr(evaluation, "score", lambda *_, **__: [score])
    monkeypatch.setattr(evaluation, "compare_methods", lambda cfg, *_: made.append(cfg.data.protocols["a"]) or [])
    for name in ("whole", "clean", "clean"):
        cfg = decode({"data": {"protocols": {"a": name}}}, "test")
        summary = evaluation.Evaluation(cfg, "model", "key", "shards", str(tmp_path)).run()
        assert summary["protocols"]["a"]["name"] == name
    assert made == ["whole", "clean"]


def test_no_model_is_said_plainly(tmp_path):
    stage = {"name": "1", "tasks": {"mqa": 1}, "trains": ["renderer"], "learning_rate": {"renderer": 1e-3}}
    cfg = decode({"train": {"stages": [stage]}}, "test")
    with pytest.raises(UserError, match="skel train"):
        find_trained_model(cfg, RunPaths(str(tmp_path)))
    with pytest.raises(UserError, match="stages is empty"):
        find_trained_model(FullConfig(), RunPaths(str(tmp_path)))
