"""The demo set on a disk and on storage of any other kind."""

from __future__ import annotations

from pathlib import Path

from pipelines.ingest.demo_data import write
from skeleton_io import storage
from skeleton_io.demo.dataset import DemoConfig

SMALL = DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("walk",))


def test_remote_files_equal_local_ones(tmp_path: Path) -> None:
    uri = f"memory://{tmp_path.name}/demo"
    assert write(uri, SMALL) == write(str(tmp_path), SMALL)
    files = storage.list_files(str(tmp_path))
    assert len(files) > 6
    assert storage.list_files(uri) == files
    for name in files:
        assert storage.read_bytes(storage.join(uri, name)) == (tmp_path / name).read_bytes()
