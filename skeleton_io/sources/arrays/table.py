"""A table and what its columns and rows mean -> (T, P, J, C) numbers of one clip.

Rows are frames, (frame, person) pairs or single joints; columns are found by position or by a pattern of their names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skeleton_io.sources.arrays.content import Table
from skeleton_io.sources.arrays.definition import SKIP, ArraysDefinition, Rows
from skeleton_io.sources.arrays.layout import unfold

_SPREAD = 20
"""Frame numbers may reach this many times as far as there are rows, before a table counts as broken."""


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Numbers of a clip as the file has them.

    Attributes:
        values: (T, P, J, C) float64, in the file's order of joints and coordinates.
        rows: (T,) row of the table that a frame begins with, -1 for a frame without; None where there is no table.
        persons: identities, where the file has them.
    """

    values: NDArray[np.float64]
    rows: NDArray[np.int64] | None = None
    persons: tuple[str, ...] = ()


def read_table(d: ArraysDefinition, table: Table, joints: tuple[str, ...]) -> list[Raw]:
    """The clips of a table that is already cut down to one clip: several only with the axis N.

    Args:
        d: the definition.
        table: its rows.
        joints: names in the file's order.

    Raises:
        SkeletonFormatError: a column that is not there or holds no numbers.
        ValueError: sizes that do not fit the layout.
    """
    sizes = {"J": len(joints), "C": len(d.coordinates)} | ({"P": d.persons} if d.persons else {})
    layout = d.layout
    if d.columns is not None and d.columns.pattern:
        places, persons = _by_name(d, table, joints)
        layout, sizes["P"] = "T, P*J*C", persons
    else:
        places = _by_position(d, table)
    if d.rows is not None and d.rows.joint is not None:
        return [
            _scatter(
                d.rows, table, table.numbers(places)[:, None, None, :], joints, d.columns.names if d.columns else ()
            )
        ]
    unfolded = unfold(table.numbers(places), layout, sizes)
    if d.rows is not None:
        if unfolded.shape[0] != 1 or unfolded.shape[1] != table.columns.num_rows:
            raise ValueError(f"one row for each frame and person, found the layout {layout}")
        return [_scatter(d.rows, table, unfolded[0], joints)]
    frames = unfolded.shape[1]
    rows = np.arange(frames) * (table.columns.num_rows // frames) if frames else np.arange(0)
    return [Raw(values=clip, rows=rows) for clip in unfolded]


def _by_position(d: ArraysDefinition, table: Table) -> list[int]:
    """Places of the selected columns; without a selection all that nothing else uses."""
    width = len(table.names)
    if d.columns is None:
        other_columns = {table.place(c) for c in _other_columns(d)}
        return [place for place in range(width) if place not in other_columns]
    if isinstance(d.columns.select, str):
        first, last = d.columns.select.split(":")
        return list(range(width))[int(first or 0) : int(last) if last else None]
    return [table.place(c) for c in d.columns.select]


def _other_columns(d: ArraysDefinition) -> list[int | str]:
    texts = [
        d.label,
        d.subject,
        d.view,
        d.setup,
        d.repetition,
        *d.captions,
        None if isinstance(d.fps, float) else d.fps,
    ]
    columns = [text.column for text in texts if text is not None]
    columns += [part.column for part in (d.time, d.clips, d.segments) if part is not None]
    if d.rows is not None:
        columns += [d.rows.frame, d.rows.person, d.rows.joint]
    return [column for column in columns if column is not None]


def _by_name(d: ArraysDefinition, table: Table, joints: tuple[str, ...]) -> tuple[list[int], int]:
    """Places in the order person, joint, coordinate, and the number of persons."""
    if d.columns is None:
        raise ValueError("columns")
    pattern = re.compile(d.columns.pattern)
    place_of: dict[tuple[str, str, str], int] = {}
    persons: list[str] = []
    names: list[str] = []
    for place, name in enumerate(table.names):
        match = pattern.fullmatch(name)
        if match is None:
            continue
        person = match["person"] if "person" in pattern.groupindex else ""
        # Headers written by hand mix cases: "Rwrist_x, RWrist_y".
        key = (person or "", (match["joint"] or "").casefold(), (match["axis"] or "").casefold())
        if key in place_of:
            raise table.file.error("header", "each joint and axis once", f"{name!r} again")
        place_of[key] = place
        persons += [key[0]] if key[0] not in persons else []
        names += [key[1]] if key[1] not in names else []
    names = [name.casefold() for name in d.columns.names] or names
    if len(names) != len(joints):
        raise table.file.error("header", f"{len(joints)} joints that fit columns.pattern", f"{len(names)}")
    places = []
    for person in persons:
        for name, joint in zip(names, joints, strict=True):
            for axis in d.coordinates:
                place = place_of.get((person, name, axis.casefold()), -1)
                if place < 0 and (joint == SKIP or axis == SKIP):
                    place = next(iter(place_of.values()))  # read and thrown away
                if place < 0:
                    raise table.file.error("header", f"a column for {axis} of joint {name!r}", "none")
                places.append(place)
    return places, len(persons)


def _scatter(
    rows: Rows, table: Table, values: NDArray[np.float64], joints: tuple[str, ...], spellings: tuple[str, ...] = ()
) -> Raw:
    """(R, 1, J or 1, C) values of rows -> frames, persons and joints by what the rows' columns say.

    `spellings` is how the joint column writes the joints' names.
    """
    count = len(values)
    person_names: list[str] = []
    person = np.zeros(count, np.int64)
    if rows.person is not None:
        texts = table.texts(table.place(rows.person))
        order: dict[str, int] = {}
        person = np.array([order.setdefault(text, len(order)) for text in texts], np.int64)
        person_names = list(order)
    joint = np.zeros(count, np.int64)
    if rows.joint is not None:
        joint = _joint_numbers(table, table.texts(table.place(rows.joint)), joints, spellings or joints)
    frame = _frame_numbers(rows, table, person)
    frames, persons = int(frame.max()) + 1, max(1, len(person_names))
    width = len(joints)
    # Sparse is fine, but a few rows must not ask for gigabytes.
    if frames * persons * width > 50 * max(values.size, 1) + 1_000_000:
        raise ValueError(f"rows for most frames and persons, found {count} rows for {frames} x {persons}")
    grid = np.full((frames, persons, width, values.shape[-1]), np.nan)
    occupied = np.zeros((frames, persons, width if rows.joint is not None else 1), bool)
    keep = joint >= 0
    occupied[frame[keep], person[keep], joint[keep]] = True
    if occupied.sum() != keep.sum():
        raise ValueError("one row for each frame, person and joint, found one twice")
    if rows.joint is not None:
        grid[frame[keep], person[keep], joint[keep]] = values[keep, 0, 0]
    else:
        grid[frame, person] = values[:, 0]
    first = np.full(frames, -1, np.int64)
    first[frame[::-1]] = np.arange(count)[::-1]
    return Raw(values=grid, rows=first, persons=tuple(person_names))


def _joint_numbers(
    table: Table, texts: list[str], joints: tuple[str, ...], spellings: tuple[str, ...]
) -> NDArray[np.int64]:
    """Place of each row's joint; -1 for one to skip."""
    numbers = [-1 if name == SKIP else i for i, name in enumerate(joints)]
    places = {str(i): number for i, number in enumerate(numbers)} | dict(zip(spellings, numbers, strict=True))
    for row, text in enumerate(texts, 1):
        if text not in places:
            raise table.file.error(f"row {row}", f"a joint 0 to {len(joints) - 1}, or its name", repr(text)[:40])
    return np.array([places[text] for text in texts], np.int64)


def _frame_numbers(rows: Rows, table: Table, person: NDArray[np.int64]) -> NDArray[np.int64]:
    """(R,) frame from 0; without a column the rows of a person follow each other."""
    count = len(person)
    if count == 0:
        raise table.file.error("whole file", "rows", "none")
    if rows.frame is None:
        next_frame: dict[int, int] = {}
        numbers = []
        for who in person.tolist():
            numbers.append(next_frame.get(who, 0))
            next_frame[who] = numbers[-1] + 1
        return np.array(numbers, np.int64)
    values = table.numbers([table.place(rows.frame)])[:, 0]
    # Above 2^52 every float64 is a whole number: nothing could be told from it.
    if not np.isfinite(values).all() or (values != np.rint(values)).any() or (np.abs(values) > 2**52).any():
        row = int(np.argmax(~(np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) <= 2**52)))) + 1
        raise table.file.error(f"row {row}", "a frame number", f"{values[row - 1]:g}")
    whole = values - values.min()
    if whole.max() > _SPREAD * count + 1000:
        raise table.file.error("frame numbers", "numbers near each other", f"0 to {whole.max():g} in {count} rows")
    return whole.astype(np.int64)
