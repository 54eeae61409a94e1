"""Training through faults: killed, hanging and terminated workers, a loss that is no number, a run asked to end.

`benchmarks/soak.py` is the long version. Each run must end at the losses of the undisturbed one, with the same clips.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.soak_faults import Fault, planted
from pipelines.config import loading
from pipelines.config.faults import FaultsConfig, MetricsConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.ingest.stage import ingest
from pipelines.runtime import stop
from pipelines.runtime.errors import StageFailed, UserError
from pipelines.runtime.exits import guarded
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.stop import EXIT_STOPPED, Stopped
from pipelines.trainer.context import LocalContext
from pipelines.trainer.telemetry.metrics_log import read_rows
from pipelines.training import loop as train_loop
from pipelines.training import stage as training
from pipelines.training import tiny_mllm
from pipelines.training.loop import StageLoop
from skeleton_io.demo.dataset import DemoConfig, write_demo

pytestmark = pytest.mark.usefixtures("ray_session")

DEMO = DemoConfig(subjects=5, test_subjects=1, repetitions=1, actions=("walk", "wave", "squat"), broken=False)
RATES = {"renderer": 3e-3, "projector": 1e-3, "llm": 1e-3}
STAGE = {"name": "1", "tasks": {"mqa": 1, "yesno": 1}, "trains": [*RATES], "learning_rate": RATES, "epochs": 4}
PLAIN = {
    "renderer": {"frames": 2, "image_size": 32, "samples_per_bone": 2},
    "mllm": {"tiny": {"vision_width": 32, "vision_layers": 1, "llm_width": 32, "llm_layers": 1, "heads": 2}},
    "train": {
        "global_batch": 4,
        "micro_batch": 2,
        "checkpoint_every": 2,
        "validate_clips": 2,
        "max_failures": 8,
        "faults": {"stop_poll_s": 0.1},
        "stages": [STAGE],
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[FullConfig, RunPaths]:
    """Configuration, and a run with shards and tiny LLM."""
    folder = tmp_path_factory.mktemp("faults")
    write_demo(folder / "demo", DEMO)
    paths = RunPaths(str(folder / "run"))
    ingest({"demo_ntu:ntu": str(folder / "demo" / "demo_ntu")}, paths.shards, "ipc", 64)
    cfg = loading.decode(PLAIN, "test")
    texts = tiny_mllm.corpus(select(cfg, ClipStore(paths.shards)), {})
    tiny_mllm.write(paths.mllm, cfg.mllm.family, cfg.mllm, texts, cfg.renderer.image_size, 0)
    return dataclasses.replace(cfg, mllm=dataclasses.replace(cfg.mllm, path=paths.mllm)), paths


@pytest.fixture(scope="module")
def undisturbed(made: tuple[FullConfig, RunPaths], tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    """(step, clips, loss) of the plain process."""
    cfg, paths = made
    out = str(tmp_path_factory.mktemp("plain"))
    training.train_stage(cfg, paths, cfg.train.stages[0], None, out, runner=training.run_local)
    return history(out)


def history(out: object) -> list[tuple]:
    return [(row["step"], row["clips_checksum"], row["loss"]) for row in read_rows(str(out))]


def same(out: object, reference: list[tuple]) -> bool:
    """The same steps with the same clips, and losses that differ by the order of float32 sums at most."""
    found = history(out)
    assert [row[:2] for row in found] == [row[:2] for row in reference]
    return [row[2] for row in found] == pytest.approx([row[2] for row in reference], rel=2e-4)


def go(made: tuple[FullConfig, RunPaths], out: Path, *faults: Fault, **settings_of_faults: float) -> dict:
    cfg, paths = made
    settings = dataclasses.replace(cfg.train.faults, **settings_of_faults)
    cfg = dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, faults=settings))
    with planted(*faults):
        return training.train_stage(cfg, paths, cfg.train.stages[0], None, str(out))


@pytest.mark.slow
def test_killed_terminated_and_hanging_ranks(made, undisturbed, tmp_path: Path) -> None:
    """In one run, since each start of the workers takes ten seconds: SIGKILL of both ranks, SIGTERM to one, a hang."""
    kinds = (("kill", 0, 3), ("kill", 1, 5), ("term", 1, 6), ("hang", 1, 9))
    faults = [Fault(kind, rank, step, str(tmp_path / f"{kind}{rank}")) for kind, rank, step in kinds]
    summary = go(made, tmp_path / "out", *faults, watchdog_s=20)
    assert all(Path(fault.marker).exists() for fault in faults)
    assert summary["steps"] == len(undisturbed) > 10
    assert same(tmp_path / "out", undisturbed)
    assert [row["workers"] for row in read_rows(str(tmp_path / "out"))] == [2] * len(undisturbed)
    stacks = [file.read_text() for file in (tmp_path / "out/faults").glob("hang-rank1-*.txt")]
    assert any("in strike" in text for text in stacks)


@pytest.mark.slow
def test_no_number_ends_with_its_clips(made, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"not a number at step 4 of .*demo_ntu/") as told:
        go(made, tmp_path / "out", Fault("nan", 1, 3, str(tmp_path / "marker")))
    (file,) = (tmp_path / "out").glob("nan-step-*.json")
    found = json.loads(file.read_text())
    assert str(file) in str(told.value)
    assert [clip["finite"] for clip in found["clips"]] == [True, True, False, False]  # rank 1 holds the second half
    assert found["clips"][2]["key"] in str(told.value)


DRIVER = """
import pickle, sys
from benchmarks.soak_faults import Fault, planted
from pipelines.training.stage import train_stage
from pipelines.cluster.connect import connected
cfg, paths, out = pickle.load(open(sys.argv[1], "rb"))
with connected(), planted(Fault("slow", 0, -1, "")):
    train_stage(cfg, paths, cfg.train.stages[0], None, out)
"""


@pytest.mark.slow
def test_driver_is_killed_then_asked_to_end_and_given_again(made, undisturbed, tmp_path: Path, repo_root: Path) -> None:
    """SIGKILL of a driver whose cluster stays; SIGTERM to the next one, which ends with its own code; to the end."""
    import ray

    out = tmp_path / "out"
    (tmp_path / "job").write_bytes(pickle.dumps((*made, str(out))))
    env = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    with subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path / "job")], cwd=repo_root, env=env) as driver:
        while len(history(out)) < 2 and driver.poll() is None:
            time.sleep(0.05)
        driver.kill()
    killed = len(history(out))
    assert 0 < killed < len(undisturbed)

    def terminate() -> None:
        while len(history(out)) < killed + 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=terminate)
    thread.start()
    code = guarded(lambda: go(made, out, Fault("slow", 0, -1, "")))
    thread.join()
    assert code == EXIT_STOPPED
    done = len(history(out))
    assert killed < done < len(undisturbed)
    assert list(out.glob(f"checkpoints/*/step-{done:09d}-*"))
    go(made, out)
    assert same(out, undisturbed)


def test_local_run_is_asked_to_end_by_a_file(made, undisturbed, tmp_path: Path) -> None:
    cfg, paths = made
    out = str(tmp_path / "out")

    def request() -> None:
        while not list((tmp_path / "out").glob("checkpoints/*/step-*")):
            time.sleep(0.01)
        stop.request(out)

    thread = threading.Thread(target=request)
    thread.start()
    with pytest.raises(Stopped, match="goes on from there"):
        training.train_stage(cfg, paths, cfg.train.stages[0], None, out, runner=training.run_local)
    thread.join()
    training.train_stage(cfg, paths, cfg.train.stages[0], None, out, runner=training.run_local)
    assert history(out) == undisturbed


def test_a_slow_export_is_no_hang_and_lost_metrics_are_no_end(made, tmp_path: Path, monkeypatch) -> None:
    cfg, paths = made
    settings = dataclasses.replace(cfg.train, export_best=True, faults=FaultsConfig(watchdog_s=600))
    cfg, out = dataclasses.replace(cfg, train=settings), tmp_path / "out"
    job = training.make_job(cfg, paths, cfg.train.stages[0], None, str(out), ())
    job = dataclasses.replace(job, deepspeed=False, checkpoints=str(out / "checkpoints"))
    loop = StageLoop(job, LocalContext())
    loop.run()
    watched: list[object] = []
    monkeypatch.setattr(train_loop, "write_export", lambda *_: watched.append(loop.monitor.watchdog.file))
    assert loop.finish()["steps"] == loop.steps
    assert watched == [None]
    (out / "metrics.jsonl").unlink()  # a storage that took the last checkpoint and not the metrics
    again = StageLoop(job, LocalContext())
    assert again.done == loop.steps
    assert again.finish()["steps"] == 0


def test_missing_tracker_is_told_before_workers_start(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    cfg, paths = made
    cfg = dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, metrics=MetricsConfig(mlflow="x")))
    with pytest.raises(UserError, match=r"skeleton-ray\[mlflow\]"):
        training.train_stage(cfg, paths, cfg.train.stages[0], None, str(tmp_path / "out"))
