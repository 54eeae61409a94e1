"""Training under Ray Train + DeepSpeed against the plain loop: same losses, through a killed worker too."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from pathlib import Path

import psutil
import pytest
import s3fs
import torch
from safetensors.torch import load_file

from pipelines.config import loading
from pipelines.config.loading import load_config
from pipelines.config.tree import FullConfig
from pipelines.config.tune import Range
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.exports.store import load_model
from pipelines.ingest.stage import ingest
from pipelines.runtime.errors import StageFailed, UserError
from pipelines.runtime.paths import RunPaths
from pipelines.trainer.context import LocalContext
from pipelines.trainer.telemetry.metrics_log import read_rows
from pipelines.training import stage as training
from pipelines.training import tiny_mllm
from pipelines.training.loop import StageLoop
from pipelines.tuning import stage as tuning
from pipelines.tuning.space import current_values
from skeleton_io import storage
from skeleton_io.demo.dataset import DemoConfig, write_demo

pytestmark = pytest.mark.usefixtures("ray_session")

DEMO = DemoConfig(subjects=9, test_subjects=1, repetitions=1, actions=("walk", "wave", "squat"), broken=False)
RATES = {"renderer": 3e-3, "vision": 1e-3, "projector": 1e-3, "llm": 1e-3}
PLAIN = {
    "data": {"validation_share": 0.1},
    "renderer": {"frames": 2, "image_size": 64, "samples_per_bone": 3},
    "mllm": {"tiny": {"vision_width": 32, "vision_layers": 1, "llm_width": 32, "llm_layers": 1, "heads": 2}},
    "train": {
        "global_batch": 8,
        "micro_batch": 3,
        "validate_clips": 6,
        "augment": {"yaw_deg": 10, "scale": 0.1, "noise_m": 0.01, "crop": 0.1},
        "stages": [
            {"name": "1", "tasks": {"mqa": 1, "yesno": 1}, "trains": [*RATES], "learning_rate": RATES, "epochs": 2},
            {
                "name": "4",
                "tasks": {"mqa": 1},
                "trains": ["vision", "projector", "llm"],
                "learning_rate": RATES,
                "label_smoothing": 0.1,
            },
        ],
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[FullConfig, RunPaths, Path]:
    """Configuration, run with shards and tiny LLM, and an empty folder."""
    folder = tmp_path_factory.mktemp("train")
    write_demo(folder / "demo", DEMO)
    paths = RunPaths(str(folder / "run"))
    inputs = {f"demo_{name}:{name}": str(folder / "demo" / f"demo_{name}") for name in ("ntu", "coco17")}
    ingest(inputs, paths.shards, "ipc", 64)
    cfg = loading.decode(PLAIN, "test")
    texts = tiny_mllm.corpus(select(cfg, ClipStore(paths.shards)), {})
    tiny_mllm.write(paths.mllm, cfg.mllm.family, cfg.mllm, texts, cfg.renderer.image_size, 0)
    return dataclasses.replace(cfg, mllm=dataclasses.replace(cfg.mllm, path=paths.mllm)), paths, folder


@pytest.fixture(scope="module")
def undisturbed(trained: tuple[FullConfig, RunPaths, Path]) -> dict:
    """Stage 1 in one plain torch process: the reference."""
    cfg, paths, folder = trained
    return training.train_stage(cfg, paths, cfg.train.stages[0], None, str(folder / "plain"), runner=training.run_local)


def losses(folder: Path | str) -> list[float]:
    return [row["loss"] for row in read_rows(str(folder))]


def with_train(cfg: FullConfig, **changes: object) -> FullConfig:
    return dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, **changes))


@pytest.mark.parametrize(("zero_stage", "where"), [(1, "s3"), pytest.param(3, "disk", marks=pytest.mark.slow)])
def test_two_ranks_give_the_losses_of_one_process(trained, undisturbed: dict, zero_stage: int, where: str) -> None:
    cfg, paths, folder = trained
    cfg, out = with_train(cfg, zero_stage=zero_stage), str(folder / f"zero{zero_stage}")
    if where == "s3":
        s3fs.S3FileSystem().mkdir("skel-train")
        out = "s3://skel-train/stage"
    summary = training.train_stage(cfg, paths, cfg.train.stages[0], None, out)
    reference = losses(folder / "plain")
    assert len(reference) >= 10
    assert reference[-1] < 0.8 * reference[0]
    assert losses(out) == pytest.approx(reference, rel=2e-6)  # see test_exactness
    assert summary["renderer_change"] == pytest.approx(undisturbed["renderer_change"], rel=1e-2)
    assert summary["renderer_change"] > 0
    assert summary["workers"] == 2
    assert any(name.startswith("tensorboard/events") for name in storage.list_files(out))
    model, found, labels = load_model(summary["export"])
    assert found == cfg
    assert labels["demo_ntu"] == ("squat", "walk", "wave")
    reference_model, *_ = load_model(undisturbed["export"])
    for name, value in reference_model.state_dict().items():
        assert torch.allclose(model.state_dict()[name], value, atol=2e-3), name


def test_renderer_stays_as_it_is_where_it_is_frozen(trained, undisturbed: dict) -> None:
    cfg, paths, folder = trained
    out = str(folder / "frozen")
    summary = training.train_stage(
        cfg, paths, cfg.train.stages[1], undisturbed["export"], out, runner=training.run_local
    )
    assert summary["renderer_change"] == 0
    before, after = (load_file(f"{s['export']}/renderer.safetensors") for s in (undisturbed, summary))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_killed_worker_goes_on_from_its_checkpoint(trained, undisturbed: dict) -> None:
    cfg, paths, folder = trained
    cfg, out = with_train(cfg, checkpoint_every=3, max_failures=1), folder / "killed"
    killed: list[int] = []

    def kill_after_first_checkpoint() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            time.sleep(0.01)
            if not list(out.glob("checkpoints/*/step-*/part-00001*")):
                continue
            for process in psutil.Process().children(recursive=True):
                if "RayTrainWorker" in " ".join(process.cmdline()[:1]):
                    process.kill()
                    killed.append(process.pid)
                    return

    watcher = threading.Thread(target=kill_after_first_checkpoint)
    watcher.start()
    summary = training.train_stage(cfg, paths, cfg.train.stages[0], None, str(out))
    watcher.join()
    assert killed
    assert losses(out) == pytest.approx(losses(folder / "plain"), rel=2e-6)
    assert summary["steps"] == undisturbed["steps"]


def test_stopped_process_goes_on_exactly(trained, undisturbed: dict) -> None:
    cfg, paths, folder = trained
    job = training.make_job(cfg, paths, cfg.train.stages[0], None, str(folder / "stopped"), ())
    job = dataclasses.replace(job, deepspeed=False, checkpoints=str(folder / "stopped/checkpoints"))
    for until in (4, 7, None):
        loop = StageLoop(job, LocalContext())
        loop.run(until)
        loop.save({})
        loop.checkpoints.close()
        loop.log.close()
    assert losses(folder / "stopped") == losses(folder / "plain")
    assert len(list((folder / "stopped/checkpoints").iterdir())) == 2


def test_best_checkpoint_is_exported(trained) -> None:
    cfg, paths, folder = trained
    cfg = with_train(cfg, validate_every=3, keep_checkpoints=1, export_best=True)
    out = folder / "best"
    summary = training.train_stage(cfg, paths, cfg.train.stages[0], None, str(out), runner=training.run_local)
    scores = {row["step"]: row["validation_accuracy"] for row in read_rows(str(out)) if "validation_accuracy" in row}
    assert sorted(scores)[:3] == [3, 6, 9]
    assert max(scores) == summary["steps"]
    assert scores[summary["exported_step"]] == max(scores.values()) == summary["validation_accuracy"]
    kept = {int(path.name.split("-")[1]) for path in out.glob("checkpoints/*/step-*")}
    assert kept == {summary["exported_step"], summary["steps"]}
    model, *_ = load_model(summary["export"])
    (best,) = out.glob(f"checkpoints/*/step-{summary['exported_step']:09d}-*/state-*.safetensors")
    weights = {name.partition("@")[0]: value for name, value in load_file(best).items() if name.endswith("/weight")}
    name = next(name for name in weights if name.startswith("renderer."))
    assert torch.equal(dict(model.named_parameters())[name].flatten(), weights[name])


def test_loss_that_is_no_number_names_its_clips(trained) -> None:
    cfg, paths, folder = trained
    wild = dataclasses.replace(cfg.train.stages[0], learning_rate=dict.fromkeys(RATES, 1e30))
    cfg = with_train(cfg, warmup_share=0.0)
    with pytest.raises(StageFailed, match="not a number at step"):
        training.train_stage(cfg, paths, wild, None, str(folder / "wild"), runner=training.run_local)
    (file,) = (folder / "wild").glob("nan-step-*.json")
    found = json.loads(file.read_text())
    assert len(found["clips"]) == cfg.train.global_batch
    assert all(clip["key"] in ClipStore(paths.shards) for clip in found["clips"])


def test_too_small_a_cluster_is_told(trained) -> None:
    cfg, paths, folder = trained
    cfg = with_train(cfg, workers=8, cpus_per_worker=1.0)
    with pytest.raises(UserError, match=r"needs 8 CPUs and 0 GPUs, the cluster has 4"):
        training.train_stage(cfg, paths, cfg.train.stages[0], None, str(folder / "big"))


def test_search_writes_a_configuration_that_trains(trained) -> None:
    cfg, paths, _ = trained
    space = {
        "renderer.bone_radius": Range(log_uniform=(0.01, 0.04)),
        "renderer.feature_dim": Range(choice=(3, 5)),
    }
    settings = dataclasses.replace(
        cfg.tune, space=space, trials=2, concurrent=2, epochs=2, max_clips=16, validation_clips=4
    )
    cfg = dataclasses.replace(cfg, tune=settings)
    summary = tuning.run(cfg, paths)
    table = json.loads((Path(paths.tune) / "trials.json").read_text())
    assert [row["error"] for row in table] == [None, None]
    own = current_values(cfg)
    assert own == {"renderer.bone_radius": 0.02, "renderer.feature_dim": 3}
    assert own in [row["values"] for row in table]
    assert all(1 <= len(row["accuracy"]) <= 2 for row in table)
    assert all(row["stopped"] == (len(row["accuracy"]) < 2) for row in table)
    assert summary["best_accuracy"] == max(a for row in table for a in row["accuracy"])
    best = load_config(summary["best_config"])
    assert best == loading.with_values(cfg, summary["best"], "test")
    assert tuning.run(cfg, paths) == summary
