"""Names -> formats, and what a set's folder brings along. A new format is one file, and one line in `READERS`.

`NAME=PATH` of the command line means: NAME is a source of the table, and names the set. `NAME:FORMAT=PATH` gives the
set a name of its own; FORMAT may be the YAML of an `arrays` definition. What all formats share is in `files`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import Protocol

from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.files import protocols_of
from skeleton_io.protocols.protocol import Protocol as SplitProtocol
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources import detection
from skeleton_io.sources.arrays.loading import from_json, load_definition
from skeleton_io.sources.arrays.source import source_from
from skeleton_io.sources.detection import Candidate
from skeleton_io.sources.shared.files import ClipOrError, FileSource, Item
from skeleton_io.sources.shared.side_files import read_side


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

    def stream(self, root: str, item: Item, dataset: str) -> Iterator[ClipOrError]:
        """Clips of one item, and an error for each that could not be read: at least one of either."""
        ...

    def read(self, root: str, item: Item, dataset: str) -> list[SkeletonSequence]:
        """All clips of one item, or SkeletonFormatError."""
        ...


# Named sets first: `detect_source` takes the first that fits, and a general format fits more.
READERS = (
    "depth.msr_action3d",
    "depth.utd_mhad",
    "depth.nw_ucla",
    "depth.sbu",
    "mocap.bandai_namco_1",
    "video.jhmdb",
    "mocap.sfinge3d",
    "mocap.berkeley_mhad",
    "depth.msrc12",
    "depth.kimore",
    "depth.pku_mmd",
    "video.openpose18_rows",
    "depth.ntu",
    "video.pyskl",
    "video.openpose",
    "video.kinetics_skeleton",
    "video.mediapipe",
    "mocap.bvh",
    "mocap.asf_amc",
    "mocap.c3d",
    "mocap.amass",
    "mocap.human36m",
    "mocap.humanml3d",
    "mocap.texts_only",  # after humanml3d: texts beside motions belong to the motions
    "mocap.deepmimic",
    "video.coco17",
)
"""Modules with a `SOURCE`, which is all that a format needs: one file, and one line here."""


def _load(module: str) -> FileSource:
    return import_module(f"{__package__}.{module}").SOURCE


SOURCES: dict[str, Source] = {source.name: source for source in map(_load, READERS)}
"""Name -> format, in the order of `READERS`. A program may put formats of its own in."""


def split_name(spec: str) -> tuple[str, str]:
    """NAME, NAME:FORMAT, my.yaml or NAME:my.yaml -> (name, format or definition); the second may be empty.

    Raises:
        ValueError: a name with other characters than letters, digits, "_", "-" and ".".
    """
    match = re.fullmatch(r"([A-Za-z0-9][\w.-]*):(?!//)(.+)", spec, re.ASCII | re.DOTALL)
    dataset, format_name = match.groups() if match else ("", spec) if _is_definition(spec) else (spec, "")
    if dataset and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", dataset, re.ASCII):
        raise ValueError(f"{dataset!r} cannot name a set: use letters, digits, '_', '-' and '.'")
    return dataset, format_name


def _is_definition(text: str) -> bool:
    return text.endswith((".yaml", ".yml"))


def resolve(name: str) -> tuple[str, Source]:
    """NAME, NAME:FORMAT, my.yaml or NAME:my.yaml -> (name of the set, its source).

    Raises:
        ValueError: unknown format, a definition that cannot be read, or a name that cannot be one.
    """
    dataset, format_name = split_name(name)
    if _is_definition(format_name):
        if not storage.exists(format_name):
            raise ValueError(f"no definition at {format_name}")
        definition = load_definition(format_name)
        return split_name(dataset or definition.name)[0], source_from(definition)
    key = format_name or dataset
    if key not in SOURCES:
        if near := difflib.get_close_matches(key, SOURCES, n=1, cutoff=0.65):
            raise ValueError(f"no format {key!r}; did you mean {near[0]}? `skel formats` lists all")
        hint = "" if format_name else f"; for a set of your own write {dataset}:FORMAT or {dataset}:DEFINITION.yaml"
        raise ValueError(f"no format {key!r}; there is {', '.join(SOURCES)}{hint}")
    return dataset, SOURCES[key]


def reference(source: Source) -> str:
    """Text that `open_source` turns into the source again in another process: its name, or its whole definition."""
    return str(getattr(getattr(source, "parse", None), "definition", source.name))


@lru_cache(maxsize=32)
def open_source(reference: str) -> Source:
    """Inverse of `reference`.

    Raises:
        KeyError: no such format.
        SkeletonFormatError: no such definition.
    """
    if not reference.startswith("{"):
        return SOURCES[reference]
    return source_from(from_json(reference))


def candidates(root: str) -> list[Candidate]:
    """Formats of the table that read files of the folder, the likeliest first."""
    return detection.candidates(root, [source for source in SOURCES.values() if isinstance(source, FileSource)])


def detect_source(root: str) -> Source | None:
    """The likeliest format of a folder's files; None where no format reads one."""
    ranking = candidates(root)
    return ranking[0].source if ranking else None


def side_protocols(root: str) -> tuple[SplitProtocol, ...]:
    """Protocols from protocols.json in a set's folder ([{name, field, train, test}, ...]); empty without the file.

    Raises:
        SkeletonFormatError: not JSON, or a rule that is not understood.
    """
    rules = []
    for place, entry in enumerate(read_side(root, "protocols.json", [])):
        try:
            rules.append(SplitProtocol.from_json(entry))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SkeletonFormatError("protocols.json", f"entry {place}", "a protocol", str(error)) from None
    return tuple(rules)


def protocols_for(root: str, dataset: str, source: Source) -> tuple[SplitProtocol, ...]:
    """Protocols of a set, the default first: of its folder, else in its files, else published for set or format.

    Raises:
        SkeletonFormatError: as `side_protocols`.
    """
    own = side_protocols(root)
    if own:
        return own
    if isinstance(source, FileSource) and source.protocols is not None:
        rules = source.protocols(root, source.list_items(root))
        if rules:
            return rules
    return protocols_of(dataset if protocols_of(dataset) != protocols_of("") else source.name)
