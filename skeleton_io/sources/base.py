"""The table of formats and what a set's folder brings along. A new format is one file and one line here.

`NAME=PATH` of the command line means: NAME is a source of the table, and names the set. `NAME:FORMAT=PATH` gives the
set a name of its own. What all formats share is in `files`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.sequence import SkeletonSequence
from skeleton_io.sources import bandai_namco_1, bvh, coco17, msr_action3d, ntu, nw_ucla, sbu, utd_mhad
from skeleton_io.sources.files import Found, Item
from skeleton_io.sources.side_files import read_side
from skeleton_io.splits import Protocol as SplitProtocol
from skeleton_io.splits import protocols_of


class Source(Protocol):
    """What a format offers; `files.FileSource` is one."""

    @property
    def name(self) -> str:
        """Key in the table."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever the records change."""
        ...

    def detect(self, root: str) -> bool:
        """Whether the folder holds files of this format."""
        ...

    def list_items(self, root: str) -> list[Item]:
        """Files of this format, sorted by id."""
        ...

    def list_companions(self, root: str) -> list[str]:
        """Files that decide records without being items, sorted."""
        ...

    def stream(self, root: str, item: Item, dataset: str) -> Iterator[Found]:
        """Clips of one item, and an error for each that could not be read: at least one of either."""
        ...

    def read(self, root: str, item: Item, dataset: str) -> list[SkeletonSequence]:
        """All clips of one item, or SkeletonFormatError."""
        ...


# Named sets first: `detect_source` takes the first that fits, and a general format fits more.
SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        msr_action3d.SOURCE,
        utd_mhad.SOURCE,
        nw_ucla.SOURCE,
        sbu.SOURCE,
        bandai_namco_1.SOURCE,
        ntu.SOURCE,
        bvh.SOURCE,
        coco17.SOURCE,
    )
}


def resolve(name: str) -> tuple[str, Source]:
    """NAME or NAME:FORMAT -> (name of the set, its source).

    Raises:
        ValueError: unknown format, or a name with other characters than letters, digits, "_", "-" and ".".
    """
    dataset, _, format_name = name.partition(":")
    format_name = format_name or dataset
    if format_name not in SOURCES:
        hint = "" if ":" in name else f"; for a set of your own write {name}:FORMAT"
        raise ValueError(f"no format {format_name!r}; there is {', '.join(SOURCES)}{hint}")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", dataset, re.ASCII):
        raise ValueError(f"{dataset!r} cannot name a set: use letters, digits, '_', '-' and '.'")
    return dataset, SOURCES[format_name]


def detect_source(root: str) -> Source | None:
    """The first source of the table that finds files of its own in the folder."""
    return next((source for source in SOURCES.values() if source.detect(root)), None)


def side_protocols(root: str) -> tuple[SplitProtocol, ...]:
    """Protocols from protocols.json in a set's folder ([{name, field, train, test}, ...]); empty without the file.

    Raises:
        SkeletonFormatError: not JSON, or a rule that is not understood.
    """
    found = []
    for place, entry in enumerate(read_side(root, "protocols.json", [])):
        try:
            found.append(SplitProtocol.from_json(entry))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SkeletonFormatError("protocols.json", f"entry {place}", "a protocol", str(error)) from None
    return tuple(found)


def protocols_for(root: str, dataset: str, source: Source) -> tuple[SplitProtocol, ...]:
    """Protocols of a set, the default first: those of its folder, else published ones of the set, else the format's.

    Raises:
        SkeletonFormatError: as `side_protocols`.
    """
    own = side_protocols(root)
    if own:
        return own
    return protocols_of(dataset if protocols_of(dataset) != protocols_of("") else source.name)
