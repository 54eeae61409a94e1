"""Native files -> shards with Ray: same bytes for any number of workers, nothing lost, goes on after a kill."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.cluster.spread import spread
from pipelines.data.tools.summary import describe_shards
from pipelines.data.tools.summary_tables import show
from pipelines.ingest import stage
from pipelines.ingest.jobs import ChunkReport
from pipelines.ingest.stage import ingest
from pipelines.runtime.errors import StageFailed, UserError
from skeleton_io import storage
from skeleton_io.demo.dataset import DemoConfig, write_demo
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.shards.shard_set import ShardSet
from skeleton_io.sources.registry import SOURCES

pytestmark = pytest.mark.usefixtures("ray_session")

DEMO = DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("walk", "wave", "squat"))
PER_SHARD = 5
REAL = {  # set -> files, and those that nothing can be made of
    "msr_action3d": (567, 1),
    "utd_mhad": (861, 0),
    "nw_ucla": (1484, 0),
    "sbu": (282, 0),
    "bandai_namco_1": (174, 0),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, write_demo(folder, DEMO)


@pytest.fixture(scope="module")
def inputs(demo: tuple[Path, dict]) -> dict[str, str]:
    folder, written = demo
    return {f"{name}:{name.removeprefix('demo_')}": str(folder / name) for name in written["formats"]}


@pytest.fixture(scope="module")
def finished(inputs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written by one worker."""
    out = tmp_path_factory.mktemp("one-worker")
    ingest(inputs, str(out), "ipc", PER_SHARD, workers=1)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest, which holds times."""
    names = storage.list_files(str(folder))
    return {name: (folder / name).read_bytes() for name in names if name != "manifest.json"}


def test_four_workers_write_the_bytes_of_one(finished: Path, inputs: dict[str, str], tmp_path: Path) -> None:
    ingest(inputs, str(tmp_path), "ipc", PER_SHARD, workers=4)
    one, four = contents(finished), contents(tmp_path)
    assert sum(name.startswith("shards/") for name in one) > 4
    assert sorted(one) == sorted(four)
    assert [name for name in one if one[name] != four[name]] == []
    ShardSet.open(str(tmp_path)).verify()


def test_every_file_is_out_or_in_quarantine(finished: Path, demo: tuple[Path, dict]) -> None:
    found = describe_shards(str(finished))
    for name, written in demo[1]["formats"].items():
        counts = found["sets"][name]
        assert counts["clips_in"] == counts["clips_out"] + counts["quarantined"]
        assert counts["clips_out"] == written["clips"]
        bad = {item["path"]: item for item in found["quarantine"] if item["dataset"] == name}
        assert set(bad) == set(written["broken"])
        assert all(item["reason"] and item["place"] and len(item["sha256"]) == 64 for item in bad.values())
        assert found["protocols"][name][0]["name"] == "cross_subject"
        assert (found["protocols"][name][0]["train"], found["protocols"][name][0]["test"]) == (
            written["train"],
            written["test"],
        )


def test_positions_are_the_readers(finished: Path, inputs: dict[str, str]) -> None:
    shards = ShardSet.open(str(finished))
    root = inputs["demo_ntu:ntu"]
    bad = {item.path for item in shards.quarantine()}
    items = [item for item in SOURCES["ntu"].list_items(root) if item.path not in bad]
    for item in items[:3]:
        for clip in SOURCES["ntu"].read(root, item, "demo_ntu"):
            stored = shards.clip(clip.key)
            assert stored.positions.tobytes() == clip.positions.tobytes()
            assert (stored.label, stored.subject, stored.fps) == (clip.label, clip.subject, clip.fps)


def test_the_same_inputs_again_do_nothing(
    finished: Path, inputs: dict[str, str], capsys: pytest.CaptureFixture
) -> None:
    before = {name: (finished / name).stat().st_mtime_ns for name in storage.list_files(str(finished))}
    summary = ingest(inputs, str(finished), "ipc", PER_SHARD)
    assert "nothing to do" in capsys.readouterr().out
    assert summary["sets"] == ShardSet.open(str(finished)).index["sets"]
    assert before == {name: (finished / name).stat().st_mtime_ns for name in storage.list_files(str(finished))}


def test_changed_inputs_leave_nothing_of_the_old_set(inputs: dict[str, str], tmp_path: Path) -> None:
    root = tmp_path / "in"
    shutil.copytree(inputs["demo_bvh:bvh"], root)
    ingest({"mine:bvh": str(root)}, str(tmp_path / "out"), "ipc", 2)
    ids = [name for name in storage.list_files(str(root), ".bvh") if name not in _broken(tmp_path / "out")]
    (root / ids[0]).unlink()
    ingest({"mine:bvh": str(root)}, str(tmp_path / "out"), "parquet", 3)
    shards = ShardSet.open(str(tmp_path / "out"))
    assert len(shards) == len(ids) - 1
    files = storage.list_files(str(tmp_path / "out" / "shards"))
    assert {name for name in files if "meta" not in name} == {info.file for info in shards.shards}
    assert all(info.file.endswith(".parquet") for info in shards.shards)
    assert np.isfinite(shards.clip(shards.keys[0]).positions).any()


def _broken(out: Path) -> set[str]:
    return {item.path for item in ShardSet.open(str(out)).quarantine()}


def test_goes_on_after_a_kill(
    finished: Path, inputs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off after pass 1, then after pass 2: what was finished is not done again, and no index stands before."""

    class Killed(Exception):
        pass

    def die(*_: object) -> None:
        raise Killed

    out = str(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "_write", die)
        with pytest.raises(Killed):
            ingest(inputs, out, "ipc", PER_SHARD)
    spool = {path: path.stat().st_mtime_ns for path in tmp_path.glob(".spool/*/*")}
    assert sum(path.suffix == ".arrow" for path in spool) >= 3
    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_index", die)
        with pytest.raises(Killed):
            ingest(inputs, out, "ipc", PER_SHARD)
    assert {path: path.stat().st_mtime_ns for path in spool} == spool
    with pytest.raises(SkeletonFormatError, match="ingest did not finish"):
        ShardSet.open(out)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shards/*")}
    (next(iter(sorted(written)))).unlink()  # one shard lost: it alone is written again
    ingest(inputs, out, "ipc", PER_SHARD)
    assert sum(path.stat().st_mtime_ns != then for path, then in written.items()) == 2  # the shard and its metadata
    assert contents(tmp_path) == contents(finished)
    assert not (tmp_path / ".spool").exists()


def test_an_id_twice_is_quarantined(inputs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [
        ChunkReport(
            number=n,
            dataset="mine",
            files=2,
            clips_in=2,
            clips=[["a", f"{n}.txt", "00"], [f"b{n}", f"{n}.txt", "00"]],
            quarantine=[],
            topologies=[],
        )
        for n in (1, 0)
    ]
    clips, left = stage._unique(reports)
    assert [(clip.id, clip.chunk) for clip in clips] == [("a", 0), ("b0", 0), ("b1", 1)]
    assert [(item.path, item.place) for item in left] == [("1.txt", "id")]
    assert "0.txt" in left[0].reason


def test_shards_on_object_storage(inputs: dict[str, str], s3_endpoint: str, finished: Path, tmp_path: Path) -> None:
    import boto3

    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket="ingest")
    storage.upload(inputs["demo_coco17:coco17"], "s3://ingest/native")
    summary = ingest({"demo_coco17:coco17": "s3://ingest/native"}, "s3://ingest/shards", "ipc", PER_SHARD)
    local = ShardSet.open(str(finished))
    remote = ShardSet.open("s3://ingest/shards", cache=str(tmp_path))
    assert summary["sets"]["demo_coco17"] == local.index["sets"]["demo_coco17"]
    assert remote.shards == tuple(info for info in local.shards if info.dataset == "demo_coco17")
    key = remote.keys[0]
    assert remote.clip(key).positions.tobytes() == local.clip(key).positions.tobytes()
    assert not [name for name in storage.filesystem("s3://ingest")[0].find("ingest/shards") if ".spool" in name]
    again = ingest({"demo_coco17:coco17": "s3://ingest/native"}, "s3://ingest/shards", "ipc", PER_SHARD)
    assert again == summary


def test_errors_say_what_to_do(inputs: dict[str, str], tmp_path: Path) -> None:
    folder = inputs["demo_ntu:ntu"]
    cases = [
        ({"demo_ntu": folder}, "write demo_ntu:FORMAT"),
        ({"x:moon": folder}, "no format 'moon'; there is .*bvh"),
        ({"x:ntu": str(tmp_path / "nothing")}, "no folder at"),
        ({"x:ntu": str(tmp_path)}, "none of the files below .* is of the format ntu"),
        ({"x:bvh": folder}, "they look like ntu"),
        ({"x:ntu": str(Path(folder) / "clips.json")}, "is a file; give the folder"),
        ({"x:ntu": folder, "x:bvh": inputs["demo_bvh:bvh"]}, "set x twice"),
        ({}, "nothing to ingest"),
    ]
    for given, message in cases:
        with pytest.raises(UserError, match=message):
            ingest(given, str(tmp_path / "out"), "ipc", PER_SHARD)
    with pytest.raises(UserError, match="clips_per_shard"):
        ingest(inputs, str(tmp_path / "out"), "ipc", 0)
    assert not (tmp_path / "out").exists()


def test_broken_side_files_are_told(inputs: dict[str, str], tmp_path: Path) -> None:
    root = tmp_path / "in"
    shutil.copytree(inputs["demo_bvh:bvh"], root)
    (root / "protocols.json").write_text('[{"name": "x", "field": "moon", "train": ["1"], "test": ["2"]}]')
    with pytest.raises(UserError, match=r"protocols.json.*moon"):
        ingest({"mine:bvh": str(root)}, str(tmp_path / "out"), "ipc", PER_SHARD)
    (root / "protocols.json").unlink()
    (root / "clips.json").write_text("{")
    with pytest.raises(UserError, match=r"clips.json.*JSON"):
        ingest({"mine:bvh": str(root)}, str(tmp_path / "out"), "ipc", PER_SHARD)


def test_inspect_prints_tables_and_json(finished: Path, capsys: pytest.CaptureFixture) -> None:
    show(str(finished), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["sets"]["demo_bvh"]["labels"] == {"squat": 2, "walk": 2, "wave": 2}
    assert found["sets"]["demo_ntu"]["topology"] == "ntu25"
    assert found["sets"]["demo_coco17"]["dimensions"] == 2
    show(str(finished), as_json=False)
    text = capsys.readouterr().out
    assert all(name in text for name in ("demo_ntu", "cross_subject", "quarantine: 12"))


@pytest.mark.slow
def test_five_real_sets(shared_data: Path, tmp_path: Path) -> None:
    summary = ingest({name: str(shared_data / "data" / name) for name in REAL}, str(tmp_path), "ipc", 256)
    for name, (files, bad) in REAL.items():
        expected = {"clips_in": files, "clips_out": files - bad, "quarantined": bad}
        assert summary["sets"][name] == expected, name
    print(f"{summary['files']} files in {summary['seconds']} s")


def _full_disk(job: dict) -> dict:
    raise OSError(28, "No space left on device")


def test_a_failing_storage_is_told_in_one_line() -> None:
    with pytest.raises(StageFailed, match="No space left on device; what is finished is kept, start again"):
        list(spread(_full_disk, [{"a": 1}]))


def test_two_runs_write_the_same_bytes(finished: Path, inputs: dict[str, str], tmp_path: Path) -> None:
    """Another process's order of files, other workers, the same set: twice, in both formats."""
    for kind in ("ipc", "parquet"):
        found = []
        for run, workers in (("a", 1), ("b", 4)):
            ingest(dict(reversed(inputs.items())), str(tmp_path / kind / run), kind, PER_SHARD, workers=workers)
            found.append(contents(tmp_path / kind / run))
        assert found[0] == found[1]
        assert kind == "parquet" or found[0] == contents(finished)
