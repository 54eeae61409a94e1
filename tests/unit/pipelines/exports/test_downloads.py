"""One copy of a remote folder on a machine: fetched once, kept while it is read, fetched anew where it has changed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pipelines.exports import downloads
from pipelines.exports.downloads import shared_download
from skeleton_io import storage


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(tmp_path / "cache"))
    uri = f"memory://{tmp_path.name}/export"
    storage.write_atomic(storage.join(uri, "mllm/model.safetensors"), b"weights")
    return uri


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    fetch = storage.download

    def slow(uri: str, folder: str | Path) -> Path:
        found.append(uri)
        time.sleep(0.05)
        return fetch(uri, folder)

    monkeypatch.setattr(downloads.storage, "download", slow)
    return found


def copies(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache/folders").iterdir() if path.is_dir()]


def ranks_reading(remote: str) -> list[bytes]:
    """What eight ranks read, of which none goes on before all have the files, as ranks do that load in parts."""
    together, read = threading.Barrier(8), []

    def rank() -> None:
        with shared_download(remote) as folder:
            together.wait(30)
            read.append((folder / "mllm/model.safetensors").read_bytes())

    ranks = [threading.Thread(target=rank) for _ in range(8)]
    for thread in ranks:
        thread.start()
    for thread in ranks:
        thread.join()
    return read


def test_all_ranks_of_a_machine_share_one_download(remote: str, fetched: list[str], tmp_path: Path) -> None:
    assert ranks_reading(remote) == [b"weights"] * 8
    assert len(fetched) == 1
    assert copies(tmp_path) == []


@pytest.mark.usefixtures("fetched")
def test_ranks_that_wait_for_each_other_never_wait_for_the_lock(remote: str) -> None:
    # Whoever comes while others already read: with one lock for both, some try of these hung.
    for _ in range(20):
        assert ranks_reading(remote) == [b"weights"] * 8


def test_one_that_leaves_takes_nothing_from_the_others(remote: str, fetched: list[str], tmp_path: Path) -> None:
    with shared_download(remote) as first:
        with shared_download(remote) as second:
            assert second == first
        assert (first / "mllm/model.safetensors").exists()
    assert copies(tmp_path) == []
    with shared_download(remote):
        assert len(fetched) == 2


def test_half_a_download_and_an_old_one_are_not_taken(remote: str, tmp_path: Path) -> None:
    with shared_download(remote) as folder:
        pass
    folder.mkdir()
    (folder / "config.yaml").write_text("of a process that was killed")
    with shared_download(remote) as again:
        assert again == folder
        assert storage.list_files(str(folder)) == ["mllm/model.safetensors"]
        storage.write_atomic(storage.join(remote, "mllm/model.safetensors"), b"changed")
        with shared_download(remote) as other:
            assert (other / "mllm/model.safetensors").read_bytes() == b"changed"
    assert copies(tmp_path) == []


def test_a_failed_download_lets_the_next_one_try(remote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = storage.download
    monkeypatch.setattr(downloads.storage, "download", lambda *_: (_ for _ in ()).throw(OSError("SlowDown")))
    with pytest.raises(OSError, match="SlowDown"), shared_download(remote):
        pass
    monkeypatch.setattr(downloads.storage, "download", fetch)
    with shared_download(remote) as folder:
        assert (folder / "mllm/model.safetensors").read_bytes() == b"weights"
