"""registry and files: names of sets, items, side files."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record import quality
from skeleton_io.sources import registry
from skeleton_io.sources.registry import SOURCES
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import side_info

ASSETS = Path(__file__).resolve().parents[3] / "assets"


def test_names_on_the_command_line():
    assert registry.resolve("ntu") == ("ntu", SOURCES["ntu"])
    assert registry.resolve("demo_ntu:ntu") == ("demo_ntu", SOURCES["ntu"])
    with pytest.raises(ValueError, match=r"there is msr_action3d, .*mine:FORMAT"):
        registry.resolve("mine")
    with pytest.raises(ValueError, match="no format 'nope'"):
        registry.resolve("mine:nope")
    with pytest.raises(ValueError, match="cannot name a set"):
        registry.resolve("a/b:ntu")


@pytest.mark.parametrize("name", ["ntu", "bvh", "coco17", "msr_action3d", "nw_ucla", "sbu"])
def test_formats_are_recognised(name: str):
    assert registry.detect_source(str(ASSETS / name)) is SOURCES[name]
    items = SOURCES[name].list_items(str(ASSETS / name))
    assert items == sorted(items, key=lambda item: item.id)
    assert all(SOURCES[name].read(str(ASSETS / name), item, "d")[0].id == item.id for item in items)


def test_nothing_is_recognised_in_an_empty_folder(tmp_path):
    assert registry.detect_source(str(tmp_path)) is None
    assert SOURCES["ntu"].list_items(str(tmp_path)) == []


def test_ids_are_stable_and_unique(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(ASSETS / "bvh/turn.bvh", tmp_path / folder / "same.bvh")
    shutil.copy(ASSETS / "bvh/turn.bvh", tmp_path / "other.bvh")
    assert [item.id for item in SOURCES["bvh"].list_items(str(tmp_path))] == ["one.same", "other", "two.same"]
    assert SOURCES["sbu"].list_items(str(ASSETS / "sbu"))[0].id == "s01s02_05_001"


def test_side_files_win_over_the_file_name(tmp_path):
    stem = "S001C002P003R001A023"
    shutil.copy(ASSETS / f"ntu/{stem}.skeleton", tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps({"A023": "Own_Wave", stem: {"subject": "P9", "view": "left"}}))
    (tmp_path / "clips.json").write_text(json.dumps({stem: {"view": "front", "captions": ["a", "b"], "setup": None}}))
    (item,) = SOURCES["ntu"].list_items(str(tmp_path))
    clip = SOURCES["ntu"].read(str(tmp_path), item, "d")[0]
    assert (clip.label, clip.subject, clip.view, clip.captions) == ("own wave", "P9", "front", ("a", "b"))
    assert clip.setup == "1"
    assert set(clip.quality) == set(quality.FLAG_ABOVE)
    # A changed side file is read again.
    (tmp_path / "clips.json").write_text(json.dumps({stem: {"label": "third name"}}))
    assert SOURCES["ntu"].read(str(tmp_path), item, "d")[0].label == "third name"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("clips.json", "{", "expected JSON"),
        ("clips.json", "[]", "expected a JSON dict"),
        ("clips.json", '{"a": {"lable": "x"}}', "lable"),
        ("clips.json", '{"a": {"fps": -1}}', "fps"),
        ("clips.json", '{"a": {"captions": "x"}}', "captions"),
        ("labels.json", '{"a": 3}', "an object"),
    ],
)
def test_broken_side_files_are_refused(tmp_path, name: str, content: str, message: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(SkeletonFormatError, match=message):
        side_info(str(tmp_path))
    with pytest.raises(SkeletonFormatError):
        SOURCES["ntu"].list_items(str(tmp_path))


def test_protocols_of_a_folder(tmp_path):
    source = SOURCES["bvh"]
    assert [p.name for p in registry.protocols_for(str(tmp_path), "mine", source)] == ["hashed"]
    assert registry.protocols_for(str(tmp_path), "mine", SOURCES["ntu"])[0].name == "cross-subject"
    assert registry.protocols_for(str(tmp_path), "nw_ucla", SOURCES["nw_ucla"])[0].name == "cross-view"
    rule = {"name": "by view", "field": "view", "train": ["front"], "test": ["left"]}
    (tmp_path / "protocols.json").write_text(json.dumps([rule]))
    assert [p.name for p in registry.protocols_for(str(tmp_path), "mine", source)] == ["by view"]
    (tmp_path / "protocols.json").write_text(json.dumps([{"name": "x"}]))
    with pytest.raises(SkeletonFormatError, match=r"entry 0.*missing keys"):
        registry.side_protocols(str(tmp_path))


def test_sets_are_read_from_an_object_store(tmp_path):
    from skeleton_io import storage

    uri = f"memory://{tmp_path.name}"
    storage.upload(ASSETS / "ntu", uri)
    (item,) = SOURCES["ntu"].list_items(uri)
    clip = SOURCES["ntu"].read(uri, item, "d")[0]
    assert clip.source.uri == "S001C002P003R001A023.skeleton"


def test_a_missing_file_is_a_format_error_and_errors_travel(tmp_path):
    with pytest.raises(SkeletonFormatError, match="readable") as caught:
        SOURCES["bvh"].read(str(tmp_path), Item(id="x", path="x.bvh"), "d")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_sources_travel_between_processes():
    for source in SOURCES.values():
        assert pickle.loads(pickle.dumps(source)) == source


def test_a_failing_store_is_not_a_broken_file(tmp_path, monkeypatch):
    def fails(uri: str) -> bytes:
        raise OSError(5, "We encountered an internal error")

    monkeypatch.setattr(storage, "read_bytes", fails)
    item = Item(id="x", path="x.skeleton")
    with pytest.raises(OSError, match="internal error"):
        list(SOURCES["ntu"].stream("memory://nowhere", item, "d"))
    (error,) = SOURCES["ntu"].stream(str(tmp_path), item, "d")
    assert "internal error" in str(error)
