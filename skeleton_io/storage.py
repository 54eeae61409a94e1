"""Paths and fsspec URIs -> bytes and text, with atomic writes. The one place where files and buckets are told apart.

A URI is a local path, `file://...`, `s3://...`, `memory://...` or anything else fsspec knows. Knows no record, no
schema and no shard layout.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from fsspec.core import url_to_fs

from skeleton_io.errors import SkeletonFormatError

CACHE_VARIABLE = "SKELETON_CACHE"
"""Environment variable with the folder for local copies of remote files."""


def join(root: str, *parts: str) -> str:
    """`root` and parts with one slash between each; works for paths and for URIs."""
    pieces = [part.strip("/") for part in parts if part.strip("/")]
    base = root if root.endswith("://") else root.rstrip("/") or "/"
    if not pieces:
        return base
    return base + "/".join(pieces) if base.endswith("/") else "/".join([base, *pieces])


def name(uri: str) -> str:
    """Last part of a path or URI."""
    return uri.rstrip("/").rsplit("/", 1)[-1]


def filesystem(uri: str) -> tuple[Any, str]:
    """fsspec file system and the path within it."""
    return url_to_fs(uri)


def is_local(uri: str) -> bool:
    """Whether the URI names this machine's file system."""
    return "://" not in uri or uri.startswith(("file://", "local://"))


def local_path(uri: str) -> Path:
    """Path of a local URI.

    Raises:
        ValueError: the URI is remote.
    """
    if not is_local(uri):
        raise ValueError(f"{uri} is not on this machine")
    return Path(uri.split("://", 1)[-1])


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    fs, path = filesystem(uri)
    # A listing cached before another process wrote would hide what is there now.
    fs.invalidate_cache()
    return bool(fs.exists(path))


def read_bytes(uri: str) -> bytes:
    """The whole file.

    Raises:
        FileNotFoundError: there is none.
    """
    fs, path = filesystem(uri)
    return bytes(fs.cat_file(path))


def read_head(uri: str, size: int) -> bytes:
    """The first `size` bytes of a file, or all of a shorter one.

    Raises:
        OSError: it cannot be read.
    """
    fs, path = filesystem(uri)
    with fs.open(path, "rb") as file:
        return file.read(size)


def read_text(uri: str) -> str:
    """The whole file as UTF-8.

    Raises:
        FileNotFoundError: there is none.
        UnicodeDecodeError: not UTF-8.
    """
    return read_bytes(uri).decode("utf-8")


def stamp(uri: str) -> int:
    """Modification time in ns of a local file, -1 where there is none, 0 for a remote one: a key for caches."""
    if not is_local(uri):
        return 0
    path = local_path(uri)
    return path.stat().st_mtime_ns if path.exists() else -1


def read_many(uris: Iterable[str]) -> list[bytes]:
    """Several files of one file system, fetched together where it can (object stores)."""
    uris = list(uris)
    if not uris:
        return []
    if is_local(uris[0]):
        return [read_bytes(uri) for uri in uris]
    fs, _ = filesystem(uris[0])
    paths = [filesystem(uri)[1] for uri in uris]
    contents = fs.cat(paths)
    return [contents] if isinstance(contents, bytes) else [contents[path] for path in paths]


def write_atomic(uri: str, data: str | bytes) -> None:
    """Writes a file that readers see either whole or not at all; parent folders are made.

    Local: written beside its place, flushed to disk and renamed. Object stores: one put, which is atomic there.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    if not is_local(uri):
        fs, path = filesystem(uri)
        fs.pipe_file(path, content)
        return
    with atomic_file(uri) as stream:
        stream.write(content)


@contextmanager
def atomic_file(uri: str) -> Iterator[BinaryIO]:
    """As `write_atomic`, for a file that is written piece by piece: it appears when the block ends without an error."""
    if not is_local(uri):
        with tempfile.NamedTemporaryFile() as stream:
            yield cast(BinaryIO, stream)
            stream.flush()
            fs, path = filesystem(uri)
            fs.put_file(stream.name, path)
        return
    target = local_path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: two writers of one file must not share it.
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            # A rename may reach the disk before the bytes do.
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def open_read(uri: str) -> Any:
    """A binary stream; the caller closes it."""
    fs, path = filesystem(uri)
    return fs.open(path, "rb")


def list_files(uri: str, suffix: str = "") -> list[str]:
    """All files below a folder as sorted paths relative to it, with forward slashes; hidden files are left out."""
    if is_local(uri):
        root = local_path(uri)
        paths = []
        for folder, folders, files in os.walk(root):
            folders[:] = [f for f in folders if not f.startswith(".")]
            prefix = Path(folder).relative_to(root).as_posix()
            paths += [file if prefix == "." else f"{prefix}/{file}" for file in files]
    else:
        fs, path = filesystem(uri)
        fs.invalidate_cache()
        base = path.rstrip("/") + "/"
        paths = [file[len(base) :] for file in fs.find(path) if file.startswith(base)]
    return sorted(f for f in paths if f.endswith(suffix) and not f.rsplit("/", 1)[-1].startswith("."))


def remove(uri: str) -> None:
    """Deletes a file or a folder with all it holds; nothing happens where there is none."""
    fs, path = filesystem(uri)
    if fs.exists(path):
        fs.rm(path, recursive=True)


def copy(source: str, target: str) -> None:
    """One file from anywhere to anywhere, whole or not at all, piece by piece: it may be larger than the memory."""
    if is_local(source) and not is_local(target):
        fs, path = filesystem(target)
        fs.put_file(str(local_path(source)), path)
        return
    with open_read(source) as read, atomic_file(target) as write:
        shutil.copyfileobj(read, write, 1 << 24)


def upload(folder: str | Path, uri: str) -> None:
    """Copies a local folder to a URI, file by file, each atomically."""
    for relative in list_files(str(folder)):
        copy(str(Path(folder) / relative), join(uri, relative))


def download(uri: str, folder: str | Path) -> Path:
    """Copies all files below a URI into a local folder; returns the folder."""
    for relative in list_files(uri):
        copy(join(uri, relative), str(Path(folder) / relative))
    return Path(folder)


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(uri: str) -> str:
    """Hex digest of a file of any size, read piece by piece.

    Raises:
        FileNotFoundError: there is none.
    """
    with open_read(uri) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_folder() -> Path:
    """Folder for local copies of remote files: $SKELETON_CACHE or a folder of this user's below the temp folder."""
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(folder) if folder else Path(tempfile.gettempdir()) / f"skeleton-cache-{os.getuid()}"


def local_copy(uri: str, digest: str, cache: Path | None = None) -> Path:
    """A local file with the URI's content: itself where it is local, else a cached download, checked by hash.

    The cache is addressed by content, so that processes share it and a changed remote file is never mixed up.

    Args:
        uri: file to fetch.
        digest: its sha256.
        cache: folder for copies; None: `cache_folder()`.

    Raises:
        SkeletonFormatError: what came does not have that hash.
    """
    if is_local(uri):
        return local_path(uri)
    # Two levels: some file systems are slow with a hundred thousand entries in one folder.
    target = (cache or cache_folder()) / digest[:2] / f"{digest}-{name(uri)}"
    if not target.exists():
        data = read_bytes(uri)
        if sha256(data) != digest:
            raise SkeletonFormatError(uri, "whole file", f"sha256 {digest}", sha256(data))
        write_atomic(str(target), data)
    return target


def clear_cache() -> None:
    """Removes all local copies."""
    shutil.rmtree(cache_folder(), ignore_errors=True)
