"""INPUT of a command -> clips: what `skeleton_io.reading` reads, with errors as a command says them, and shard sets.

Uses no Ray and writes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pipelines.runtime.errors import UserError
from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.reading import NoFormatFits, Place, is_shard_set, name_source, open_shards, places_at
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.registry import Source

_HINT = "name one with --format (skel formats lists them), or draft it: skel describe"


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
        if is_shard_set(uri):
            return _from_shards(uri, wanted)
        places = list_places(uri, named)
        entries = [entry for p in places for entry in p.source.stream(p.root, p.item, p.dataset)]
    except SkeletonFormatError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{uri}: cannot be read: {error}") from None
    clips = [entry for entry in entries if isinstance(entry, SkeletonSequence)]
    errors = [entry for entry in entries if isinstance(entry, SkeletonFormatError)]
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
        return name_source(format_name)
    except ValueError as error:
        raise UserError(f"--format: {error}") from None


def list_places(uri: str, named: tuple[str, Source] | None) -> list[Place]:
    """Everything to read in a file or folder.

    Raises:
        UserError: no format fits.
        SkeletonFormatError: a broken side file.
        OSError: it cannot be read.
    """
    try:
        return places_at(uri, named)
    except NoFormatFits as error:
        raise UserError(f"{error.path}: {error.found}" + ("" if named else f"; {_HINT}")) from None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _from_shards(uri: str, wanted: Sequence[str]) -> list[SkeletonSequence]:
    shards = open_shards(uri)
    if not wanted:
        raise UserError(f"{uri} is a shard set: name a clip with --clip SET/ID, for example --clip {shards.keys[0]}")
    if missing := [key for key in wanted if key not in shards]:
        raise UserError(f"{uri}: no clip {', '.join(missing)}; there is {_some(shards.keys)}")
    return [shards[key] for key in wanted]
