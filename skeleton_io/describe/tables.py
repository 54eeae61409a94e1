"""csv, txt and parquet files of unknown columns -> readings: header, separator, which columns hold what.

Knows names and rows, not axes of joints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skeleton_io.describe.body import CHECK, Guess
from skeleton_io.describe.trees import TEXT_NAMES, TIMES, Reading, guess_time_unit
from skeleton_io.sources.arrays.content import Table, open_content
from skeleton_io.sources.arrays.definition import Read
from skeleton_io.sources.shared.files import SourceFile

_AXIS = r"(?P<axis>[xyzXYZ]|confidence)"
_PERSON = r"(?P<person>(?:[pP]|[pP]erson|[bB]ody)_?\d+)[._ :-]"
# Headers as people write them: Hips.x, x_hips, HipsX, hipsx, x1. The strictest come first.
_PATTERNS = (
    rf"(?P<joint>.+)[._ :-]+{_AXIS}",
    rf"{_AXIS}[._ :-]+(?P<joint>.+)",
    r"(?P<joint>.*[a-z0-9])(?P<axis>[XYZ])",
    r"(?P<joint>.+?)(?P<axis>[xyz])",
    r"(?P<axis>[xyz])(?P<joint>\d+)",
)
_COLUMNS = {
    "frame": ("frame", "frame_id", "frame_number", "frame_idx", "frameid", "frame_index", "framenum"),
    "person": ("person", "person_id", "track", "track_id", "body", "body_id", "bodyid", "id"),
    "joint": ("joint", "joint_id", "joint_name", "landmark", "keypoint", "keypoint_id", "landmark_id", "part"),
    "clip": ("clip", "clip_id", "video", "video_id", "sequence", "sequence_id", "seq", "sample", "sample_id"),
}
_FEWEST = 5
"""Joints; fewer columns of one form are something else than a skeleton."""
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|nan|NaN|", re.ASCII)


def sniff_text(file: SourceFile, kind: str) -> tuple[Read, str]:
    """Separator, header and lines to skip, with the reason."""
    lines = [line for line in file.data[:65536].decode("utf-8-sig", "replace").splitlines()[:60] if line.strip()]
    if not lines:
        raise file.error("whole file", "rows", "none")
    counts = {sep: [line.count(sep) for line in lines[1:40] or lines] for sep in (",", ";", "\t")}
    separator = max(counts, key=lambda sep: min(counts[sep]))
    if min(counts[separator]) == 0:
        separator = " "
    cells = [line.split() if separator == " " else line.rstrip().rstrip(separator).split(separator) for line in lines]
    # The most frequent width is the table; lines of another width before it are a preamble.
    usual = max({len(row) for row in cells}, key=[len(row) for row in cells].count)
    skip = 0
    while skip < len(cells) - 1 and (len(cells[skip]) != usual or lines[skip].lstrip().startswith(("#", "%", "//"))):
        skip += 1
    header = not all(_NUMBER.fullmatch(cell.strip().strip('"')) for cell in cells[skip])
    # Text in a column of the second line too: then text is what that column holds.
    if header and len(cells) > skip + 1:
        texts = [[not _NUMBER.fullmatch(c.strip()) for c in row] for row in cells[skip : skip + 2]]
        header = texts[0] != texts[1]
    default = "," if kind == "csv" else " "
    words = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "white space"}[separator]
    reason = f"{usual} columns between {words}, {'a' if header else 'no'} header"
    return Read(separator="" if separator == default else separator, header=header, skip_lines=skip), reason


def read_tables(files: Sequence[SourceFile], kind: str) -> list[Reading]:
    """Readings of tables, for which the files are decoded here."""
    fields: dict[str, Guess] = {}
    read = Read()
    if kind != "parquet":
        read, reason = sniff_text(files[0], kind)
        settings = {k: v for k, v in vars(read).items() if v and k != "kind"}
        fields["read"] = Guess(settings, reason)
    contents = [open_content(file, replace(read, kind=kind)) for file in files]  # type: ignore[arg-type]
    tables = [table for table in contents if isinstance(table, Table)]
    if read.header or kind == "parquet":
        return _read_with_header(tables, fields)
    return _read_without_header(tables, fields)


def _place(names: Sequence[str], spellings: Sequence[str]) -> str:
    return next((name for name in names if name.strip().casefold().replace(" ", "_") in spellings), "")


def _read_with_header(tables: Sequence[Table], fields: dict[str, Guess]) -> list[Reading]:
    names = tables[0].names
    roles = {role: _place(names, spellings) for role, spellings in _COLUMNS.items()}
    first = tables[0]
    if roles["clip"]:
        fields["clips"] = Guess({"column": roles["clip"]}, "rows with the same value are a clip")
        cells = first.texts(first.place(roles["clip"]))
        groups = [np.array([i for i, c in enumerate(cells) if c == value]) for value in list(dict.fromkeys(cells))[:6]]
        tables = [first.rows(rows) for rows in groups]
        first = tables[0]
    readings = []
    for text in (*(_PERSON + p for p in _PATTERNS), *_PATTERNS):
        reading = _by_pattern(tables, text, fields, roles)
        if reading is not None:
            readings.append(reading)
            break
    if not readings and roles["joint"]:
        readings += _one_joint_a_row(tables, fields, roles)
    if not readings:
        numeric = [n for n in names if n not in roles.values() and _is_number(first, n)]
        numeric = [n for n in numeric if n.casefold() not in TIMES and not _text_role(n)]
        arrays = tuple(t.numbers([t.place(n) for n in numeric]) for t in tables)
        places = [first.place(n) for n in numeric]
        whole = places == list(range(places[0], places[-1] + 1)) if places else False
        select: Any = f"{places[0]}:{places[-1] + 1}" if whole else numeric
        if places:
            columns = Guess({"select": select}, f"{CHECK}the names of the columns tell no joints")
            readings.append(Reading(fields={**fields, **_beside(first, roles), "columns": columns}, arrays=arrays))
    return readings


def _is_number(table: Table, name: str) -> bool:
    kind = str(table.columns.column(table.names.index(name)).type)
    return kind.startswith(("int", "uint", "float", "double", "halffloat"))


def _text_role(name: str) -> str:
    return next((role for role, names in TEXT_NAMES.items() if name.strip().casefold() in names), "")


def _by_pattern(tables: Sequence[Table], text: str, fields: dict[str, Guess], roles: dict[str, str]) -> Reading | None:
    """Columns such as Hips.x, whose names the pattern takes apart."""
    pattern = re.compile(text)
    matches = {n: m for n in tables[0].names if n not in roles.values() and (m := pattern.fullmatch(n))}
    people = dict.fromkeys(m.groupdict().get("person") or "" for m in matches.values())
    joints: dict[str, str] = {}
    axes_of_joint: dict[tuple[str, str], list[str]] = {}
    for m in matches.values():
        joints.setdefault(m["joint"].casefold(), m["joint"])
        axes_of_joint.setdefault((m.groupdict().get("person") or "", m["joint"].casefold()), []).append(
            m["axis"].casefold()
        )
    kinds = {tuple(axes) for axes in axes_of_joint.values()}
    if len(joints) < _FEWEST or len(kinds) != 1 or len(axes_of_joint) != len(joints) * len(people):
        return None
    axes = next(iter(kinds))
    if not {"x", "y"} <= set(axes) or len(set(axes)) != len(axes):
        return None
    by_key = {((m.groupdict().get("person") or ""), m["joint"].casefold(), m["axis"].casefold()): n for n, m in matches.items()}  # fmt: skip  # noqa: E501
    names = [by_key[p, j, a] for p in people for j in joints for a in axes]
    arrays = []
    for table in tables:
        spelling = {n.casefold(): n for n in table.names}  # headers written by hand mix cases
        numbers = table.numbers([table.place(spelling.get(n.casefold(), n)) for n in names])
        arrays.append(numbers.reshape(len(numbers), len(people), len(joints), len(axes)))
    reason = f"{len(joints)} joints with {', '.join(axes)} in the header" + (
        f", {len(people)} persons" if len(people) > 1 else ""
    )
    columns = {"pattern": text, "names": list(joints.values())}
    beside = _beside(tables[0], roles)
    if roles["person"] and roles["frame"]:
        beside.pop("time", None)
        rows = {"frame": roles["frame"], "person": roles["person"]}
        beside["rows"] = Guess(rows, "a row is a person in a frame")
        arrays = [a[_rows_of_first(t, roles["person"])] for a, t in zip(arrays, tables, strict=True)]
    return Reading(
        fields={**fields, **beside, "columns": Guess(columns, reason)},
        arrays=tuple(arrays),
        fixed=True,
        names=tuple(joints.values()),
        axes=axes,
        bonus=5,
    )


def _rows_of_first(table: Table, column: str) -> np.ndarray:
    cells = table.texts(table.place(column))
    return np.array([cell == cells[0] for cell in cells])


def _one_joint_a_row(tables: Sequence[Table], fields: dict[str, Guess], roles: dict[str, str]) -> list[Reading]:
    """Tables with a row for each joint: frame, joint, x, y, z."""
    names = tables[0].names
    places = [name for axis in ("x", "y", "z") for name in names if name.casefold() == axis]
    if len(places) < 2 or not roles["frame"]:
        return []
    arrays = []
    joint_names = list(dict.fromkeys(tables[0].texts(tables[0].place(roles["joint"]))))
    if all(name.isdigit() for name in joint_names):
        joint_names = [str(i) for i in range(max(map(int, joint_names)) + 1)]
    for table in tables:
        frames = table.texts(table.place(roles["frame"]))
        order = {value: i for i, value in enumerate(dict.fromkeys(frames))}
        joint = {value: i for i, value in enumerate(joint_names)}
        whole = np.full((len(order), 1, len(joint_names), len(places)), np.nan)
        who = table.texts(table.place(roles["person"])) if roles["person"] else [""] * len(frames)
        numbers = table.numbers([table.place(p) for p in places])
        parts = table.texts(table.place(roles["joint"]))
        for row, (frame, part) in enumerate(zip(frames, parts, strict=True)):
            if who[row] == who[0] and part in joint:
                whole[order[frame], 0, joint[part]] = numbers[row]
        arrays.append(whole)
    rows = {key: roles[key] for key in ("frame", "person", "joint") if roles[key]}
    numbered = all(name.isdigit() for name in joint_names)
    columns: dict[str, Any] = {"select": places} | ({} if numbered else {"names": joint_names})
    beside = _beside(tables[0], roles)
    beside.pop("time", None)
    all_fields = {
        **fields,
        **beside,
        "rows": Guess(rows, "a row is a joint"),
        "columns": Guess(columns, "its coordinates"),
    }
    axes = tuple(p.casefold() for p in places)
    return [
        Reading(
            fields=all_fields, arrays=tuple(arrays), fixed=True, names=() if numbered else tuple(joint_names), axes=axes
        )
    ]


def _beside(table: Table, roles: dict[str, str]) -> dict[str, Guess]:
    """Time, label, subject, view and segments from other columns."""
    fields: dict[str, Guess] = {}
    for name in table.names:
        if name.strip().casefold() in TIMES and _is_number(table, name) and "time" not in fields:
            unit = guess_time_unit(name.casefold(), table.numbers([table.place(name)])[:, 0])
            if unit is not None:
                fields["time"] = Guess({"column": name, "unit": unit.value}, unit.reason)
        role = _text_role(name)
        if role and name not in roles.values():
            values = set(table.texts(table.place(name)))
            if len(values) == 1:
                fields[role] = Guess({"column": name}, f"{next(iter(values))[:40]!r} in every row")
            elif role == "label":
                fields["segments"] = Guess({"column": name}, f"{len(values)} values that change within a clip")
    if roles["frame"] and "time" not in fields:
        unit = guess_time_unit("frame", table.numbers([table.place(roles["frame"])])[:, 0])
        if unit is not None:
            fields["time"] = Guess({"column": roles["frame"], "unit": "frames"}, unit.reason)
    return fields


def _read_without_header(tables: Sequence[Table], fields: dict[str, Guess]) -> list[Reading]:
    """Tables without header: all columns, or those after a growing first one, or those before a last one of codes."""
    width = len(tables[0].names)
    wholes = [table.numbers(range(width)) for table in tables if len(table.names) == width]
    readings = [Reading(fields=fields, arrays=tuple(wholes))]
    units = [guess_time_unit("", whole[:, 0]) for whole in wholes]
    if all(unit is not None for unit in units) and units[0] is not None and min(len(w) for w in wholes) > 2:
        time = Guess({"column": 0, "unit": units[0].value}, f"the first column: {units[0].reason}")
        columns = Guess({"select": "1:"}, "the first column is the time")
        readings.append(
            Reading(
                fields={**fields, "time": time, "columns": columns}, arrays=tuple(w[:, 1:] for w in wholes), bonus=5
            )
        )
    if all((w[:, -1] == w[0, -1]).all() and w[0, -1] == int(w[0, -1]) for w in wholes if np.isfinite(w[0, -1])):
        label = Guess({"column": width - 1}, f"{CHECK}the last column has one whole number per file")
        columns = Guess({"select": f"0:{width - 1}"}, "all but the last")
        readings.append(
            Reading(fields={**fields, "label": label, "columns": columns}, arrays=tuple(w[:, :-1] for w in wholes))
        )
    return readings
