"""Csv of MediaPipe Pose landmarks -> frames of (33, 4) x, y, z, visibility. Two layouts, told by the header.

- wide, a row a frame: x1, y1, z1, v1 ... x33, y33, z33, v33; or counted from 0; or nose_x, nose_y, nose_z,
  nose_visibility and so on with MediaPipe's names. `class` or `label` beside them is the clip's label.
- long, a row a landmark: frame, landmark (number or name), x, y, z, visibility; `person` is optional.

`world` in any column's name says metres; else the numbers are parts of the image.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.topologies import MEDIAPIPE33
from skeleton_io.sources.shared.files import SourceFile

_JOINTS = len(MEDIAPIPE33.joints)
_AXES = {"x": 0, "y": 1, "z": 2, "v": 3, "vis": 3, "visibility": 3}
_NUMBERED = re.compile(
    r"(?:world_?)?(x|y|z|v|vis|visibility)_?(\d{1,2})|(?:world_?)?(\d{1,2})_(x|y|z|v|vis|visibility)"
)
_NAMES = tuple(
    re.sub(r"^(left|right)_mouth$", r"mouth_\1", re.sub(r"_\d$", "", name)).replace("toes", "foot_index")
    for name in MEDIAPIPE33.joints
)
"""As MediaPipe writes them: mouth_left, left_pinky, left_thumb, left_foot_index."""
_LABELS = ("class", "label")
_MOST_FRAMES = 200_000
_MOST_PEOPLE = 256


@dataclass(frozen=True, kw_only=True)
class Table:
    """frame -> people of (33, 4), T, whether the numbers are metres, and the label where the table has one."""

    people: dict[int, list[NDArray[np.float64]]]
    count: int
    world: bool
    label: str | None


def read_table(file: SourceFile) -> Table:
    """The table of a csv file.

    Raises:
        SkeletonFormatError: other columns, a row of another length, no number, or several labels in one file.
    """
    try:
        rows = list(csv.reader(file.text().splitlines()))
    except csv.Error as error:
        raise file.error("whole file", "csv", str(error)) from None
    header = [column.strip().lower() for column in rows[0]]
    body = [(line, row) for line, row in enumerate(rows[1:], 2) if any(cell.strip() for cell in row)]
    for line, row in body:
        if len(row) != len(header):
            raise file.error(f"line {line}", f"{len(header)} columns", str(len(row)))
    if not body:
        raise file.error("whole file", "rows below the header", "none")
    if len(body) > _MOST_FRAMES * 4:
        raise file.error("whole file", f"at most {_MOST_FRAMES * 4} rows", str(len(body)))
    world = any("world" in column for column in header)
    label = _label(file, header, body)
    people, count = _long(file, header, body) if "landmark" in header else _wide(file, header, body)
    return Table(people=people, count=count, world=world, label=label)


def _label(file: SourceFile, header: list[str], body: list[tuple[int, list[str]]]) -> str | None:
    column = next((header.index(name) for name in _LABELS if name in header), None)
    if column is None:
        return None
    labels = sorted({row[column].strip() for _, row in body})
    if len(labels) > 1:
        # A table of labelled single frames: nothing says which rows are one recording.
        raise file.error(f"column {header[column]}", "one label: a file is a clip", ", ".join(labels)[:80])
    return labels[0] or None


def _wide(
    file: SourceFile, header: list[str], body: list[tuple[int, list[str]]]
) -> tuple[dict[int, list[NDArray[np.float64]]], int]:
    places = _columns(file, header)
    people = {}
    for frame, (line, row) in enumerate(body):
        points = np.full((_JOINTS, 4), np.nan)
        for column, (joint, axis) in places.items():
            points[joint, axis] = _number(file, row[column], f"line {line}, column {header[column][:40]}")
        people[frame] = [points]
    return people, len(body)


def _columns(file: SourceFile, header: list[str]) -> dict[int, tuple[int, int]]:
    """Column -> (landmark, axis)."""
    place_of_name = {
        f"{name}_{axis}": (joint, place) for joint, name in enumerate(_NAMES) for axis, place in _AXES.items()
    }
    place_of_column = {
        c: place_of_name[n]
        for c, n in ((c, n.removesuffix("_world")) for c, n in enumerate(header))
        if n in place_of_name
    }
    if not place_of_column:
        numbered = [(c, _NUMBERED.fullmatch(name)) for c, name in enumerate(header)]
        pairs = [(c, m.group(1) or m.group(4), int(m.group(2) or m.group(3))) for c, m in numbered if m]
        first = min((number for _, _, number in pairs), default=0)
        place_of_column = {c: (number - first, _AXES[axis]) for c, axis, number in pairs if number - first < _JOINTS}
    if len(set(place_of_column.values())) < len(place_of_column) or not {
        (j, a) for j in range(_JOINTS) for a in (0, 1)
    } <= set(place_of_column.values()):
        columns = ", ".join(header[:6])[:80]
        raise file.error("line 1", f"x and y of {_JOINTS} landmarks, once each", columns)
    return place_of_column


def _long(
    file: SourceFile, header: list[str], body: list[tuple[int, list[str]]]
) -> tuple[dict[int, list[NDArray[np.float64]]], int]:
    missing = [name for name in ("frame", "landmark", "x", "y") if name not in header]
    if missing:
        raise file.error("line 1", "columns frame, landmark, x, y, z, visibility", f"no {', '.join(missing)}")
    at = {name: column for column, name in enumerate(header)}
    numbers = {**{name: joint for joint, name in enumerate(_NAMES)}, **{str(j): j for j in range(_JOINTS)}}
    axes = [(at[name], place) for name, place in _AXES.items() if name in at]
    by_frame: dict[int, dict[str, NDArray[np.float64]]] = {}
    for line, row in body:
        frame, joint = row[at["frame"]].strip(), numbers.get(row[at["landmark"]].strip().lower())
        if not re.fullmatch(r"\d{1,9}", frame, re.ASCII) or joint is None:
            raise file.error(
                f"line {line}", "a frame number and a landmark", f"{frame[:20]}, {row[at['landmark']][:20]}"
            )
        who = row[at["person"]].strip() if "person" in at else ""
        people = by_frame.setdefault(int(frame), {})
        if who not in people and len(people) == _MOST_PEOPLE:
            raise file.error(f"line {line}", f"at most {_MOST_PEOPLE} people a frame", "more")
        points = people.setdefault(who, np.full((_JOINTS, 4), np.nan))
        for column, axis in axes:
            points[joint, axis] = _number(file, row[column], f"line {line}, column {header[column][:40]}")
    first, last = min(by_frame), max(by_frame)
    if last - first >= _MOST_FRAMES:
        raise file.error("column frame", f"a clip of less than {_MOST_FRAMES} frames", f"{first} to {last}")
    return {frame - first: _in_order(people) for frame, people in sorted(by_frame.items())}, last - first + 1


def _in_order(people: dict[str, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    def key(who: str) -> tuple[int, str]:
        return (int(who) if re.fullmatch(r"\d{1,9}", who, re.ASCII) else 1 << 30, who)

    return [people[who] for who in sorted(people, key=key)]


def _number(file: SourceFile, text: str, place: str) -> float:
    """A number; NaN for an empty cell."""
    if not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise file.error(place, "a number", repr(text[:40])) from None
