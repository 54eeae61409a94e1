"""The folder that the commands of the pages run in: everything they name lies there, small and made here."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines import cli, full
from pipelines.config import loading
from pipelines.runtime.paths import RunPaths
from pipelines.training import stage as training
from skeleton_io.shards.shard_set import ShardSet

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "tests" / "assets"

# In place of the presets that the pages name. One stage, called as the paper's last one: `train/4-refine/export`.
PRESET = """
name: docs
data:
  demo: true
  validation_share: 0.2
  inputs: {"demo_ntu:ntu": "{out}/demo-data/demo_ntu", "demo_coco17:coco17": "{out}/demo-data/demo_coco17"}
demo: {subjects: 3, test_subjects: 1, repetitions: 1, actions: [wave, kick, push], broken: false}
renderer: {frames: 2, image_size: 32, samples_per_bone: 2}
mllm: {tiny: {vision_width: 32, vision_layers: 1, llm_width: 32, llm_layers: 1, heads: 2, vocab: 300}}
train:
  workers: 2
  global_batch: 4
  micro_batch: 2
  validate_clips: 2
  stages:
    - {name: 4-refine, tasks: {mqa: 1}, trains: [renderer, vision, projector, llm], steps: 2,
       learning_rate: {renderer: 1e-3, vision: 1e-3, projector: 1e-3, llm: 1e-3}}
tune:
  trials: 1
  epochs: 1
  max_clips: 4
  validation_clips: 2
  space: {renderer.bone_radius: {log_uniform: [0.01, 0.04]}}
evaluate: {actors: 1, bootstrap: 50, max_new_tokens: 4,
           transfer: [{train: demo_ntu, test: demo_coco17, epochs: 0.5}], transfer_epochs: 0.5}
"""
SKEL = '#!/bin/sh\nexec "{python}" -m pipelines.cli "$@"\n'
JQ = """#!{python}
import json, sys
for line in sys.stdin:
    print(json.loads(line)[sys.argv[1].removeprefix(".")])
"""


def make_run(folder: Path) -> RunPaths:
    """`runs/demo` as `skel full` leaves it, but for the teacher; its stage is trained in this process."""
    paths = RunPaths(str(folder / "runs" / "demo"))
    cfg = full.fill_inputs(loading.load_config(str(folder / "tune_configs" / "full_demo.yaml")), "", paths.root)
    for stage in ("demo-data", "ingest", "tiny-mllm"):
        full.run_one(stage, cfg, paths)
    training.train_local(cfg, paths)
    return paths


def put_clips(folder: Path, paths: RunPaths) -> None:
    """Native files under the names of the pages, and a layout that no reader knows.

    Copies: a link would be called by the name of its target, and two links to one file by the same name.
    """
    kinect = sorted(Path(paths.root, "demo-data", "demo_ntu").glob("S001C001P00?R001A903*"))[0]
    turn = ASSETS / "bvh" / "turn.bvh"
    for name in ("clips", "other_clips"):
        (folder / name).mkdir()
        shutil.copy(kinect, folder / name)
        shutil.copy(turn, folder / name)
    for name in ("walk.bvh", "kick.bvh", "my_clip.bvh"):
        shutil.copy(turn, folder / name)
    shutil.copy(kinect, folder / "clip.skeleton")
    shutil.copy(ASSETS / "c3d" / "step.c3d", folder / "fall.c3d")
    shutil.copy(ASSETS / "mediapipe" / "wave.json", folder / "clip.json")
    # A walking body of 15 joints in columns: nothing but the shape says what it is.
    rest = np.random.default_rng(0).normal(size=(1, 15, 3)) * 0.4 + [0, 1, 3]
    steps = rest + np.cumsum(np.full((30, 1, 3), 0.01), 0)
    (folder / "recordings" / "walk").mkdir(parents=True)
    for name in ("a", "b"):
        np.save(folder / "recordings" / "walk" / f"{name}.npy", steps)


def put_tools(folder: Path) -> None:
    """`skel` by both names that the pages use, and as much of jq as they need, which not every machine has."""
    scripts = {".venv/bin/skel": SKEL, "bin/skel": SKEL, "bin/jq": JQ}
    for name, text in scripts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.format(python=sys.executable))
        (folder / name).chmod(0o755)


@pytest.fixture(scope="session")
def finished_run(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as the pages assume, around a finished tiny run. Made once; each block works in links to it."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "tune_configs", folder / "tune_configs")
    for name in ("full_demo.yaml", "full_real.yaml"):
        (folder / "tune_configs" / name).write_text(PRESET)
    paths = make_run(folder)
    put_clips(folder, paths)
    put_tools(folder)
    export = Path(paths.train) / "4-refine" / "export"
    links = {"A": paths.root, "S": paths.shards, "humanml3d/shards": paths.shards, "runs/real": paths.root}
    links |= {"X": folder / "tune_configs" / "full_demo.yaml", "RUN/shards": paths.shards, "RUN/mllm": paths.mllm}
    links |= {"draction_candidate_01.safetensors": export / "renderer.safetensors"}
    for name, target in links.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(target)
    question = {"clip": ShardSet.open(paths.shards).keys[0], "question": "Who moves?", "answer": "a person"}
    (folder / "my_questions.json").write_text(json.dumps([question]))
    return folder


@pytest.fixture
def workplace(finished_run: Path, tmp_path: Path) -> Path:
    """A folder for the commands of one block: links to all of the above, and shards of its own to write to."""
    for entry in finished_run.iterdir():
        if entry.is_file() and not entry.is_symlink():
            shutil.copy(entry, tmp_path)
        else:
            (tmp_path / entry.name).symlink_to(entry)
    shutil.copytree(finished_run / "S", tmp_path / "shards")
    (tmp_path / "RUN").unlink()
    shutil.copytree(finished_run / "RUN", tmp_path / "RUN", symlinks=True)
    for name in ("D1", "D2"):
        (tmp_path / name).symlink_to("D")
    return tmp_path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout with its `.venv`: what `make` leaves behind must not lie in the user's own."""
    skipped = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, tmp_path / "checkout", ignore=skipped)
    (tmp_path / "checkout" / ".venv").symlink_to((ROOT / ".venv").resolve())
    return tmp_path / "checkout"


def in_shell(commands: list[str], folder: Path, **variables: str) -> None:
    """Runs commands as a reader would, the folder's own `skel` first on the path."""
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


Runner = Callable[[list[str]], None]


@pytest.fixture
def run_in_shell(workplace: Path, ray_address: str) -> Runner:
    """Runs a block's commands in the workplace by bash, on the session's Ray."""
    return lambda commands: in_shell(commands, workplace, RAY_ADDRESS=ray_address)


@pytest.fixture
def run_here(workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Runner:
    """Runs a block's `skel` commands by the same `main` in this process: the start of Python and torch is saved."""
    monkeypatch.chdir(workplace)

    def run(commands: list[str]) -> None:
        for command in commands:
            _, *words = shlex.split(command)
            assert cli.main(words) == 0, f"{command}\n{capfd.readouterr()}"

    return run


@pytest.fixture
def run_in_checkout(checkout: Path) -> Runner:
    """Runs a block's commands in a copy of the checkout, without the session's Ray."""
    return lambda commands: in_shell(commands, checkout)


@pytest.fixture
def ray_address(ray_session: None) -> str:
    """HOST:PORT of the session's Ray."""
    import ray

    return ray.get_runtime_context().gcs_address
