"""An `ArraysDefinition` -> what contradicts itself in it, before any file is read. Knows no YAML and no file."""

from __future__ import annotations

import re
from collections.abc import Iterator

from skeleton_io.sources.arrays.axes import axes_matrix
from skeleton_io.sources.arrays.definition import ArraysDefinition, From
from skeleton_io.sources.arrays.layout import parse_layout

Problem = tuple[str, tuple[str, str]]
"""(field, (expected, found))"""
TEXTS = ("label", "subject", "view", "setup", "repetition")
_NUMBERS = ("x", "y", "z", "confidence")


def find_problems(d: ArraysDefinition) -> list[Problem]:
    """Everything that is wrong, in the order of the fields."""
    return [*_patterns(d), *_joints(d), *_layout(d), *_values(d), *_sources(d)]


def group_names(pattern: str) -> set[str]:
    """Named groups of a regular expression."""
    return set(re.compile(pattern).groupindex)


def _regex(place: str, text: str, required: tuple[str, ...] = ()) -> Iterator[Problem]:
    try:
        names = group_names(text)
    except (re.error, RecursionError, OverflowError) as error:
        yield place, ("a regular expression", f"{text!r} ({error})")
        return
    for name in required:
        if name not in names:
            yield place, (f"a group (?P<{name}>...)", repr(text))


def _patterns(d: ArraysDefinition) -> Iterator[Problem]:
    yield from _regex("files", d.files)
    if d.columns is not None:
        if bool(d.columns.pattern) == bool(d.columns.select):
            yield "columns", ("either select or pattern", "both" if d.columns.pattern else "none")
        if d.columns.pattern:
            yield from _regex("columns.pattern", d.columns.pattern, ("joint", "axis"))
        elif isinstance(d.columns.select, str) and not re.fullmatch(r"\d*:\d*", d.columns.select):
            yield "columns.select", ('positions such as "1:91", or a list', repr(d.columns.select))
    if d.clips is not None:
        ways = [bool(d.clips.names), bool(d.clips.list), d.clips.column is not None]
        if sum(ways) + ("N" in d.layout) != 1:
            yield "clips", ("exactly one of column, names, list, or the axis N", f"{sum(ways) + ('N' in d.layout)}")
        if d.clips.lengths and "N" not in d.layout:
            yield "clips.lengths", ("a layout with N", repr(d.layout))
        if d.clips.names:
            yield from _regex("clips.names", d.clips.names)


def _joints(d: ArraysDefinition) -> Iterator[Problem]:
    try:
        names = d.skeleton.joints
    except ValueError as error:
        yield "topology", ("a topology", str(error))
        return
    if not names:
        yield "topology", ("at least one joint", "none")
    if d.joints:
        own_names = [name for name in d.joints if name != "_"]
        if sorted(own_names) != sorted(names):
            odd = sorted(set(own_names) ^ set(names)) or [name for name in own_names if own_names.count(name) > 1]
            yield (
                "joints",
                (f"each joint of the topology once ({len(names)}), and _", f"differs in {', '.join(odd)}"[:200]),
            )
    if d.read.joint_names and len(d.read.joint_names) != len(d.joints or names):
        yield "read.joint_names", (f"{len(d.joints or names)} names", str(len(d.read.joint_names)))
    if d.read.axis_names and len(d.read.axis_names) != len(d.coordinates):
        yield "read.axis_names", (f"{len(d.coordinates)} names", str(len(d.read.axis_names)))
    if d.columns is not None and d.columns.names and len(d.columns.names) != len(d.joints or names):
        yield "columns.names", (f"{len(d.joints or names)} names", str(len(d.columns.names)))


def _layout(d: ArraysDefinition) -> Iterator[Problem]:
    numbers = [name for name in d.coordinates if name != "_"]
    unknown = [name for name in numbers if name not in _NUMBERS]
    if unknown or len(set(numbers)) != len(numbers) or "x" not in numbers or "y" not in numbers:
        yield "coordinates", ("x, y and perhaps z, confidence, _", ", ".join(d.coordinates))
        return
    try:
        axes = [axis for group in parse_layout(d.layout) for axis in group]
    except ValueError as error:
        yield "layout", ("axes such as T, P, J, C", f"{d.layout!r} ({error})")
        return
    if d.persons < 0:
        yield "persons", ("a count", str(d.persons))
    if d.rows is not None and d.rows.joint is not None and d.rows.frame is None:
        yield "rows.frame", ("a column, where a row is a joint", "none")
    if "C" not in axes and len(d.coordinates) > 1:
        yield "layout", ("an axis C", repr(d.layout))
    if "J" not in axes and not (d.rows is not None and d.rows.joint is not None):
        yield "layout", ("an axis J", repr(d.layout))


def _values(d: ArraysDefinition) -> Iterator[Problem]:
    size = 3 if "z" in d.coordinates else 2
    if d.units == "pixels" and size == 3:
        yield "units", ("two coordinates for pixels (name the third _)", "x, y, z")
    if d.units == "pixels" and d.image_size is None:
        yield "image_size", ("[width, height] for pixels", "nothing")
    if d.image_size is not None and any(isinstance(s, int) and not 0 < s < 2**31 for s in d.image_size):
        yield "image_size", ("positive numbers", str(d.image_size))
    for place, value in (("units", d.units), ("offset", d.offset)):
        if isinstance(value, tuple) and value and len(value) != size:
            yield place, (f"{size} numbers", str(len(value)))
    if isinstance(d.units, float) and not d.units > 0:
        yield "units", ("a positive number", str(d.units))
    try:
        axes_matrix(d.axes, size, d.handedness, d.units in ("pixels", "normalised") or size == 2)
    except ValueError as error:
        yield "axes", ("directions that fit together", str(error))
    if isinstance(d.fps, float) and not 0 < d.fps < 1e6:
        yield "fps", ("frames per second", str(d.fps))
    if d.fps is None and (d.time is None or d.time.unit == "frames"):
        yield "fps", ("frames per second, or a time column in seconds", "neither")
    if d.time is not None and (d.time.column is None) == (not d.time.key):
        yield "time", ("either column or key", "both or none")
    if d.missing.confidence_at_most is not None and not ("confidence" in d.coordinates or d.confidence.key):
        yield "missing.confidence_at_most", ("a confidence", "none in coordinates and no confidence.key")
    if d.confidence.key and not d.confidence.layout:
        yield "confidence.layout", ("axes of the array", "nothing")
    if not d.confidence.full > 0:
        yield "confidence.full", ("a positive number", str(d.confidence.full))


def _sources(d: ArraysDefinition) -> Iterator[Problem]:
    try:
        known_groups = group_names(d.files) | (group_names(d.clips.names) if d.clips and d.clips.names else set())
    except re.error:
        return
    values = [(name, getattr(d, name)) for name in TEXTS] + [("captions", item) for item in d.captions]
    if not isinstance(d.fps, float | None):
        values.append(("fps", d.fps))
    for place, value in values:
        if value is not None:
            yield from _from(place, value, known_groups)
    if d.segments is not None:
        ways = [d.segments.column is not None, bool(d.segments.key), bool(d.segments.file)]
        if sum(ways) != 1:
            yield "segments", ("exactly one of column, key, file", str(sum(ways)))


def _from(place: str, value: From, known_groups: set[str]) -> Iterator[Problem]:
    ways = [bool(value.constant), bool(value.group), bool(value.key), value.column is not None, bool(value.file)]
    if sum(ways) != 1:
        yield place, ("exactly one of constant, group, key, column, file", str(sum(ways)))
    if value.group and value.group not in known_groups:
        yield (
            f"{place}.group",
            (f"a group of files ({', '.join(sorted(known_groups)) or 'there is none'})", value.group),
        )
