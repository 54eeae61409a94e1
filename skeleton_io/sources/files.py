"""What all formats share: which files belong to a set, side files, hashing, wrapping of errors.

A format's module gives a pattern and a `parse` function; `FileSource` does the rest. Knows no format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io import quality, storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.sequence import SkeletonSequence, Source

SIDE_FILES = ("labels.json", "clips.json", "protocols.json")
"""Files in a set's folder that describe clips and hold none."""
_CLIP_FIELDS = ("label", "subject", "view", "setup", "repetition", "captions", "image_size", "fps")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file to read. `id` is unique in the set; clips of the file are named after it."""

    id: str
    path: str
    """Relative to the set's folder, forward slashes."""


@dataclass(frozen=True, kw_only=True)
class SideInfo:
    """What labels.json and clips.json say.

    Attributes:
        names: code -> label, from labels.json ({"A001": "wave"}).
        clips: file stem or clip id -> fields that win over the file's own, from clips.json, then from labels.json
            where its values are objects.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    clips: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """What a format's `parse` gets."""

    item: Item
    dataset: str
    data: bytes
    source: Source
    licence: str | None
    side: SideInfo

    @property
    def stem(self) -> str:
        """File name without folders and suffix."""
        return self.item.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]

    @property
    def fields(self) -> Mapping[str, Any]:
        """What the side files say about this file."""
        empty: Mapping[str, Any] = {}
        return self.side.clips.get(self.item.id, self.side.clips.get(self.stem, empty))

    def error(self, place: str, expected: str, found: str) -> SkeletonFormatError:
        """The error to raise for this file."""
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


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A format: which files it reads and how.

    Attributes:
        name: key in SOURCES.
        version: raised whenever the records change.
        pattern: regular expression for a file's relative path; the groups, joined by "_", are the item's id.
        parse: file -> clips; may raise anything, which becomes SkeletonFormatError.
        licence: of the set, where the format is one set.
    """

    name: str
    version: int
    pattern: str
    parse: Callable[[SourceFile], list[SkeletonSequence]]
    licence: str | None = None

    def detect(self, root: str) -> bool:
        """Whether the folder holds files of this format."""
        return any(self._match(path) for path in storage.list_files(root))

    def list_items(self, root: str) -> list[Item]:
        """Files of this format below a folder or URI, sorted by id.

        Raises:
            SkeletonFormatError: a side file is broken.
        """
        side_info(root)
        named: dict[str, list[str]] = {}
        for path in storage.list_files(root):
            match = self._match(path)
            if match:
                named.setdefault("_".join(match.groups()), []).append(path)
        items = []
        for name, paths in named.items():
            # The same file name in several folders: the folders tell them apart.
            ids = [name] if len(paths) == 1 else [path.rsplit(".", 1)[0].replace("/", ".") for path in paths]
            items += [Item(id=i, path=path) for i, path in zip(ids, paths, strict=True)]
        return sorted(items, key=lambda item: item.id)

    def read(self, root: str, item: Item, dataset: str) -> list[SkeletonSequence]:
        """Reads one file.

        Args:
            root: folder or URI of the set.
            item: from `list_items`.
            dataset: name of the set in the shards.

        Returns:
            Its clips, at least one, with quality measured and side files applied.

        Raises:
            SkeletonFormatError: whatever is wrong with the file.
        """
        try:
            data = storage.read_bytes(storage.join(root, item.path))
        except OSError as error:
            raise SkeletonFormatError(item.path, "whole file", "a readable file", str(error)) from None
        return self.read_bytes(data, item, dataset, side_info(root))

    def read_bytes(self, data: bytes, item: Item, dataset: str, side: SideInfo) -> list[SkeletonSequence]:
        """As `read`, for bytes that are already here.

        Raises:
            SkeletonFormatError: whatever is wrong with the bytes.
        """
        digest = storage.sha256(data)
        source = Source(uri=item.path, sha256=digest, reader=self.name, reader_version=self.version)
        file = SourceFile(item=item, dataset=dataset, data=data, source=source, licence=self.licence, side=side)
        try:
            with np.errstate(over="raise", invalid="ignore"):
                clips = [_finish(clip, file) for clip in self.parse(file)]
        except SkeletonFormatError:
            raise
        except Exception as error:
            # Foreign bytes can break a parser in any way; the caller's contract is one error type.
            text = " ".join(str(error).split())[:300]
            raise file.error("whole file", f"a {self.name} clip", f"{type(error).__name__}: {text}") from error
        if not clips:
            raise file.error("whole file", "at least one clip", "none")
        return clips

    def _match(self, path: str) -> re.Match[str] | None:
        if path.rsplit("/", 1)[-1] in SIDE_FILES:
            return None
        return re.fullmatch(self.pattern, path)


def plain_label(text: str) -> str:
    """A label as the records keep it: lower case, single spaces."""
    return " ".join(text.replace("_", " ").split()).lower()


def number(text: str) -> str:
    """A number from a file name without leading zeros: "007" -> "7"."""
    return str(int(text))


def zeros_to_nan(positions: NDArray[np.floating]) -> NDArray[np.float32]:
    """(..., C) as float32 with NaN for joints whose coordinates are all exactly 0: sensors write that for "none"."""
    found = np.array(positions, np.float32)
    found[(found == 0).all(-1)] = np.nan
    return found


def check_present(file: SourceFile, positions: NDArray[np.floating]) -> None:
    """Refuses a clip without any joint, or with infinite coordinates.

    Raises:
        SkeletonFormatError: says so.
    """
    if np.isinf(positions).any():
        raise file.error("coordinates", "finite numbers", "an infinite value")
    if not np.isfinite(positions).any():
        raise file.error("whole file", "a joint that is present", f"{positions.shape[0]} frames without any")


def side_info(root: str) -> SideInfo:
    """labels.json and clips.json of a set's folder; empty where there are none.

    Raises:
        SkeletonFormatError: not JSON, or an entry that is not understood.
    """
    return _side_info(root, tuple(_stamp(storage.join(root, name)) for name in SIDE_FILES[:2]))


@lru_cache(maxsize=16)
def _side_info(root: str, stamps: tuple[int, ...]) -> SideInfo:
    """`stamps` only makes a changed file be read again."""
    names: dict[str, str] = {}
    clips: dict[str, dict[str, Any]] = {}
    for name in SIDE_FILES[:2]:
        for key, value in read_side(root, name, {}).items():
            place = f"entry {key!r}"
            if isinstance(value, str) and name == "labels.json":
                names[key] = plain_label(value)
            elif isinstance(value, dict):
                clips[key] = {**clips.get(key, {}), **_clip_fields(value, name, place)}
            else:
                raise SkeletonFormatError(name, place, "an object with label, subject, ...", repr(value)[:80])
    return SideInfo(names=names, clips=clips)


def read_side(root: str, name: str, absent: Any) -> Any:
    """JSON of a side file of the same type as `absent`, which stands for a file that is not there.

    Raises:
        SkeletonFormatError: not JSON, or another type.
    """
    uri = storage.join(root, name)
    if not storage.exists(uri):
        return absent
    try:
        found = json.loads(storage.read_text(uri))
    except ValueError as error:
        raise SkeletonFormatError(name, "whole file", "JSON", str(error)) from None
    if not isinstance(found, type(absent)):
        raise SkeletonFormatError(name, "whole file", f"a JSON {type(absent).__name__}", type(found).__name__)
    return found


def _stamp(uri: str) -> int:
    if not storage.is_local(uri):
        return 0
    path = storage.local_path(uri)
    return path.stat().st_mtime_ns if path.exists() else -1


def _clip_fields(value: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    unknown = sorted(set(value) - set(_CLIP_FIELDS))
    if unknown:
        raise SkeletonFormatError(name, place, f"fields among {', '.join(_CLIP_FIELDS)}", ", ".join(unknown))
    found: dict[str, Any] = {}
    for key, content in value.items():
        if content is None:
            continue
        found[key] = _clip_value(key, content)
        if found[key] is None:
            raise SkeletonFormatError(name, f"{place}, {key}", "a value of that field", repr(content)[:80])
    return found


def _clip_value(key: str, content: Any) -> Any:
    """Value in the record's form, None where it is not one."""
    if key == "captions":
        return tuple(content) if isinstance(content, list) and all(isinstance(c, str) for c in content) else None
    if key == "image_size":
        fine = isinstance(content, list) and len(content) == 2 and all(isinstance(c, int) and c > 0 for c in content)
        return tuple(content) if fine else None
    if key == "fps":
        return float(content) if isinstance(content, int | float) and content > 0 else None
    if not isinstance(content, str | int):
        return None
    return plain_label(str(content)) if key == "label" else str(content)


def _finish(clip: SkeletonSequence, file: SourceFile) -> SkeletonSequence:
    """Applies the side files' text fields and measures quality. Numbers (image_size, fps) are the parser's business."""
    given = file.side.clips.get(clip.id, file.fields)
    texts = {key: given[key] for key in _CLIP_FIELDS[:6] if key in given}
    return replace(clip, **texts, quality=quality.measure(clip))
