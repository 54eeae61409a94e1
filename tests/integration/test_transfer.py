"""Cross-format transfer on the demo: all pairs of three formats in one matrix, each source trained once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from models.config import MLLMConfig, RendererConfig, TinyMLLMConfig
from pipelines.config.evaluation import TransferConfig
from pipelines.config.loading import decode
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.ingest.stage import ingest
from pipelines.report import gather
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from pipelines.studies import transfer
from pipelines.training import stage as training
from pipelines.training import tiny_mllm
from skeleton_io.demo.dataset import DemoConfig, write_demo

pytestmark = pytest.mark.usefixtures("ray_session")

DEMO = DemoConfig(subjects=3, test_subjects=1, repetitions=1, actions=("walk", "wave", "squat"), broken=False)
STAGE = {
    "name": "only",
    "tasks": {"mqa": 1},
    "trains": ["renderer", "llm"],
    "learning_rate": {"renderer": 1e-3, "llm": 1e-3},
}


@pytest.fixture(scope="module")
def cfg() -> FullConfig:
    scoring = {"batch": 4, "actors": 1, "max_clips": 4, "bootstrap": 50, "generate": False, "transfer_all": True,
               "transfer_epochs": 0.5}  # fmt: skip
    settings = {"stages": [STAGE], "workers": 1, "global_batch": 2, "micro_batch": 2, "validate_clips": 2}
    base = decode({"name": "t", "evaluate": scoring, "train": settings}, "test")
    tiny = TinyMLLMConfig(vision_width=32, vision_layers=1, llm_width=32, llm_layers=1, heads=2, vocab=300)
    drawn = RendererConfig(frames=2, image_size=32, samples_per_bone=2)
    return dataclasses.replace(base, renderer=drawn, mllm=MLLMConfig(tiny=tiny))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, cfg: FullConfig) -> RunPaths:
    folder = tmp_path_factory.mktemp("run")
    write_demo(folder / "demo", DEMO)
    paths = RunPaths(str(folder / "run"))
    names = ("ntu", "bvh", "coco17")
    ingest({f"demo_{n}:{n}": str(folder / "demo" / f"demo_{n}") for n in names}, paths.shards, "ipc", 16)
    tiny_mllm.run(cfg, paths)
    return paths


@pytest.mark.slow
def test_all_pairs_in_one_matrix(cfg: FullConfig, paths: RunPaths, capfd: pytest.CaptureFixture) -> None:
    found = transfer.run(cfg, paths, training.run_local)["matrix"]
    sets = ["demo_bvh", "demo_coco17", "demo_ntu"]
    assert found["train"] == found["test"] == sets
    assert {(c["train"], c["test"]) for c in found["cells"]} == {(a, b) for a in sets for b in sets if a != b}
    for cell in found["cells"]:
        assert (cell["labels"], cell["n"]) == (3, 4)
        assert cell["chance"] == pytest.approx(1 / 3, abs=1e-4)
        assert cell["ci95"][0] <= cell["value"] <= cell["ci95"][1]
    # The same motions in three formats: the nearest clip tells most of them, 2D or 3D.
    assert sum(cell["nearest"]["value"] for cell in found["cells"]) / 6 > 0.6
    assert json.loads(Path(paths.transfer, "matrix.json").read_text()) == found
    told = capfd.readouterr().out
    assert [told.count(f"[transfer: train on {name}] starts") for name in sets] == [1, 1, 1]
    assert "trained on" in told
    pair = json.loads(Path(paths.transfer, "transfer.json").read_text())[0]
    assert pair["synonyms"]["hash"]
    assert len(gather.transfer_pairs(cfg, paths)) == 6
    # Again: nothing is trained or scored anew.
    transfer.run(cfg, paths, training.run_local)
    assert "starts" not in capfd.readouterr().out


def test_several_sets_train_together(cfg: FullConfig, paths: RunPaths) -> None:
    pair = TransferConfig(train="demo_ntu+demo_bvh", test="demo_coco17", epochs=0.5)
    asked = dataclasses.replace(cfg, evaluate=dataclasses.replace(cfg.evaluate, transfer=(pair,), transfer_all=False))
    (found,) = transfer.run(asked, paths, training.run_local)["pairs"]
    assert (found["train"], found["test"]) == ("demo_ntu+demo_bvh", "demo_coco17")
    labels = json.loads(Path(paths.transfer, "models", "demo_bvh+demo_ntu-0.5", "export", "labels.json").read_text())
    assert set(labels) >= {"demo_ntu", "demo_bvh"}
    assert gather.transfer_pairs(asked, paths) == [("demo_ntu+demo_bvh", "demo_coco17")]


def test_pairs_that_cannot_be_are_refused(cfg: FullConfig, paths: RunPaths, tmp_path: Path) -> None:
    store = ClipStore(paths.shards)
    with pytest.raises(UserError, match="no set 'ntu'"):
        transfer.shared_labels(cfg, store, TransferConfig(train="ntu", test="demo_bvh"))
    with pytest.raises(UserError, match="both trains and tests"):
        transfer.shared_labels(cfg, store, TransferConfig(train="demo_bvh+demo_ntu", test="demo_bvh"))
    wrong = dataclasses.replace(cfg, evaluate=dataclasses.replace(cfg.evaluate, synonyms=str(tmp_path / "none.yaml")))
    with pytest.raises(UserError, match=r"evaluate\.synonyms: .*no such file"):
        transfer.shared_labels(wrong, store, TransferConfig(train="demo_ntu", test="demo_bvh"))
