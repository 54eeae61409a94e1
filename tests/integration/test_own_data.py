"""Unknown files -> skel describe -> the draft as it stands -> skel ingest: every clip arrives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from pipelines.data.tools.describe import run
from pipelines.ingest.inputs import inputs_from
from pipelines.ingest.stage import ingest
from pipelines.runtime.errors import UserError
from skeleton_io.demo.dataset import DemoConfig, write_demo
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.shards.shard_set import ShardSet
from skeleton_io.sources.registry import SOURCES

pytestmark = pytest.mark.usefixtures("ray_session")
ASSETS = Path(__file__).resolve().parents[1] / "assets"


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> list[SkeletonSequence]:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("walk", "wave", "squat")))
    source, root = SOURCES["ntu"], str(folder / "demo_ntu")
    found = [clip for item in source.list_items(root) for clip in source.stream(root, item, "demo")]
    return [clip for clip in found if isinstance(clip, SkeletonSequence) and clip.persons == 1]


def csv_text(points: np.ndarray) -> str:
    names = ",".join(f"j{i}_{axis}" for i in range(points.shape[1]) for axis in "xyz")
    return "\n".join([names, *(",".join(f"{v:.6f}" for v in frame.reshape(-1)) for frame in points)])


WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    "npy": np.save,
    "csv": lambda path, points: path.write_text(csv_text(points)),
    "json": lambda path, points: path.write_text(json.dumps({"clip": {"frames": points.tolist()}})),
    "mat": lambda path, points: scipy.io.savemat(path, {"skeleton": points.transpose(1, 2, 0)}),
    "txt": lambda path, points: np.savetxt(path, points.reshape(len(points), -1), "%.6f"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_from_unknown_files_to_shards(tmp_path: Path, motions: list[SkeletonSequence], kind: str):
    data = tmp_path / "data"
    for clip in motions:
        (data / str(clip.label)).mkdir(parents=True, exist_ok=True)
        WRITERS[kind](data / str(clip.label) / f"{clip.id}.{kind}", clip.positions[:, 0].astype(np.float64))
    yaml, picture = tmp_path / "own.yaml", tmp_path / "own.png"
    run(str(data), str(yaml), str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    inputs = inputs_from([f"{yaml}={data}"])
    summary = ingest(inputs, str(tmp_path / "shards"), "ipc", 100, workers=1)
    count = len(motions)
    assert summary["sets"] == {"own": {"clips_in": count, "clips_out": count, "quarantined": 0}}
    shards = ShardSet(str(tmp_path / "shards"))
    for clip in motions:
        found = shards.clip(f"own/{clip.id}")
        assert (found.label, found.positions.shape) == (clip.label, clip.positions.shape)
        np.testing.assert_allclose(found.positions, clip.positions, atol=1e-5)
    # The same again does nothing; a changed definition is another set.
    assert ingest(inputs, str(tmp_path / "shards"), "ipc", 100, workers=1)["sets"] == summary["sets"]


def test_a_folder_without_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert inputs_from([str(ASSETS / "nw_ucla")]) == {"nw_ucla": str(ASSETS / "nw_ucla")}
    said = capsys.readouterr().out
    assert "detected nw_ucla (1 of 1 looked at, 1 in all: a08_s02_e01_v03.json)" in said
    assert inputs_from([str(ASSETS / "bvh")]) == {"bvh:bvh": str(ASSETS / "bvh")}
    (tmp_path / "notes.dat").write_text("nothing")
    with pytest.raises(UserError, match=r"holds 1 \.dat, of no format that is known; .*skel describe"):
        inputs_from([str(tmp_path)])
    with pytest.raises(UserError, match="no folder at"):
        inputs_from([str(tmp_path / "none")])


def test_a_folder_of_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("bvh", "sbu"):
        shutil.copytree(ASSETS / name, tmp_path / name)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.dat").write_text("nothing")
    assert inputs_from([str(tmp_path)]) == {"bvh:bvh": str(tmp_path / "bvh"), "sbu": str(tmp_path / "sbu")}
    assert "left out" in capsys.readouterr().out
