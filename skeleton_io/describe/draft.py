"""Unknown files -> a drafted definition for the source `arrays`, each guess with its reason, and what it reads.

Looks at a few files. Says where it guessed ("CHECK"), decides nothing for good: the YAML is the user's to correct.
Draws nothing; `pipelines.figures.joint_picture` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from skeleton_io import storage, strict_yaml
from skeleton_io.describe.body import (
    CHECK,
    Guess,
    guess_coordinates,
    guess_handedness,
    guess_missing,
    guess_topology,
    guess_tracking_states,
    guess_units,
    guess_up,
    present_frames,
)
from skeleton_io.describe.files import Naming, guess_naming, list_file_sets
from skeleton_io.describe.layout import Layout, guess_layouts, measure
from skeleton_io.describe.names import link_named_joints, name_joints
from skeleton_io.describe.tables import read_tables
from skeleton_io.describe.trees import Reading, read_trees
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import TOPOLOGIES
from skeleton_io.record.topology import Topology
from skeleton_io.sources.arrays.content import SUFFIXES, TABLES, open_content
from skeleton_io.sources.arrays.definition import ArraysDefinition, Kind, Read
from skeleton_io.sources.arrays.loading import decode
from skeleton_io.sources.arrays.source import source_from
from skeleton_io.sources.shared.files import Item, SourceFile
from skeleton_io.sources.shared.side_files import SideInfo

_MOST_READ = 8
"""Files read for a draft: what varies shows in a few, and the folder may be remote."""
_NOTHING = "no array of frames with 5 to 150 joints of 2 to 7 numbers each that move like a body, in small steps"
_ORDER = ("files", "read", "columns", "rows", "clips", "layout", "persons", "coordinates", "topology", "joints")
_ORDER += ("units", "image_size", "axes", "handedness", "fps", "time", "missing", "label", "subject", "view")
_ORDER += ("repetition", "segments")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A definition and what it makes of the files.

    Attributes:
        text: the YAML, with a reason for each field.
        fields: field -> value and reason.
        clips: what the definition reads from the files looked at.
        errors: what it does not read.
        files: how many files its pattern takes.
        files_read: how many of them were read.
    """

    text: str
    fields: dict[str, Guess]
    definition: ArraysDefinition
    clips: tuple[SkeletonSequence, ...]
    errors: tuple[SkeletonFormatError, ...]
    files: int
    files_read: int

    @property
    def checks(self) -> list[str]:
        """Fields that are weak guesses."""
        return [name for name, guess in self.fields.items() if guess.reason.startswith(CHECK)]


def describe(root: str, paths: Sequence[str] = ()) -> Draft:
    """Drafts a definition.

    Args:
        root: folder or URI.
        paths: files in it to look at; empty: those of the most frequent readable suffix.

    Raises:
        SkeletonFormatError: no file of a readable kind, or none with anything like a skeleton in it.
    """
    sets = list_file_sets(list(paths) or storage.list_files(root))
    if not sets:
        raise SkeletonFormatError(root, "files", f"files of a kind among {', '.join(SUFFIXES)}", "none")
    failures: list[SkeletonFormatError] = []
    for suffix, group in sets:
        try:
            return _draft(root, SUFFIXES[suffix], group)
        except SkeletonFormatError as error:
            failures.append(error)
    raise failures[0]


def _draft(root: str, kind: Kind, paths: list[str]) -> Draft:
    # Spread over the set: neighbours in a listing are often takes of one motion.
    step = max(1, len(paths) // _MOST_READ)
    sample = [_file(root, path) for path in paths[::step][:_MOST_READ]]
    readings, _files, failures = _readings(kind, sample)
    best = _best(readings)
    if best is None:
        reasons = "; ".join(failures) or _NOTHING
        raise SkeletonFormatError(paths[0], "whole file", "joints over time", reasons[:300])
    fields = _fields(guess_naming(paths), *best)
    text = _yaml(fields, len(paths))
    definition = decode(strict_yaml.parse(text), "draft")
    clips, errors = _read_clips(definition, root, [file.item.path for file in sample])
    return Draft(
        text=text,
        fields=fields,
        definition=definition,
        clips=tuple(clips),
        errors=tuple(errors),
        files=len(paths),
        files_read=len(sample),
    )


def _file(root: str, path: str) -> SourceFile:
    source = Source(uri=path, sha256="", reader="arrays", reader_version=0)
    data = storage.read_bytes(storage.join(root, path))
    item = Item(id=path, path=path)
    return SourceFile(item=item, dataset="draft", data=data, source=source, licence=None, side=SideInfo())


def _readings(kind: Kind, files: list[SourceFile]) -> tuple[list[Reading], list[SourceFile], list[str]]:
    """Readings, the files that could be decoded, and why the others could not."""
    good: list[SourceFile] = []
    contents: list[Any] = []
    failures: list[str] = []
    shape: tuple[Any, ...] = ()
    for file in files:
        try:
            content = None if kind in TABLES else open_content(file, Read(kind=kind))
            if kind in TABLES:
                sample = read_tables([file], kind)
                if good and sample and shape and _shape(sample) != shape:
                    failures.append(f"{file.item.path}: other columns than {good[0].item.path}")
                    continue
                shape = shape or _shape(sample)
        except SkeletonFormatError as error:
            failures.append(str(error))
            continue
        good.append(file)
        contents.append(content)
    if not good:
        return [], files, failures
    return (read_tables(good, kind) if kind in TABLES else read_trees(good, contents)), good, failures


def _shape(sample: Sequence[Reading]) -> tuple[Any, ...]:
    """What tables must share to be of one layout."""
    return tuple((reading.names, reading.arrays[0].shape[1:]) for reading in sample)


def _best(readings: Sequence[Reading]) -> tuple[Reading, Layout] | None:
    """The reading and layout that look most like a body."""
    ranking: list[tuple[float, Reading, Layout]] = []
    for reading in readings:
        if reading.fixed:
            measures = [measure(array[:120, 0, :, :3]) for array in reading.arrays]
            smooth, rigid, ordered = np.median(np.array([m for m in measures if m] or [(1.0, 1.0, 1.0)]), axis=0)
            _, persons, joints, numbers = reading.arrays[0].shape
            layout = Layout(
                text="T, P*J*C",
                joints=joints,
                numbers=numbers,
                persons=persons,
                clips=reading.arrays,
                smooth=float(smooth),
                rigid=float(rigid),
                ordered=float(ordered),
            )
            ranking.append((layout.cost - reading.bonus, reading, layout))
            continue
        for layout in guess_layouts(reading.arrays, len(reading.names), len(reading.axes))[:1]:
            ranking.append((layout.cost - reading.bonus, reading, layout))
    if not ranking:
        return None
    _, reading, layout = min(ranking, key=lambda entry: entry[0])
    return reading, layout


def _fields(names: Naming, reading: Reading, layout: Layout) -> dict[str, Guess]:
    """All fields of the definition with their reasons."""
    fields = {"files": Guess(names.pattern, names.reason), **names.fields, **reading.fields}
    fields |= {name: guess for name, guess in names.fields.items() if name not in reading.fields}
    by_rows = "rows" in reading.fields
    if not reading.fixed:
        what = f"a joint moves {layout.smooth:.1%} of the figure per frame, neighbours keep their distance to "
        fields["layout"] = Guess(layout.text, f"sizes {reading.arrays[0].shape}: {what}{layout.rigid:.1%}")
        if "P*" in layout.text:
            fields["persons"] = Guess(layout.persons, "the parts of a row are two figures with the same proportions")
    elif by_rows:
        one = "joint" in fields["rows"].value
        fields["layout"] = Guess("T, C" if one else "T, J*C", "rows are " + ("joints" if one else "persons"))
    axes = reading.axes
    fields["coordinates"] = Guess(axes, "their names") if axes else guess_coordinates(layout.clips, layout.numbers)
    values = fields["coordinates"].value
    states = guess_tracking_states(layout.clips, values)
    if states is not None:
        fields["confidence"] = states
    size = 3 if "z" in values else 2
    frames = present_frames(layout.clips, layout.numbers)
    topology = _guess_joints(fields, reading, frames, size)
    up = guess_up(frames, topology, size)
    fields["units"], image = guess_units(frames, up.value, size)
    if image is not None:
        fields["image_size"] = image
    _axes(fields, up, frames, topology, size)
    if "time" not in fields or fields["time"].value.get("unit") == "frames":
        fields.setdefault("fps", Guess(30, f"{CHECK}nothing in the files says it; 30 is the most frequent rate"))
    fields["missing"] = guess_missing(layout.clips, layout.numbers)
    return fields


def _guess_joints(fields: dict[str, Guess], reading: Reading, frames: np.ndarray, size: int) -> Topology | None:
    """Fills in `topology`; the topology where left and right are known."""
    if not reading.names:
        fields["topology"], topology = guess_topology(frames, size)
        return topology
    names = name_joints(reading.names)
    for topology in sorted(TOPOLOGIES.values(), key=lambda topology: topology.joints != tuple(names)):
        if sorted(topology.joints) == sorted(names):
            fields["topology"] = Guess(topology.name, "the names are its joints")
            if topology.joints != tuple(names):
                fields["joints"] = Guess(names, "in the file's order")
            return topology
    bones, odd = link_named_joints(names, frames[..., :size])
    weak = f"{CHECK}no meaning known for {', '.join(odd[:4])}, which hang on what stays close; " if odd else ""
    reason = "names from the file, bones by anatomy"
    own = {"joints": names, "bones": [list(bone) for bone in bones]}
    fields["topology"] = Guess(own, weak + reason)
    return Topology(name="own", joints=tuple(names), bones=tuple(bones))


def _axes(fields: dict[str, Guess], up: Guess, frames: np.ndarray, topology: Topology | None, size: int) -> None:
    """`axes` and `handedness`, where they are not the record's own."""
    if size == 2:
        if up.value != "-y":
            fields["axes"] = Guess({"up": up.value}, up.reason)
        return
    hand = guess_handedness(frames, topology, up.value)
    if hand.value == "left":
        fields["handedness"] = hand
    if up.value != "y" or hand.value == "left":
        fields["axes"] = Guess({"up": up.value}, up.reason)
    else:
        weak = CHECK if CHECK in up.reason + hand.reason else ""
        reasons = f"{up.reason}; {hand.reason}".replace(CHECK, "")
        fields["axes"] = Guess(None, f"{weak}up is y, as in the record ({reasons})")


def _yaml(fields: dict[str, Guess], files: int) -> str:
    """The draft as text: a comment with the reason above each field."""
    lines = [f"# Drafted from {files} files. Each line says why; look at CHECK first, and at the picture."]
    for name in [n for n in _ORDER if n in fields] + sorted(set(fields) - set(_ORDER)):
        guess = fields[name]
        lines.append(f"# {name}: {guess.reason}")
        if guess.value in (None, {}, []):
            continue
        lines.append(_line(name, guess.value))
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=100).removesuffix("...\n").rstrip()
    return f"{name}: " + text.replace("\n", "\n  ")


def _read_clips(
    definition: ArraysDefinition, root: str, paths: list[str]
) -> tuple[list[SkeletonSequence], list[SkeletonFormatError]]:
    """What the definition reads from some files."""
    source = source_from(definition)
    sample = set(paths)
    clips: list[SkeletonSequence] = []
    errors: list[SkeletonFormatError] = []
    for item in source.list_items(root):
        if item.path not in sample:
            continue
        for result in source.stream(root, item, "draft"):
            if isinstance(result, SkeletonFormatError):
                errors.append(result)
            else:
                clips.append(result)
    return clips, errors
