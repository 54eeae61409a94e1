"""INPUT... of `skel predict` -> units of work: native items of any format and stretches of shard sets.

Lists names and reads first bytes; clips are read where they are predicted (`read_unit`). A unit is plain data, so that
any process can work on it. Inputs that lead nowhere become units too: each of them ends as one row with an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from pipelines.data import clip_files
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute
from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.reading import is_folder, is_shard_set, open_shards
from skeleton_io.shards.shard_set import ShardSet
from skeleton_io.sources.detection import named_files, what_is_there
from skeleton_io.sources.registry import Source, open_source, reference
from skeleton_io.sources.shared.files import ClipOrError, FileSource, Item

CLIPS_PER_UNIT = 32
"""Clips of a shard set that make a unit."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What is read at once.

    Attributes:
        input: what the user named.
        problem: why there is nothing to read; then all else is empty.
        root: folder of a native item, or URI of the shard set.
        source: text for `open_source`; empty: a shard set.
        dataset: name of the set.
        id, path, parts: of the item.
        start, stop: clips of the shard set, by their place among its keys.
        tag: ends picture names where another input has clips of the same set.
    """

    input: str
    problem: str = ""
    root: str = ""
    source: str = ""
    dataset: str = ""
    id: str = ""
    path: str = ""
    parts: tuple[str, ...] = ()
    start: int = 0
    stop: int = 0
    tag: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data; `Unit.from_json` is the inverse."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Unit:
        """Inverse of `to_json`."""
        return Unit(**{**data, "parts": tuple(data["parts"])})


def list_units(inputs: Sequence[str], format_name: str) -> list[Unit]:
    """Everything that the inputs lead to, in their order.

    Args:
        inputs: files, folders, shard sets; paths or URIs.
        format_name: name of the reader table or path of an `arrays` definition; empty: found by the table.

    Raises:
        UserError: no such format.
    """
    named = clip_files.named_source(format_name)
    units: list[Unit] = []
    roots: dict[str, list[str]] = {}
    for uri in inputs:
        try:
            of_input = [replace(unit, input=uri) for unit in _units_of(absolute(uri), named)]
        except (UserError, SkeletonFormatError, OSError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            of_input = [Unit(input=uri, problem=text.removeprefix(f"{absolute(uri)}: "))]
        for unit in of_input:
            seen = roots.setdefault(unit.dataset, [])
            if unit.root not in seen:
                seen.append(unit.root)
            place = seen.index(unit.root)
            units.append(replace(unit, tag=f"-{place + 1}" if place else ""))
    return units


def _units_of(uri: str, named: tuple[str, Source] | None) -> Iterator[Unit]:
    """Units of one input.

    Raises:
        UserError, SkeletonFormatError, OSError: it leads nowhere.
    """
    if not storage.exists(uri):
        raise UserError("no such file, folder or shard set")
    if is_shard_set(uri):
        yield from _of_shards(uri)
        return
    for place in clip_files.list_places(uri, named):
        item = {"id": place.item.id, "path": place.item.path, "parts": place.item.parts}
        yield Unit(input=uri, root=place.root, source=reference(place.source), dataset=place.dataset, **item)


def _of_shards(uri: str) -> Iterator[Unit]:
    keys = open_shards(uri).keys
    for start in range(0, len(keys), CLIPS_PER_UNIT):
        stop = min(len(keys), start + CLIPS_PER_UNIT)
        yield Unit(input=uri, root=uri, start=start, stop=stop)


def left_out(uri: str, units: Sequence[Unit]) -> str:
    """What a folder holds beside the units, in words; empty: nothing, or no folder."""
    mine = [unit for unit in units if unit.input == uri and unit.source]
    root = absolute(uri)
    if not mine or not is_folder(root):
        return ""
    taken = {path for unit in mine for path in (unit.parts or (unit.path,))}
    sources = [open_source(text) for text in sorted({unit.source for unit in mine})]
    taken |= {path for source in sources for path in source.list_companions(root)}
    read_too = [source for source in sources if isinstance(source, FileSource)]
    files = [path for path in storage.list_files(root) if path not in taken]
    others = [path for path in files if not any(source.fits(path) for source in read_too)]
    return f"{what_is_there(others)} of no known format ({named_files(others)})" if others else ""


@lru_cache(maxsize=4)
def _shards(uri: str, stamp: int) -> ShardSet:
    """A shard set, opened once per process; `stamp` only makes a changed one be opened again."""
    return ShardSet.open(uri)


def read_unit(unit: Unit) -> Iterator[ClipOrError | str]:
    """Clips of a unit; an error for each clip that cannot be read, as a value.

    Raises:
        OSError: a remote storage failed.
    """
    if unit.problem:
        yield unit.problem
    elif unit.source:
        item = Item(id=unit.id, path=unit.path, parts=unit.parts)
        yield from open_source(unit.source).stream(unit.root, item, unit.dataset)
    else:
        shards = _shards(unit.root, storage.stamp(storage.join(unit.root, "index.json")))
        for key in shards.keys[unit.start : unit.stop]:
            try:
                yield shards.clip(key)
            except (SkeletonFormatError, ValueError) as error:
                yield f"{key}: {' '.join(str(error).split())}"
