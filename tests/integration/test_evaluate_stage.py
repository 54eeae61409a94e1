"""Batch inference with a tiny untrained model: resume, equality with a single process, transfer wording, the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import prompts
from models.config import MLLMConfig, RendererConfig, TinyMLLMConfig
from pipelines.config.loading import decode
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.evaluation import stage as evaluation
from pipelines.exports.store import build_model, write_export
from pipelines.inference.scorer import Scorer
from pipelines.ingest.stage import ingest
from pipelines.report import stage as report
from pipelines.report.worst_clips import choose_worst
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.scores.rows import ClipToScore, read_rows
from pipelines.training import tiny_mllm
from pipelines.training.keys import stage_key
from skeleton_io.demo.dataset import DemoConfig, write_demo

pytestmark = pytest.mark.usefixtures("ray_session")

DEMO = DemoConfig(subjects=5, test_subjects=2, repetitions=2, actions=("walk", "wave", "squat"), broken=False)
STAGE = {"name": "only", "tasks": {"mqa": 1}, "trains": ["renderer"], "learning_rate": {"renderer": 1e-3}}


@pytest.fixture(scope="module")
def cfg() -> FullConfig:
    settings = {"batch": 2, "actors": 2, "max_clips": 9, "bootstrap": 100, "max_new_tokens": 4}
    base = decode({"name": "t", "evaluate": settings, "train": {"stages": [STAGE]}}, "test")
    tiny = TinyMLLMConfig(vision_width=32, vision_layers=1, llm_width=32, llm_layers=1, heads=2, vocab=300)
    drawn = RendererConfig(frames=2, image_size=32, samples_per_bone=2)
    return replace(base, renderer=drawn, mllm=MLLMConfig(tiny=tiny))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, cfg: FullConfig) -> RunPaths:
    """A run whose only training stage is finished, without having trained."""
    folder = tmp_path_factory.mktemp("run")
    write_demo(folder / "demo", DEMO)
    paths = RunPaths(str(folder / "run"))
    ingest({f"demo_{n}:{n}": str(folder / "demo" / f"demo_{n}") for n in ("ntu", "coco17")}, paths.shards, "ipc", 16)
    tiny_mllm.run(cfg, paths)
    out, labels = f"{paths.train}/only", select(cfg, ClipStore(paths.shards)).labels

    def work() -> dict[str, object]:
        write_export(build_model(cfg, paths.mllm), cfg, labels, f"{out}/export")
        return {"steps": 0}

    key = stage_key(cfg, paths, cfg.train.stages[0], None, ())
    run_once("train only", out, key, work)
    return paths


def parts(paths: RunPaths) -> list[Path]:
    return sorted(Path(paths.evaluate).glob("rows-*/*.parquet"))


def test_scores_every_test_clip_and_resumes(cfg: FullConfig, paths: RunPaths, capfd: pytest.CaptureFixture) -> None:
    first = evaluation.run(cfg, paths)
    store = ClipStore(paths.shards)
    assert first["accuracy"]["n"] == sum(min(9, len(keys)) for keys in select(cfg, store).test.values())
    assert set(first["sets"]) == {"demo_ntu", "demo_coco17"}
    assert first["protocols"]["demo_ntu"]["name"]
    assert json.loads(Path(paths.evaluate, "metrics.json").read_text())["accuracy"] == first["accuracy"]
    # A driver that died before the end: one part and the manifest are missing.
    written = parts(paths)
    assert len(written) > 1
    kept = {p: p.stat().st_mtime_ns for p in written[1:]}
    written[0].unlink()
    Path(paths.evaluate, "manifest.json").unlink()
    second = evaluation.run(cfg, paths)
    assert {k: v for k, v in second.items() if k != "seconds"} == {k: v for k, v in first.items() if k != "seconds"}
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    capfd.readouterr()
    assert evaluation.run(cfg, paths) == second
    assert "already done" in capfd.readouterr().out


def test_one_process_gives_the_same_scores(cfg: FullConfig, paths: RunPaths) -> None:
    evaluation.run(cfg, paths)
    rows = read_rows(str(parts(paths)[0].parent)).to_pylist()[:3]
    scorer = Scorer(f"{paths.train}/only/export", paths.shards, select(cfg, ClipStore(paths.shards)).labels, cfg)
    again = scorer.table([ClipToScore(row["key"], row["set"], row["label"]) for row in rows]).to_pylist()
    for row, other in zip(rows, again, strict=True):
        assert np.allclose(row["log_prob"], other["log_prob"], atol=1e-4)
        assert np.allclose(row["prior"], other["prior"], atol=1e-4)
        assert row["tokens"] == other["tokens"]


def test_scores_are_those_of_the_loss(cfg: FullConfig, paths: RunPaths) -> None:
    """The summed log-probability of a candidate is the language-modelling loss of that answer, by another path."""
    import torch

    from pipelines.data.renderer_input import clip_input

    labels = select(cfg, ClipStore(paths.shards)).labels
    scorer = Scorer(f"{paths.train}/only/export", paths.shards, labels, cfg)
    key = select(cfg, scorer.store).test["demo_ntu"][0]
    row = scorer.table([ClipToScore(key, "demo_ntu", "x")]).to_pylist()[0]
    names = labels["demo_ntu"]
    clip = clip_input(scorer.store.clip(key), cfg.renderer, None, None)
    text = scorer.model.mllm.tokenize([prompts.mqa_prompt(names)], [names[1]], 2, 32)
    with torch.no_grad():
        out = scorer.model([clip], text)
    assert float(out.token_loss.sum()) == pytest.approx(-row["log_prob"][1], abs=1e-3)
    assert int(out.token_counts[0]) == row["tokens"][1]


def test_transfer_uses_the_training_sets_wording_and_all_clips(
    cfg: FullConfig, paths: RunPaths, tmp_path: Path
) -> None:
    everything = replace(cfg, evaluate=replace(cfg.evaluate, max_clips=0, generate=False))
    shared = {"walk": "stroll", "wave": "wave"}
    found = evaluation.score_transfer(
        everything, paths, f"{paths.train}/only/export", "key", "demo_coco17", shared, str(tmp_path / "scores")
    )
    labels = ClipStore(paths.shards).labels()
    expected = sum(k.startswith("demo_coco17/") and label in shared for k, label in labels.items())
    assert found["labels"] == ["stroll", "wave"]
    assert found["accuracy"]["n"] == expected
    assert found["accuracy"]["chance"] == 0.5
    assert found["outside_candidates"] == 0
    assert found["generated"] is None


def test_report_draws_clips_with_the_model(cfg: FullConfig, paths: RunPaths) -> None:
    evaluation.run(cfg, paths)
    data = report.run(cfg, paths)
    html = Path(paths.root, "report.html").read_text()
    assert data["stages"]["evaluate"]["status"] == "done"
    # Two sets, two clips each, and the clips of confusions, drawn twice; two frames make two strips.
    confused = choose_worst(paths.evaluate, data["evaluate"])
    assert 0 < len(confused) <= 6
    assert html.count("</b> taken for <b>") == len(confused)
    assert html.count("data:image/webp;base64,") == (2 * 2 + len(confused)) * 2 * 2
    assert html.count("training clip<") == 2
