"""A YAML that describes files of any layout -> a checked `ArraysDefinition`, and back to plain JSON text.

The one place of skeleton_io that knows YAML and pydantic. Reads no data file; `arrays` does, by what stands here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from skeleton_io.record.topologies import TOPOLOGIES
from skeleton_io.record.topology import Topology

STRICT: dict[str, Any] = {"extra": "forbid"}
SKIP = "_"
"""Stands for a joint or a number per joint that is read over."""
Kind = Literal["npy", "npz", "csv", "txt", "json", "mat", "parquet"]
Direction = Literal[
    "up", "down", "image_left", "image_right", "away", "towards", "left", "right", "forward", "backward"
]  # fmt: skip
FileAxis = Literal["x", "y", "z", "-x", "-y", "-z"]
Column = int | str


@dataclass(frozen=True, kw_only=True)
class Read:
    """How the file's bytes become an array, a tree of named values, or a table."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Kind | None = None
    """None: by the file's suffix."""
    key: str = ""
    """npz member, mat variable, or a path such as `skeletons`, `frames[*].joints`, `frames[*].{joint}.{axis}`. Each
    `[*]`, `{joint}` and `{axis}` is an axis of the array, in the order of the path. Empty: all of it (or the one
    array that a npz or mat file holds)."""
    joint_names: tuple[str, ...] = ()
    """What {joint} stands for, in the order of `joints`; empty: the joints' own names."""
    axis_names: tuple[str, ...] = ()
    """What {axis} stands for, in the order of `coordinates`; empty: their own names."""
    separator: str = ""
    """Between columns of text; empty: a comma in csv, white space in txt."""
    header: bool = False
    """The first line of text names the columns."""
    skip_lines: int = 0
    """Lines of text before the header or the first row."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of a table hold coordinates: exactly one of the two."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    select: str | tuple[Column, ...] = ""
    """Positions from 0 as "1:" or "1:91" or a list of positions and names; the layout says what they are."""
    pattern: str = ""
    """Regular expression for the names, with the groups `joint` and `axis`, and `person` where there are several.
    Axis names are those of `coordinates`, whatever their case."""
    names: tuple[str, ...] = ()
    """The joints' names in the header (with a pattern) or in the column `rows.joint`, in the order of `joints`; empty:
    as they come in the header, or the joints' own."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Columns that say what a row is, where rows are not simply the frames of one person."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    frame: Column | None = None
    """Frame number."""
    person: Column | None = None
    """Identity of the person."""
    joint: Column | None = None
    """Number (from 0) or name of the joint: a row is one joint."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """How one file holds several clips: one of the three, or the axis N in the layout."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    column: Column | None = None
    """Rows with the same value are one clip."""
    names: str = ""
    """Regular expression for npz members, mat variables or keys of a JSON object: each is a clip, its name the id."""
    list: str = ""
    """Path of a JSON list: each entry is a clip, and `read.key` is a path within the entry."""
    lengths: str = ""
    """With axis N: key of the array with each clip's number of frames, where clips are padded."""


@dataclass(frozen=True, kw_only=True)
class From:
    """Where a value of a clip comes from: exactly one of constant, group, key, column and file."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    constant: str = ""
    group: str = ""
    """Named group of `files` (or of `clips.names`)."""
    key: str = ""
    """Path in the file; with several clips an array with one value for each."""
    column: Column | None = None
    """Column with the same value in all rows of a clip (the most frequent one is taken)."""
    file: str = ""
    """Side file: path from the set's folder, with {id}, {stem}, {folder} and named groups filled in. JSON: an object
    id -> value; csv: see the next two; any other: its whole text."""
    file_id: Column = 0
    """csv: column with the clip's id, file name or stem. A table of one row serves every clip."""
    file_value: Column = 1
    """csv: column with the value."""
    names: dict[int | str, str] | tuple[str, ...] = ()
    """Value -> text; a list names 1, 2, 3, ... A value without a name is an error."""
    number: bool = False
    """Drop leading zeros: "007" becomes "7"."""


@dataclass(frozen=True, kw_only=True)
class Time:
    """When a frame was taken: a column, or the path of an array."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    column: Column | None = None
    key: str = ""
    unit: Literal["s", "ms", "us", "100ns", "ns", "frames"] = "s"
    """frames: frame numbers, which need `fps`."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What stands for a joint that was not seen, in the file's own numbers. NaN always does."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    zero_joint: bool = False
    """All coordinates of the joint are exactly 0."""
    values: tuple[float, ...] = ()
    """A joint with one of these numbers as a coordinate."""
    confidence_at_most: float | None = None
    """A joint whose confidence, as the file has it, is not above this."""


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How confidence is read. Without `key` it is the entry `confidence` of `coordinates`, if that is there."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    key: str = ""
    """Path of an array of its own."""
    layout: str = ""
    """Axes of that array."""
    full: float = 1.0
    """The file's number for certain; values are divided by it and cut to [0, 1]."""
    levels: dict[int | float | str, float] | None = None
    """The file's number -> confidence, for tracking states."""


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Labelled intervals: a column with a label per frame, a path, or a side file with start, end and label."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    column: Column | None = None
    """Consecutive rows with the same text; empty, "0" and "none" are no segment."""
    key: str = ""
    """Path of a list of [start, end, label]."""
    file: str = ""
    """csv side file, as `From.file`, with the columns below."""
    start: Column = 0
    end: Column = 1
    label: Column = 2
    unit: Literal["s", "frames"] = "s"
    names: dict[int | str, str] | tuple[str, ...] = ()
    """As `From.names`."""


@dataclass(frozen=True, kw_only=True)
class Joints:
    """A topology of one's own."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    joints: tuple[str, ...]
    name: str = "own"
    bones: tuple[tuple[int | str, int | str], ...] = ()
    """(parent, child) as names or positions from 0."""


@dataclass(frozen=True, kw_only=True)
class ArraysDefinition:
    """Files of one layout. See docs/formats/arrays.md, which explains each field with examples."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    files: str
    """Regular expression for the whole path of a file within the set's folder. Named groups `label`, `subject`, `view`,
    `setup`, `repetition` fill the clip's fields; `id` names it (otherwise the path does)."""
    topology: str | Joints
    """A named one (ntu25, coco17, ...), a JSON file beside the YAML, or joints and bones."""
    name: str = ""
    """Of the set; empty: the YAML's file name."""
    licence: str | None = None
    read: Read = Read()
    layout: str = "T, J, C"
    """Axes of the array in the file's order: T frames, P persons, J joints, C numbers per joint, N clips. `T, P*J*C` is
    an axis that holds several, the last one running fastest."""
    persons: int = 0
    """How many, where the layout has P within a product; 0: it follows from the sizes."""
    columns: Columns | None = None
    """Of a table; None: all."""
    rows: Rows | None = None
    clips: Clips | None = None
    joints: tuple[str, ...] = ()
    """Joint names in the file's order, "_" for one to skip; empty: the topology's."""
    coordinates: tuple[str, ...] = ("x", "y", "z")
    """What the numbers of a joint are, in order: x, y, z, confidence, and "_" for one to skip."""
    units: Literal["m", "cm", "mm", "inch", "pixels", "normalised"] | float | tuple[float, ...] = "m"
    """A number is metres per unit of the file; a list has one per coordinate (a sign turns it round). normalised:
    shares of the image, or a figure without a size. With `image_size`, shares become pixels."""
    offset: tuple[float, ...] = ()
    """Metres (or pixels) added to x, y, z after the units, before the axes."""
    axes: dict[Direction, FileAxis] | None = None
    """Direction -> file axis, for example {up: z, forward: -y}. Sensor: up, image_left, away. World: up, left,
    forward. What is left out follows. None: as the record (sensor or world), or image axes (x right, y down) in 2D."""
    handedness: Literal["right", "left"] = "right"
    """Of the file's x, y, z; completes `axes`."""
    image_size: tuple[int, int] | tuple[str, str] | None = None
    """(width, height) in pixels, or two paths in the file."""
    fps: float | From | None = None
    """Frames per second; may be left out with a time column in seconds."""
    time: Time | None = None
    missing: Missing = Missing()
    confidence: Confidence = Confidence()
    person_order: Literal["activity", "file"] = "activity"
    """Most active first, or as the file has them."""
    label: From | None = None
    subject: From | None = None
    view: From | None = None
    setup: From | None = None
    repetition: From | None = None
    captions: tuple[From, ...] = ()
    segments: Segments | None = None

    def to_json(self) -> str:
        """Plain text that `from_json` reads back; equal definitions give equal text."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def froms(self) -> list[From]:
        """Every `From` of the definition."""
        sources = [self.label, self.subject, self.view, self.setup, self.repetition, *self.captions]
        sources += [] if isinstance(self.fps, float) else [self.fps]
        return [source for source in sources if source is not None]

    @property
    def skeleton(self) -> Topology:
        """The topology of the record.

        Raises:
            ValueError: an unknown name, or bones that name no joint.
        """
        if isinstance(self.topology, str):
            if self.topology not in TOPOLOGIES:
                raise ValueError(f"topology: no {self.topology!r}; there is {', '.join(TOPOLOGIES)}, or a .json file")
            return TOPOLOGIES[self.topology]
        own = self.topology
        place = {joint: i for i, joint in enumerate(own.joints)}
        unknown = [end for bone in own.bones for end in bone if isinstance(end, str) and end not in place]
        if unknown:
            raise ValueError(f"topology.bones: {unknown[0]!r} is none of the joints")
        bones = [tuple(place[end] if isinstance(end, str) else end for end in bone) for bone in own.bones]
        return Topology(name=own.name, joints=own.joints, bones=tuple((a, b) for a, b in bones))
