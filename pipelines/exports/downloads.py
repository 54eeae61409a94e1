"""A remote folder -> one copy on this machine for all of its processes, there as long as any of them reads it.

Eight ranks of a node would else fetch, and keep on its disk, eight copies of a model. Processes find each other by a
lock file, which the system lets go where one is killed. Knows no models.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.runtime.digest import digest
from skeleton_io import storage

WHOLE = ".whole"
"""File in a copy that says that nothing of it is missing."""


def _state(uri: str) -> str:
    """Hash of what lies at a URI as far as a listing tells: names, sizes, versions."""
    fs, path = storage.filesystem(uri)
    fs.invalidate_cache()
    marks = ("size", "ETag", "etag", "LastModified", "mtime", "created")
    files = fs.find(path, detail=True)
    return digest("download", uri, [(name, [str(files[name].get(mark)) for mark in marks]) for name in sorted(files)])


@contextmanager
def shared_download(uri: str) -> Iterator[Path]:
    """A folder with all files below a remote URI, shared with whoever reads the same at the same time.

    Raises:
        OSError: the storage or the disk refused.
    """
    folder = storage.cache_folder() / "folders" / _state(uri)
    folder.parent.mkdir(parents=True, exist_ok=True)
    gate, readers = folder.with_suffix(".lock"), folder.with_suffix(".readers")
    # Two locks: with one, whoever waits to look would wait for readers to leave, and those may wait for each other.
    with readers.open("a") as reading:
        with _exclusive(gate):
            fcntl.flock(reading, fcntl.LOCK_SH)
            if not (folder / WHOLE).exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
                storage.download(uri, folder)
                (folder / WHOLE).touch()
        try:
            yield folder
        finally:
            with _exclusive(gate):
                _remove_unread(folder, reading.fileno())


@contextmanager
def _exclusive(gate: Path) -> Iterator[None]:
    """Nobody else of this machine comes or goes meanwhile."""
    with gate.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_unread(folder: Path, reading: int) -> None:
    """Removes the copy where nobody else reads it."""
    try:
        fcntl.flock(reading, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    # The mark first: where this process is killed here, nobody takes half of it.
    (folder / WHOLE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
