"""Files, folders and shard sets -> clips and errors, for a caller who names nothing but a place."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from skeleton_io import SkeletonFormatError, SkeletonSequence, formats, open_shards, read, read_all
from skeleton_io.reading import NoFormatFits
from skeleton_io.shards.schema import to_row
from skeleton_io.shards.shard_set import ShardSet, shard_uri, write_index, write_shard
from skeleton_io.sources.registry import SOURCES

ASSETS = Path(__file__).resolve().parents[2] / "assets"
TURN = ASSETS / "bvh" / "turn.bvh"


@pytest.mark.parametrize("name", ["ntu", "bvh", "coco17", "utd_mhad", "c3d", "amass", "asf_amc", "openpose"])
def test_read_all_recognises_the_assets_and_takes_their_name(name: str) -> None:
    clips = list(read_all(ASSETS / name))
    assert clips
    assert {clip.source.reader for clip in clips if isinstance(clip, SkeletonSequence)} == {name}
    named = list(read_all(str(ASSETS / name), format=name.upper()))
    assert [clip.key for clip in named] == [clip.key for clip in clips]


def test_read_gives_the_one_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TURN.parent)
    assert read("turn.bvh").key == read(TURN.parent).key == read(TURN, "BVH").key == "bvh/turn"
    shutil.copy(TURN, tmp_path / "WALK.BVH")
    assert read(tmp_path / "WALK.BVH").id == "WALK"


def test_a_definition_names_a_layout(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(9, 20, 3))
    np.save(tmp_path / "wave.npy", points)
    text = "files: (?P<id>.+)\\.npy\nlayout: T, J, C\ntopology: utd20\nunits: m\nfps: 25\n"
    (tmp_path / "mine.yaml").write_text(text)
    seq = read(tmp_path / "wave.npy", format=str(tmp_path / "mine.yaml"))
    assert (seq.key, seq.fps) == ("mine/wave", 25)
    np.testing.assert_allclose(seq.positions[:, 0], points, atol=1e-6)


def test_a_folder_of_several_formats_gives_all_of_them_and_errors_as_values(tmp_path: Path) -> None:
    shutil.copy(TURN, tmp_path / "a.bvh")
    shutil.copy(ASSETS / "ntu" / "S001C002P003R001A023.skeleton", tmp_path)
    (tmp_path / "cut.bvh").write_bytes(TURN.read_bytes()[:200])
    (tmp_path / "notes.md").write_text("nothing to see")
    entries = list(read_all(tmp_path))
    clips = [entry.key for entry in entries if isinstance(entry, SkeletonSequence)]
    assert sorted(clips) == ["bvh/a", "ntu/S001C002P003R001A023"]
    assert [entry.path for entry in entries if isinstance(entry, SkeletonFormatError)] == ["cut.bvh"]
    with pytest.raises(SkeletonFormatError, match=r"expected one clip .*, found 2 clips and 1 that cannot be read"):
        read(tmp_path)
    with pytest.raises(SkeletonFormatError, match=r"cut\.bvh: ") as caught:
        read(tmp_path / "cut.bvh")
    assert not isinstance(caught.value, NoFormatFits)


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing to see")
    with pytest.raises(FileNotFoundError, match="no such file, folder or shard set"):
        read(tmp_path / "absent.bvh")
    with pytest.raises(NoFormatFits, match=r"notes.md: .*formats\(\) lists, found no known format"):
        read(tmp_path / "notes.md")
    with pytest.raises(NoFormatFits, match="found no file of a known format"):
        read(tmp_path)
    with pytest.raises(NoFormatFits, match="found no file of the format c3d in this folder"):
        list(read_all(tmp_path, format="c3d"))
    with pytest.raises(ValueError, match="did you mean bvh"):
        read(TURN, format="bhv")
    with pytest.raises(SkeletonFormatError, match="index"):
        open_shards(tmp_path)


def test_a_shard_set_is_a_mapping(tmp_path: Path) -> None:
    clips = [read(TURN), read(ASSETS / "ntu" / "S001C002P003R001A023.skeleton")]
    infos = [write_shard(shard_uri(str(tmp_path), clip.dataset, 0), [to_row(clip)]) for clip in clips]
    sets = {clip.dataset: () for clip in clips}
    write_index(str(tmp_path), infos, [clip.topology for clip in clips], sets, [], dict.fromkeys(sets, 1))
    shards = open_shards(tmp_path)
    assert isinstance(shards, ShardSet)
    assert list(shards) == ["bvh/turn", "ntu/S001C002P003R001A023"] == list(shards.keys)
    assert len(shards) == 2
    assert "bvh/turn" in shards
    assert "bvh/absent" not in shards
    with pytest.raises(KeyError):
        shards["bvh/absent"]
    again = pickle.loads(pickle.dumps(shards))["bvh/turn"]
    np.testing.assert_array_equal(again.positions, clips[0].positions)
    assert [clip.key for clip in read_all(tmp_path)] == list(shards)


def test_the_list_of_formats_is_the_table() -> None:
    known = {entry.name: entry for entry in formats()}
    assert list(known) == list(SOURCES)
    assert known["bvh"].suffixes == (".bvh",)
    assert known["asf_amc"].suffixes == (".amc", ".asf")
    assert all(entry.title and entry.suffixes for entry in known.values() if entry.name != "texts")
