"""storage: the same calls on a folder and on an in-memory object store."""

from __future__ import annotations

import tracemalloc

import pytest

from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path) -> str:
    return str(tmp_path / "run") if request.param == "local" else f"memory://bucket-{tmp_path.name}"


def test_join_keeps_schemes_and_absolute_paths():
    assert storage.join("s3://bucket/run/", "a", "/b/") == "s3://bucket/run/a/b"
    assert storage.join("/abs/run", "a") == "/abs/run/a"
    assert storage.join("memory://", "a") == "memory://a"
    assert storage.join("rel", "") == "rel"


def test_write_read_list_remove(root: str):
    storage.write_atomic(storage.join(root, "b/x.txt"), "häh")
    storage.write_atomic(storage.join(root, "a.bin"), b"\x00\x01")
    assert storage.exists(storage.join(root, "b/x.txt"))
    assert not storage.exists(storage.join(root, "c"))
    assert storage.read_text(storage.join(root, "b/x.txt")) == "häh"
    assert storage.list_files(root) == ["a.bin", "b/x.txt"]
    assert storage.list_files(root, ".txt") == ["b/x.txt"]
    assert storage.read_many([storage.join(root, f) for f in ("b/x.txt", "a.bin")]) == ["häh".encode(), b"\x00\x01"]
    storage.remove(root)
    assert storage.list_files(root) == []


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "x"
    storage.write_atomic(str(target), "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        storage.write_atomic(str(target), "new")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert target.read_text() == "old"


def test_files_larger_than_the_memory_travel(tmp_path):
    (tmp_path / "in").mkdir()
    with (tmp_path / "in/weights").open("wb") as file:
        file.truncate(1 << 27)
    tracemalloc.start()
    storage.upload(tmp_path / "in", str(tmp_path / "there"))
    storage.download(str(tmp_path / "there"), tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "out/weights").stat().st_size == 1 << 27
    assert peak < 1 << 26


def test_folders_travel_and_copies_are_checked(root: str, tmp_path):
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/f").write_bytes(b"abc")
    storage.upload(tmp_path / "in", root)
    assert (storage.download(root, tmp_path / "out") / "sub/f").read_bytes() == b"abc"
    copy = storage.local_copy(storage.join(root, "sub/f"), storage.sha256(b"abc"), tmp_path / "cache")
    assert copy.read_bytes() == b"abc"
    if root.startswith("memory"):
        with pytest.raises(SkeletonFormatError, match="sha256"):
            storage.local_copy(storage.join(root, "sub/f"), storage.sha256(b"other"), tmp_path / "cache")
