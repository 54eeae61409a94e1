"""INPUT of a command -> clips: a native file of any format, a folder of such files, or clips of a shard set.

Files are recognised by the reader table (name first, then the first bytes). Uses no Ray and writes nothing.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.runtime.errors import UserError
from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.shards.shard_set import ShardSet
from skeleton_io.sources.registry import SOURCES, Source, resolve
from skeleton_io.sources.shared.files import HEAD_BYTES, ClipOrError, FileSource, Item

_ELSE = "name one with --format (skel formats lists them), or draft it: skel describe"
_LEVELS = 4  # folders above a file that may belong to its name, as in subject/action/clip.txt


def read_clips(uri: str, format_name: str, wanted: Sequence[str]) -> list[SkeletonSequence]:
    """The clips of one input.

    Args:
        uri: path or URI of a file, a folder of files, or a shard set.
        format_name: a name of the reader table or the path of a definition (YAML); empty: found by the table.
        wanted: ids of clips, for a shard set keys "set/id"; empty: all clips (not for a shard set).

    Of a folder, or a file with many clips, those that cannot be read are named on stderr and left out.

    Raises:
        UserError: nothing there, no format fits, no clip can be read, or no clip of that name.
    """
    named = named_source(format_name)
    if not storage.exists(uri):
        raise UserError(f"{uri}: no such file, folder or shard set")
    try:
        if storage.exists(storage.join(uri, "index.json")):
            return _from_shards(uri, wanted)
        found = list(_from_files(uri, named))
    except SkeletonFormatError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{uri}: cannot be read: {error}") from None
    clips = [clip for clip in found if isinstance(clip, SkeletonSequence)]
    errors = [error for error in found if isinstance(error, SkeletonFormatError)]
    if not clips:
        raise UserError(f"{errors[0]}" + (f"; {len(errors) - 1} more could not be read" if errors[1:] else ""))
    if missing := sorted(set(wanted) - {clip.id for clip in clips}):
        raise UserError(f"{uri}: no clip {', '.join(missing)}; there is {_some([clip.id for clip in clips])}")
    if not wanted:
        for error in errors:
            print(f"skipped: {error}", file=sys.stderr, flush=True)
    return [clip for clip in clips if not wanted or clip.id in wanted]


def named_source(format_name: str) -> tuple[str, Source] | None:
    """(name of the set, source) that --format names; None without a name.

    Raises:
        UserError: no such format, or a definition that cannot be read.
    """
    if not format_name:
        return None
    try:
        return resolve(format_name)
    except (ValueError, SkeletonFormatError) as error:
        raise UserError(f"--format: {error}") from None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _from_shards(uri: str, wanted: Sequence[str]) -> list[SkeletonSequence]:
    shards = ShardSet.open(uri)
    if not wanted:
        raise UserError(f"{uri} is a shard set: name a clip with --clip SET/ID, for example --clip {shards.keys[0]}")
    if missing := [key for key in wanted if key not in shards]:
        raise UserError(f"{uri}: no clip {', '.join(missing)}; there is {_some(shards.keys)}")
    return [shards.clip(key) for key in wanted]


def _from_files(uri: str, named: tuple[str, Source] | None) -> Iterator[ClipOrError]:
    """Clips of a file, or of every file of a folder, and an error for each that cannot be read."""
    if not storage.is_local(uri) or storage.local_path(uri).is_file():
        source, root, item = locate(uri) if named is None else locate_as(uri, named[1])
        yield from source.stream(root, item, named[0] if named else source.name)
        return
    source = named[1] if named else _source_of_folder(uri)
    items = items_below(uri, source)
    if not items:
        raise UserError(f"{uri}: no file of the format {source.name} in this folder")
    for root, item in items:
        yield from source.stream(root, item, named[0] if named else source.name)


def items_below(uri: str, source: Source) -> list[tuple[str, Item]]:
    """(folder of the set, item) of everything that a format reads below a folder."""
    items = [(uri, item) for item in source.list_items(uri)]
    if not storage.is_local(uri) or not isinstance(source, FileSource) or not source.grouped:
        return items
    if all(item.path == "." for _, item in items):
        # The folder itself is the item: a clip as one file per frame, named after its folder.
        parent, name = str(storage.local_path(uri).resolve().parent), storage.local_path(uri).resolve().name
        items = [(parent, item) for item in source.list_items(parent) if item.path == name] or items
    return items


def _source_of_folder(uri: str) -> Source:
    """The first that finds files of its own."""
    found = next((source for source in SOURCES.values() if source.detect(uri)), None)
    if found is None:
        raise UserError(f"{uri}: no file of a known format; {_ELSE}")
    return found


def _splits(uri: str) -> Iterator[tuple[str, str]]:
    """(root, relative path) of a file, from its own folder upwards."""
    whole = uri if "://" in uri else Path(uri).resolve().as_posix()
    root, relative = posixpath.dirname(whole), posixpath.basename(whole)
    for _ in range(_LEVELS):
        yield root or "/", relative
        if not posixpath.basename(root) or root.endswith(":/"):
            return
        root, relative = posixpath.dirname(root), f"{posixpath.basename(root)}/{relative}"


def locate(uri: str) -> tuple[Source, str, Item]:
    """(source, folder of the set, item) of a file, by its name and first bytes.

    Raises:
        UserError: no format of the table fits.
        OSError: it cannot be read.
    """
    head = storage.read_head(uri, HEAD_BYTES)
    for source in SOURCES.values():
        for root, relative in _splits(uri):
            item = _item(source, root, relative, head)
            if item is not None:
                return source, root, item
    raise UserError(f"{uri}: no known format; {_ELSE}")


def locate_as(uri: str, source: Source) -> tuple[Source, str, Item]:
    """As `locate`, for a known format; it reads the file whatever it is called: then the id is the file's name."""
    for root, relative in _splits(uri):
        item = _item(source, root, relative, None)
        if item is not None:
            return source, root, item
    root, relative = next(_splits(uri))
    return source, root, Item(id=relative.rsplit(".", 1)[0], path=relative)


def _item(source: Source, root: str, relative: str, head: bytes | None) -> Item | None:
    """The item of a set that a file is or belongs to; `head`: first bytes that must look like the format, too."""
    if isinstance(source, FileSource):
        match = re.fullmatch(source.pattern, relative)
        if match is None or (head is not None and not source.sniff(relative, head)):
            return None
        if not source.grouped:
            return Item(id=source.identify(match), path=relative)
    elif "/" in relative:
        return None  # other sources say what they read in the file's own folder
    return next((item for item in source.list_items(root) if relative in (item.path, *item.parts)), None)
