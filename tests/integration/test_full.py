"""The whole pipeline as a user starts it: the launcher of `make full`, Ctrl-C half-way, on from there without it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

MICRO = """
name: micro
data:
  demo: true
  validation_share: 0.2
  inputs: {"demo_ntu:ntu": "{out}/demo-data/demo_ntu", "demo_coco17:coco17": "{out}/demo-data/demo_coco17"}
demo: {subjects: 3, test_subjects: 1, repetitions: 1}
renderer: {frames: 2, image_size: 64, samples_per_bone: 3}
rationales: {frames: 2, image_size: 64}
mllm: {tiny: {vision_width: 32, vision_layers: 1, llm_width: 32, llm_layers: 1, heads: 2}}
train:
  global_batch: 8
  micro_batch: 4
  validate_clips: 4
  stages:
    - {name: 1-warm-up, tasks: {mqa: 1}, trains: [renderer, vision, projector, llm], learning_rate: &r
        {renderer: 3e-3, vision: 1e-3, projector: 1e-3, llm: 1e-3}}
    - {name: 2-disc-ft, tasks: {yesno: 1}, trains: [renderer, vision, projector, llm], learning_rate: *r, epochs: 0.5}
    - {name: 3-cr-distill, tasks: {rationale: 1}, trains: [renderer, projector, lora], epochs: 0.5,
       learning_rate: {renderer: 3e-3, projector: 1e-3, lora: 1e-3}}
    - {name: 4-refine, tasks: {mqa: 1}, trains: [vision, projector, llm], learning_rate: *r, epochs: 0.5}
tune:
  trials: 1
  epochs: 1
  max_clips: 8
  validation_clips: 4
  space: {renderer.bone_radius: {log_uniform: [0.01, 0.04]}}
evaluate: {bootstrap: 200, transfer: [{train: demo_ntu, test: demo_coco17, epochs: 1}]}
"""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    (folder / "micro.yaml").write_text(MICRO)
    return folder


def environment() -> dict[str, str]:
    """The caller's, less everything that would join a cluster of theirs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def command(module: list[str], folder: Path) -> list[str]:
    return [sys.executable, *module, "--config", str(folder / "micro.yaml"), "--out", str(folder / "run")]


def test_ctrl_c_ends_the_head_and_keeps_what_is_done(run_folder: Path, repo_root: Path) -> None:
    process = subprocess.Popen(
        command(["-m", "pipelines.cluster.launch"], run_folder),
        cwd=repo_root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    lines, children = [], []
    for line in process.stdout:
        lines.append(line)
        if "[ingest] done" in line:
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, "".join(lines[-30:])
    assert children, "".join(lines[-30:])
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_goes_on_without_a_head_and_reports(run_folder: Path, repo_root: Path) -> None:
    done = subprocess.run(
        command(["pipelines/full.py"], run_folder), cwd=repo_root, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "[ingest] already done" in done.stdout
    report = json.loads((run_folder / "run/report.json").read_text())
    ingest, accuracy = report["ingest"], report["evaluate"]["accuracy"]
    assert ingest["clips_in"] == ingest["clips_out"] + ingest["quarantined"]
    assert ingest["quarantined"] == 8
    assert accuracy["n"] == 26
    assert 0 < accuracy["chance"] < 0.1
    assert accuracy["ci95"][0] <= accuracy["value"] <= accuracy["ci95"][1]
    page = (run_folder / "run/report.html").read_text()
    assert "micro" in page
    assert not any(mark in page for mark in ('src="http', 'href="http', "url(http"))
    moved = {s["name"]: s["renderer_change"] for s in report["train"]["stages"]}
    assert all(moved[name] > 0 for name in ("1-warm-up", "2-disc-ft", "3-cr-distill"))
    assert moved["4-refine"] == 0


def test_finished_run_does_nothing(run_folder: Path, repo_root: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (run_folder / "run/train").rglob("*") if p.is_file()}
    done = subprocess.run(
        command(["pipelines/full.py"], run_folder), cwd=repo_root, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for stage in ("demo-data", "ingest", "rationales", "tiny-mllm", "tune", "evaluate"):
        assert f"[{stage}] already done" in done.stdout
    assert "[transfer demo_ntu -> demo_coco17] already done" in done.stdout
    assert before == {p: p.stat().st_mtime_ns for p in (run_folder / "run/train").rglob("*") if p.is_file()}
