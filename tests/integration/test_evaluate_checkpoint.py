"""`skel evaluate --model`: worker counts, SIGKILL and resume, reasoning, GZSL, rivals, models that saw a test."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.config import MLLMConfig, RendererConfig, TinyMLLMConfig
from pipelines.config.loading import decode
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.evaluation import any_checkpoint, compare
from pipelines.evaluation.any_checkpoint import EvaluationRequest
from pipelines.evaluation.compare import read_evaluation
from pipelines.exports.store import build_model, write_export
from pipelines.ingest.stage import ingest
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from pipelines.scores.rows import read_rows
from pipelines.training import tiny_mllm
from skeleton_io.demo.dataset import DemoConfig, write_demo

pytestmark = pytest.mark.usefixtures("ray_session")

ROOT = Path(__file__).resolve().parents[2]
DEMO = DemoConfig(
    subjects=6, test_subjects=3, repetitions=4, test_repetitions=4, actions=("walk", "wave", "squat"), broken=False
)
TIMES = ("written", "seconds")
UNSEEN = "name: hide-wave\nwithin: cross_subject\nunseen: [wave, squat]\n"


@pytest.fixture(scope="module")
def run_paths(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """Shards of one generated set, `model/` that saw all its classes, and `hidden/` under a zero-shot rule."""
    folder = tmp_path_factory.mktemp("run")
    write_demo(folder / "demo", DEMO)
    paths = RunPaths(str(folder / "run"))
    ingest({"demo_ntu:ntu": str(folder / "demo" / "demo_ntu")}, paths.shards, "ipc", 16)
    settings = {"batch": 2, "actors": 1, "bootstrap": 50, "max_new_tokens": 4, "max_reason_tokens": 6}
    base = decode({"name": "t", "evaluate": settings}, "test")
    tiny = TinyMLLMConfig(vision_width=32, vision_layers=1, llm_width=32, llm_layers=1, heads=2, vocab=300)
    drawn = RendererConfig(frames=2, image_size=32, samples_per_bone=2)
    cfg = dataclasses.replace(base, renderer=drawn, mllm=MLLMConfig(tiny=tiny))
    rule = Path(paths.at("hide.yaml"))
    rule.write_text(UNSEEN)
    tiny_mllm.run(cfg, paths)
    hidden = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, protocols={"demo_ntu": str(rule)}))
    for name, its in (("model", cfg), ("hidden", hidden)):
        export(its, paths, name)
    other = dataclasses.replace(cfg, seed=5)
    export(other, paths, "other")
    return paths


def export(cfg: FullConfig, paths: RunPaths, name: str) -> None:
    labels = select(cfg, ClipStore(paths.shards)).labels
    write_export(build_model(cfg, paths.mllm), cfg, labels, paths.at(name))


def asked(
    paths: RunPaths, out: Path, *overrides: str, model: str = "model", protocols: tuple[str, ...] = ()
) -> EvaluationRequest:
    return EvaluationRequest(paths.at(model), paths.shards, protocols, (), str(out), overrides)


def without_times(folder: Path) -> dict[str, object]:
    report = json.loads((folder / "report.json").read_text())
    assert set(TIMES) <= set(report)
    return {name: value for name, value in report.items() if name not in TIMES}


@pytest.mark.slow
def test_one_and_two_workers_and_a_killed_run_report_the_same(run_paths: RunPaths, tmp_path: Path) -> None:
    import ray

    any_checkpoint.run(asked(run_paths, tmp_path / "one", "--evaluate.actors", "1"))
    any_checkpoint.run(asked(run_paths, tmp_path / "two", "--evaluate.actors", "2"))
    whole = without_times(tmp_path / "one")
    assert without_times(tmp_path / "two") == whole
    summary = whole["evaluate"]
    assert summary["accuracy"]["n"] == 36
    rows = read_rows(str(tmp_path / "one" / summary["rows"]))
    assert sorted(rows.to_pylist(), key=lambda r: r["key"]) == sorted(
        read_rows(str(tmp_path / "two" / summary["rows"])).to_pylist(), key=lambda r: r["key"]
    )

    out = tmp_path / "killed"
    command = [sys.executable, "-m", "pipelines.cli", "evaluate", "--model", run_paths.at("model"), "--shards",
               run_paths.shards, "--out", str(out)]  # fmt: skip
    env = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not list(out.glob("rows-*/*.parquet")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert process.stderr is not None
        assert process.returncode == -signal.SIGKILL, process.stderr.read().decode()[-2000:]
    kept = {part: part.stat().st_mtime_ns for part in out.glob("rows-*/*.parquet")}
    done = read_rows(str(out / summary["rows"])).num_rows
    assert 0 < done < 36
    assert not (out / "report.json").exists()
    any_checkpoint.run(asked(run_paths, out, "--evaluate.actors", "2"))
    assert without_times(out) == whole
    assert {part: part.stat().st_mtime_ns for part in kept} == kept


def test_reasoning_scores_the_candidates_after_the_models_own_words(run_paths: RunPaths, tmp_path: Path) -> None:
    found = any_checkpoint.run(asked(run_paths, tmp_path, "--evaluate.answer", "reason", "--evaluate.max-clips", "4"))[
        "evaluate"
    ]
    assert found["answer"] == "reason"
    assert found["accuracy"]["n"] == 4
    rows = read_rows(str(tmp_path / found["rows"])).to_pylist()
    assert all(row["generated"] is not None for row in rows)
    assert all(max(row["log_prob"]) < 0 for row in rows)
    # " walk" and the end of turn: the words before are not counted.
    assert all(max(row["tokens"]) < 12 for row in rows)


def test_unseen_classes_alone_and_with_the_seen_ones(run_paths: RunPaths, tmp_path: Path) -> None:
    rule = run_paths.at("hide.yaml")
    overrides = ("--evaluate.gzsl", "--evaluate.no-generate")
    found = any_checkpoint.run(asked(run_paths, tmp_path / "z", *overrides, model="hidden"))["evaluate"]
    assert found["protocols"]["demo_ntu"]["name"] == "hide-wave"
    assert found["sets"]["demo_ntu"]["labels"] == ["squat", "wave"]
    assert found["accuracy"]["chance"] == 0.5
    both = found["gzsl"]["demo_ntu"]
    assert both["candidates"] == 3
    assert (both["seen"]["n"], both["unseen"]["n"], both["harmonic"]["n"]) == (12, 24, 36)
    assert [row["kind"] for row in found["table"]] == ["model"]  # nothing to train a baseline on
    with pytest.raises(UserError, match="was trained on 'squat'"):
        any_checkpoint.run(asked(run_paths, tmp_path / "leak", protocols=(rule,)))


@pytest.mark.slow
def test_rivals_and_baselines_stand_in_one_table(run_paths: RunPaths, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    wanted = ("--evaluate.beside", "other", run_paths.at("other"), "--evaluate.floors", "demo_ntu", "0.5")
    found = any_checkpoint.run(asked(run_paths, tmp_path / "ours", *wanted))["evaluate"]
    table = {row["name"]: row for row in found["table"]}
    assert set(table) == {"model", "other", "nearest neighbours", "linear", "floor"}
    assert table["linear"]["value"] > 0.8
    gap = table["linear"]["difference"]
    assert gap["value"] == pytest.approx(table["model"]["value"] - table["linear"]["value"], abs=2e-4)
    assert gap["ci95"][1] < 0
    alone = any_checkpoint.run(asked(run_paths, tmp_path / "theirs", model="other"))["evaluate"]
    assert alone["accuracy"]["value"] == table["other"]["value"]
    pair = compare.compare(
        read_evaluation(str(tmp_path / "ours")), read_evaluation(str(tmp_path / "theirs")), "normalised", 0, 50
    )
    assert pair["all"]["difference"] == table["other"]["difference"]["value"]


def test_a_model_that_trained_on_the_test_clips_is_refused(run_paths: RunPaths, tmp_path: Path) -> None:
    rule = tmp_path / "turned.yaml"
    cross = ClipStore(run_paths.shards).protocols["demo_ntu"][0]
    rule.write_text(json.dumps({"name": "turned", "field": cross.field, "train": cross.test, "test": cross.train}))
    with pytest.raises(UserError, match=r"training clips of demo_ntu: clip .* is among the test clips"):
        any_checkpoint.run(asked(run_paths, tmp_path / "out", protocols=(f"demo_ntu={rule}",)))
    with pytest.raises(UserError, match="no set 'ntu'"):
        any_checkpoint.run(asked(run_paths, tmp_path / "out", protocols=("ntu=cross-subject",)))
