"""What all formats share: which files belong to a set, companions, hashing, wrapping of errors.

A format's module gives a pattern and a `parse` function; `FileSource` does the rest. Knows no format. What a set's
folder says about its clips is in `side_files`.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record import quality
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.sources.shared.side_files import CLIP_TEXTS, SIDE_FILES, SideInfo, side_info

# A page of most file systems, and a header with some rows of every format here.
HEAD_BYTES = 4096
"""How much of a file `sniff` gets."""
_MOST_SNIFFED = 8  # files of a folder whose first bytes are looked at before it counts as another format

ClipOrError = SkeletonSequence | SkeletonFormatError
"""A clip, or why one clip could not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """What is read at once. `id` is unique in the set; its clips are named after it."""

    id: str
    path: str
    """Relative to the set's folder, forward slashes: the file, or the folder that holds the files of a group."""
    parts: tuple[str, ...] = ()
    """Files of a group, sorted; empty: the item is the file at `path`."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """What a format's `parse` gets.

    Attributes:
        data: the file's bytes; of a group those of the first file.
        parts: (path, bytes) of every file of the item, in the order of the paths.
        companion: path relative to the set's folder -> bytes, or None where there is no such file.
    """

    item: Item
    dataset: str
    data: bytes
    source: Source
    licence: str | None
    side: SideInfo
    parts: tuple[tuple[str, bytes], ...] = ()
    companion: Callable[[str], bytes | None] = lambda _: None

    @property
    def stem(self) -> str:
        """File name without folders and suffix."""
        return self.item.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]

    @property
    def fields(self) -> Mapping[str, Any]:
        """What the side files say about this file."""
        empty: Mapping[str, Any] = {}
        return self.side.clips.get(self.item.id, self.side.clips.get(self.stem, empty))

    def beside(self, relative: str) -> bytes | None:
        """Bytes of a companion file.

        Args:
            relative: path from the item's folder, for example "../labels/007.txt".

        Returns:
            None where there is no such file.

        Raises:
            SkeletonFormatError: the path leaves the set's folder, as hostile content may ask for.
        """
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self.item.path), relative))
        if path.startswith(("../", "/")) or "://" in path or "\0" in path:
            raise self.error("companion file", "a path inside the set's folder", repr(relative)[:80])
        return self.companion(path)

    def error(self, place: str, expected: str, found: str) -> SkeletonFormatError:
        """The error to raise for this file, or to yield for one of its clips."""
        return SkeletonFormatError(self.item.path, place, expected, found)

    def text(self) -> str:
        """The file as UTF-8, without a byte order mark.

        Raises:
            SkeletonFormatError: empty, or not text.
        """
        if not self.data.strip():
            raise self.error("whole file", "text", "an empty file")
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self.error(f"byte {error.start}", "UTF-8 text", f"byte 0x{self.data[error.start]:02x}") from None


def _any_content(path: str, head: bytes) -> bool:
    return True


def join_groups(match: re.Match[str]) -> str:
    """Id of a file by the groups of the pattern."""
    return "_".join(match.groups())


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A format in the list for people (`skel formats`): text that decides nothing."""

    title: str = "?"
    files: str = "?"
    joints: str = "?"
    dims: str = "?"
    persons: str = "?"


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A format: which files it reads and how.

    Attributes:
        name: key in SOURCES.
        version: raised whenever the records change.
        pattern: regular expression for a file's relative path; the groups, joined by "_", are the item's id.
        parse: file -> clips, and an error as a VALUE for each clip of the file that could not be read; may raise
            anything, which becomes SkeletonFormatError.
        licence: of the set, where the format is one set.
        sniff: (path, first bytes) -> whether the content is of this format; for detection only.
        grouped: files whose ids are equal are one item (a folder of per-frame files), read in the order of their paths.
        companions: regular expression for the files that `SourceFile.beside` is asked for; they are no items.
        identify: the pattern's match -> the item's id.
        protocols: (folder, items) -> splits that the files themselves hold, the default first.
        listing: for the list of formats.
    """

    name: str
    version: int
    pattern: str
    parse: Callable[[SourceFile], Iterable[ClipOrError]]
    licence: str | None = None
    sniff: Callable[[str, bytes], bool] = _any_content
    grouped: bool = False
    companions: str = ""
    identify: Callable[[re.Match[str]], str] = join_groups
    protocols: Callable[[str, list[Item]], tuple[Protocol, ...]] | None = None
    listing: Listing = Listing()

    def detect(self, root: str) -> bool:
        """Whether the folder holds files of this format, by their names and first bytes."""
        paths = (path for path in storage.list_files(root) if self._match(path))
        sample = zip(range(_MOST_SNIFFED), paths, strict=False)
        return any(self.sniff(path, storage.read_head(storage.join(root, path), HEAD_BYTES)) for _, path in sample)

    def fits(self, path: str) -> bool:
        """Whether a path within the set's folder is one of this format's, by its name alone."""
        return self._match(path) is not None

    def list_items(self, root: str) -> list[Item]:
        """Files of this format below a folder or URI, sorted by id.

        Raises:
            SkeletonFormatError: a side file is broken.
        """
        side_info(root)
        by_id: dict[str, list[str]] = {}
        for path in storage.list_files(root):
            match = self._match(path)
            if match:
                by_id.setdefault(self.identify(match), []).append(path)
        items = []
        for name, paths in by_id.items():
            if self.grouped:
                items.append(Item(id=name, path=posixpath.dirname(paths[0]) or ".", parts=tuple(sorted(paths))))
                continue
            # The same file name in several folders: the folders tell them apart.
            ids = [name] if len(paths) == 1 else [path.rsplit(".", 1)[0].replace("/", ".") for path in paths]
            items += [Item(id=i, path=path) for i, path in zip(ids, paths, strict=True)]
        return sorted(items, key=lambda item: item.id)

    def list_companions(self, root: str) -> list[str]:
        """Files that decide records without being items, side files included, sorted."""
        pattern = re.compile(self.companions) if self.companions else None
        return sorted(
            path
            for path in storage.list_files(root)
            if path in SIDE_FILES or (pattern is not None and pattern.fullmatch(path))
        )

    def stream(self, root: str, item: Item, dataset: str) -> Iterator[ClipOrError]:
        """Reads one item.

        Args:
            root: folder or URI of the set.
            item: from `list_items`.
            dataset: name of the set in the shards.

        Yields:
            Its clips, with quality measured and side files applied, and an error for each clip that could not be
            read, or one for the whole item: at least one of either.

        Raises:
            OSError: a remote storage failed.
        """
        paths = item.parts or (item.path,)
        try:
            parts = tuple((path, storage.read_bytes(storage.join(root, path))) for path in paths)
        except OSError as error:
            # An object store that fails for a while says nothing about the file: the clip must not be lost for that.
            if not storage.is_local(root) and not isinstance(error, FileNotFoundError | PermissionError):
                raise
            yield SkeletonFormatError(item.path, "whole file", "a readable file", str(error))
            return
        yield from self.stream_bytes(parts, item, dataset, side_info(root), lambda path: _companion(root, path))

    def stream_bytes(
        self,
        parts: tuple[tuple[str, bytes], ...],
        item: Item,
        dataset: str,
        side: SideInfo,
        companion: Callable[[str], bytes | None] = lambda _: None,
    ) -> Iterator[ClipOrError]:
        """As `stream`, for bytes that are already here: (path, bytes) of each file of the item."""
        source = Source(uri=item.path, sha256=_digest(parts), reader=self.name, reader_version=self.version)
        file = SourceFile(
            item=item,
            dataset=dataset,
            data=parts[0][1],
            source=source,
            licence=self.licence,
            side=side,
            parts=parts,
            companion=companion,
        )
        if side.excluded & {item.id, file.stem}:
            yield file.error("exclude.txt", "a clip to keep", "its name in the list")
            return
        count = 0
        try:
            with np.errstate(over="raise", invalid="ignore"):
                for result in self.parse(file):
                    count += 1
                    yield result if isinstance(result, SkeletonFormatError) else _finish(result, file)
        except SkeletonFormatError as error:
            yield error
        except Exception as error:  # noqa: BLE001 - foreign bytes can break a parser in any way
            text = " ".join(str(error).split())[:300]
            yield file.error("whole file", f"a {self.name} clip", f"{type(error).__name__}: {text}")
        else:
            if not count:
                yield file.error("whole file", "at least one clip", "none")

    def read(self, root: str, item: Item, dataset: str) -> list[SkeletonSequence]:
        """As `stream`, for a caller who wants all clips of the item or none.

        Raises:
            SkeletonFormatError: the first that `stream` yields.
        """
        return _all_or_error(self.stream(root, item, dataset))

    def read_bytes(self, data: bytes, item: Item, dataset: str, side: SideInfo) -> list[SkeletonSequence]:
        """As `read`, for the bytes of a single file.

        Raises:
            SkeletonFormatError: the first that `stream_bytes` yields.
        """
        return _all_or_error(self.stream_bytes(((item.path, data),), item, dataset, side))

    def _match(self, path: str) -> re.Match[str] | None:
        if path.rsplit("/", 1)[-1] in SIDE_FILES:
            return None
        return re.fullmatch(self.pattern, path)


def _all_or_error(stream: Iterable[ClipOrError]) -> list[SkeletonSequence]:
    clips: list[SkeletonSequence] = []
    for result in stream:
        if isinstance(result, SkeletonFormatError):
            raise result
        clips.append(result)
    return clips


def _digest(parts: tuple[tuple[str, bytes], ...]) -> str:
    """Hash of a file's bytes; of a group, of the files' hashes in order."""
    if len(parts) == 1:
        return storage.sha256(parts[0][1])
    whole = hashlib.sha256()
    for _, data in parts:
        whole.update(storage.sha256(data).encode())
    return whole.hexdigest()


def _companion(root: str, path: str) -> bytes | None:
    uri = storage.join(root, path)
    return _cached_bytes(uri, storage.stamp(uri))


@lru_cache(maxsize=32)
def _cached_bytes(uri: str, stamp: int) -> bytes | None:
    """One skeleton or label file often serves many clips. `stamp` only makes a changed file be read again."""
    return storage.read_bytes(uri) if storage.exists(uri) else None


def number(text: str) -> str:
    """A number from a file name without leading zeros: "007" -> "7"."""
    return str(int(text))


def zeros_to_nan(positions: NDArray[np.floating]) -> NDArray[np.float32]:
    """(..., C) as float32 with NaN for joints whose coordinates are all exactly 0: sensors write that for "none"."""
    points = np.array(positions, np.float32)
    points[(points == 0).all(-1)] = np.nan
    return points


def check_present(file: SourceFile, positions: NDArray[np.floating]) -> None:
    """Refuses a clip without any joint, or with infinite coordinates.

    Raises:
        SkeletonFormatError: says so.
    """
    if np.isinf(positions).any():
        raise file.error("coordinates", "finite numbers", "an infinite value")
    if not np.isfinite(positions).any():
        raise file.error("whole file", "a joint that is present", f"{positions.shape[0]} frames without any")


def _finish(clip: SkeletonSequence, file: SourceFile) -> ClipOrError:
    """Applies the side files' text fields and measures quality. Numbers (image_size, fps) are the parser's business."""
    if clip.id in file.side.excluded:
        return file.error("exclude.txt", "a clip to keep", f"{clip.id} in the list")
    side_fields = file.side.clips.get(clip.id, file.fields)
    texts = {key: side_fields[key] for key in CLIP_TEXTS if key in side_fields}
    return replace(clip, **texts, quality=quality.measure(clip))
