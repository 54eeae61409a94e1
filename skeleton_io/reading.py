"""Files of any format -> clips, for a caller who knows nothing of readers: a file, a folder, or a shard set.

Files are recognised by the reader table (name first, then the first bytes), or read as the format that the caller
names. Writes nothing.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.shards.shard_set import ShardSet
from skeleton_io.sources import catalogue
from skeleton_io.sources.detection import choose
from skeleton_io.sources.registry import SOURCES, Source, candidates, resolve
from skeleton_io.sources.shared.files import HEAD_BYTES, ClipOrError, FileSource, Item

_LEVELS = 4  # folders above a file that may belong to its name, as in subject/action/clip.txt
_WORDS = "texts"
"""The format of captions without motion: read only where it is named."""
Uri = str | os.PathLike[str]
"""Path, or any fsspec URI."""


class NoFormatFits(SkeletonFormatError):
    """No reader takes a file, or any file of a folder; `found` says so in words."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something to read lies.

    Attributes:
        source: its reader.
        dataset: name of the set that its clips get.
        root: folder of the set.
        item: what is read at once.
    """

    source: Source
    dataset: str
    root: str
    item: Item

    @property
    def files(self) -> tuple[str, ...]:
        """Paths below `root`."""
        return self.item.parts or (self.item.path,)


@dataclass(frozen=True, kw_only=True)
class Format:
    """What is known of a format that `read` takes.

    Attributes:
        name: for `format=`.
        title: what it is.
        files: names of its files, by example.
        suffixes: of these files, in lower case.
        joints, dims, persons: how many, as text: "25", "2 or 3", "any".
        page: its page in the repository.
    """

    name: str
    title: str
    files: str
    suffixes: tuple[str, ...]
    joints: str
    dims: str
    persons: str
    page: str


def formats() -> list[Format]:
    """Every format of the reader table. Files of any other layout are read by a YAML of one's own: docs/own-data.md."""
    return [
        Format(
            name=name,
            title=catalogue.title(name),
            files=files,
            suffixes=catalogue.suffixes(files),
            joints=joints,
            dims=dims,
            persons=persons,
            page=page,
        )
        for name, files, joints, dims, persons, page in catalogue.rows()
        if name in SOURCES
    ]


def read(uri: Uri, format: str = "") -> SkeletonSequence:
    """The one clip of a file, or of a folder.

    Args:
        uri: file, folder or shard set; path or URI.
        format: a name of `formats()` in any case, or the path of a definition (YAML); empty: found by the table.

    Raises:
        SkeletonFormatError: no known format, a file that breaks its format, or not exactly one clip: says how many.
        ValueError: no format of that name, or no such definition.
        FileNotFoundError: nothing is there.
    """
    clips = errors = 0
    clip: SkeletonSequence | None = None
    error: SkeletonFormatError | None = None
    for entry in read_all(uri, format):
        if isinstance(entry, SkeletonSequence):
            clips, clip = clips + 1, clip or entry
        else:
            errors, error = errors + 1, error or entry
    if clip is not None and (clips, errors) == (1, 0):
        return clip
    if error is not None and (clips, errors) == (0, 1):
        raise error
    broken = f" and {errors} that cannot be read" if errors else ""
    raise SkeletonFormatError(os.fspath(uri), "whole input", "one clip (read_all gives all)", f"{clips} clips{broken}")


def read_all(uri: Uri, format: str = "") -> Iterator[ClipOrError]:
    """All clips of a file, a folder or a shard set, one after the other.

    Args:
        uri, format: as in `read`.

    Yields:
        Clips, and as a value an error for each clip or file that cannot be read.

    Raises:
        SkeletonFormatError: no known format, or a broken side file.
        ValueError: no format of that name, or no such definition.
        FileNotFoundError: nothing is there.
    """
    uri = os.fspath(uri)
    named = name_source(format) if format else None
    if not storage.exists(uri):
        raise FileNotFoundError(f"{uri}: no such file, folder or shard set")
    if is_shard_set(uri):
        shards = open_shards(uri)
        yield from (shards[key] for key in shards)
        return
    for place in places_at(uri, named):
        yield from place.source.stream(place.root, place.item, place.dataset)


def open_shards(uri: Uri, cache: str | None = None) -> ShardSet:
    """A shard set that `skel ingest` wrote: a read-only mapping of keys "set/id" to clips.

    Args:
        uri: its folder or URI.
        cache: folder for local copies of remote shards; None: `storage.cache_folder()`.

    Raises:
        SkeletonFormatError: no finished shard set there, or one of another version.
    """
    return ShardSet.open(os.fspath(uri), cache)


def is_shard_set(uri: str) -> bool:
    """Whether a folder is a finished shard set."""
    return storage.exists(storage.join(uri, "index.json"))


def name_source(format: str) -> tuple[str, Source]:
    """(name of the set, source) that a format's name or the path of a definition stands for.

    Raises:
        ValueError: no such format, or no such definition.
        SkeletonFormatError: a definition that is none.
    """
    return resolve(format.lower() if format.lower() in SOURCES else format)


def places_at(uri: str, named: tuple[str, Source] | None) -> list[Place]:
    """Everything to read in a file or folder, as the named format or as those that its files are recognised as.

    Raises:
        NoFormatFits: nothing.
        SkeletonFormatError: a broken side file.
        OSError: it cannot be read.
    """
    if not is_folder(uri):
        return [_locate(uri) if named is None else _locate_as(uri, *named)]
    places = _recognised_below(uri) if named is None else _places_below(uri, *named)
    if not places and named:
        found = f"no file of the format {named[1].name} in this folder"
        raise NoFormatFits(uri, "folder", f"files as {named[1].name} names them", found)
    if not places:
        raise NoFormatFits(uri, "folder", "files that formats() lists", "no file of a known format")
    return places


def is_folder(uri: str) -> bool:
    """Whether a path or URI is a folder."""
    files, path = storage.filesystem(uri)
    return bool(files.isdir(path))


def _places_below(uri: str, dataset: str, source: Source) -> list[Place]:
    """Everything that one format reads below a folder."""
    items = [(uri, item) for item in source.list_items(uri)]
    grouped = isinstance(source, FileSource) and source.grouped and storage.is_local(uri)
    if grouped and all(item.path == "." for _, item in items):
        # The folder itself is the item: a clip as one file per frame, named after its folder.
        parent, name = str(storage.local_path(uri).resolve().parent), storage.local_path(uri).resolve().name
        items = [(parent, item) for item in source.list_items(parent) if item.path == name] or items
    return [Place(source=source, dataset=dataset, root=root, item=item) for root, item in items]


def _recognised_below(uri: str) -> list[Place]:
    """Items below a folder: all files of its likeliest format, and the others under the format that they begin as.

    Where no format is clearly the likeliest, each file must begin as its format asks; files that only look right by
    their names come last, to be refused by their reader.
    """
    listed = [c for c in candidates(uri) if c.source.name != _WORDS]
    best, rivals = choose(listed)
    if best is None:
        # What a folder itself stands for, such as a clip with one file per frame, is found with its parent in view.
        source = next((s for s in SOURCES.values() if s.name != _WORDS and s.detect(uri)), None)
        return _places_below(uri, source.name, source) if source else []
    passes = [(c, True) for c in listed] + [(c, False) for c in listed] if rivals else [(best, False)]
    passes += [] if rivals else [(c, True) for c in listed if c is not best]
    places, taken = [], set(best.source.list_companions(uri))
    for candidate, sniffed in passes:
        for place in _places_below(uri, candidate.source.name, candidate.source):
            if _is_free(place, candidate.source, taken, sniffed):
                taken.update(place.files)
                places.append(place)
    return sorted(places, key=lambda place: place.item.path)


def _is_free(place: Place, source: FileSource, taken: Set[str], sniffed: bool) -> bool:
    """Whether no other format has taken the item's files; `sniffed`: and they begin as this one asks."""
    if not taken.isdisjoint(place.files):
        return False
    first = place.files[0]
    return not sniffed or source.sniff(first, storage.read_head(storage.join(place.root, first), HEAD_BYTES))


def _locate(uri: str) -> Place:
    """Where a file belongs, by its name and first bytes.

    Raises:
        NoFormatFits: no format of the table takes it.
        OSError: it cannot be read.
    """
    head = storage.read_head(uri, HEAD_BYTES)
    for source in SOURCES.values():
        for root, relative in _splits(uri):
            item = _item(source, root, relative, head)
            if item is not None:
                return Place(source=source, dataset=source.name, root=root, item=item)
    raise NoFormatFits(uri, "whole file", "a file that formats() lists", "no known format")


def _locate_as(uri: str, dataset: str, source: Source) -> Place:
    """Where a file of a known format belongs; it may have any name: then that is the id."""
    for root, relative in _splits(uri):
        item = _item(source, root, relative, None)
        if item is not None:
            return Place(source=source, dataset=dataset, root=root, item=item)
    root, relative = next(_splits(uri))
    item = Item(id=relative.rsplit(".", 1)[0], path=relative)
    return Place(source=source, dataset=dataset, root=root, item=item)


def _splits(uri: str) -> Iterator[tuple[str, str]]:
    """(root, relative path) of a file, from its own folder upwards."""
    whole = uri if "://" in uri else Path(uri).resolve().as_posix()
    root, relative = posixpath.dirname(whole), posixpath.basename(whole)
    for _ in range(_LEVELS):
        yield root or "/", relative
        if not posixpath.basename(root) or root.endswith(":/"):
            return
        root, relative = posixpath.dirname(root), f"{posixpath.basename(root)}/{relative}"


def _item(source: Source, root: str, relative: str, head: bytes | None) -> Item | None:
    """The item of a set that a file is or belongs to; `head`: first bytes that must look like the format, too."""
    if isinstance(source, FileSource):
        stem, dot, suffix = relative.rpartition(".")
        match = re.fullmatch(source.pattern, relative) or re.fullmatch(source.pattern, stem + dot + suffix.lower())
        if match is None or (head is not None and not source.sniff(relative, head)):
            return None
        if not source.grouped:
            return Item(id=source.identify(match), path=relative)
    elif "/" in relative:
        return None  # other sources say what they read in the file's own folder
    return next((item for item in source.list_items(root) if relative in (item.path, *item.parts)), None)
