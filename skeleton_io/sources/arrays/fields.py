"""Label, subject, view ... and segments of a clip, from the path, the file's content or a side file.

Reads no coordinates.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import Segment
from skeleton_io.sources.arrays.content import Table, pick, plain_text
from skeleton_io.sources.arrays.definition import ArraysDefinition, Column, From, Segments
from skeleton_io.sources.shared.files import SourceFile

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NO_SEGMENT = ("", "0", "none", "null", "nan")
_Names = Mapping[Any, str] | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Where a clip's values may come from.

    Attributes:
        content: the clip's table, or the tree of named values that holds it.
        groups: named groups of its path and name.
        number: its place among the clips of an array with axis N, of which there are `count`; None otherwise.
    """

    file: SourceFile
    id: str
    content: Any
    whole: Any
    groups: Mapping[str, str] = field(default_factory=dict)
    number: int | None = None
    count: int = 1

    def value(self, path: str) -> Any:
        """What stands at a path of the clip; where clips share the file, this clip's entry of it."""
        inside = isinstance(self.content, dict)
        top = path.split(".")[0].split("[")[0]
        base = self.content if inside and (path in self.content or top in self.content) else self.whole
        entry = pick(self.file, base, path)
        if self.number is not None and isinstance(entry, list | np.ndarray) and np.ndim(entry) > 0:
            if len(entry) == self.count:
                return entry[self.number]
            if np.size(entry) != 1:
                raise self.file.error(path, f"one value for each of {self.count} clips", f"{len(entry)}")
        return entry


def read_text(clip: Clip, place: str, source: From) -> str | None:
    """The value as text, named and trimmed; None where the place is empty.

    Raises:
        SkeletonFormatError: there is no such place, or a value without a name.
    """
    raw = _raw(clip, place, source)
    if raw is None or raw == "":
        return None
    return _apply_names(clip.file, place, raw, source.names, source.number)


def _raw(clip: Clip, place: str, source: From) -> str | None:
    if source.constant:
        return source.constant
    if source.group:
        return clip.groups.get(source.group)
    if source.column is not None:
        if not isinstance(clip.content, Table):
            raise clip.file.error(place, "a table for column", type(clip.content).__name__)
        cells = [cell for cell in clip.content.texts(clip.content.place(source.column)) if cell]
        return Counter(cells).most_common(1)[0][0] if cells else None
    if source.file:
        return _from_side_file(clip, place, source)
    value = clip.value(source.key)
    if isinstance(value, np.ndarray | list) and np.size(value) == 1:
        value = np.asarray(value).reshape(-1)[0]
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, str | int | float | None):
        raise clip.file.error(source.key, f"one value for {place}", type(value).__name__)
    return plain_text(value)


def _apply_names(file: SourceFile, place: str, value: str, names: _Names, number: bool) -> str:
    if names:
        table = {str(k): v for k, v in names.items()} if isinstance(names, Mapping) else {}
        table = table or {str(i): name for i, name in enumerate(names, 1)}
        short = str(int(value)) if value.isascii() and value.isdigit() else value
        if value not in table and short not in table:
            raise file.error(place, f"a value among {', '.join(table)}"[:200], repr(value)[:60])
        return table.get(value) or table[short]
    return str(int(value)) if number and value.isascii() and value.isdigit() else value


def fill_template(clip: Clip, template: str) -> str:
    """A side file's path from the set's folder."""
    path = clip.file.item.path
    values = {**clip.groups, "id": clip.id, "stem": clip.file.stem, "folder": posixpath.dirname(path) or "."}

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise clip.file.error("definition, file", f"a name among {', '.join(values)}", match[0])
        return values[match[1]]

    return _PLACEHOLDER.sub(value, template)


def companion_pattern(d: ArraysDefinition) -> str:
    """Regular expression for all side files that the definition names; empty where it names none."""
    texts = [
        d.label,
        d.subject,
        d.view,
        d.setup,
        d.repetition,
        *d.captions,
        None if isinstance(d.fps, float) else d.fps,
    ]
    templates = {source.file for source in texts if source is not None and source.file}
    templates |= {d.segments.file} if d.segments is not None and d.segments.file else set()
    patterns = []
    for template in sorted(templates):
        parts = _PLACEHOLDER.split(posixpath.normpath(template.replace("{folder}/", "{folder}")))
        patterns.append("".join(re.escape(part) if i % 2 == 0 else ".*" for i, part in enumerate(parts)))
    return "|".join(f"(?:{pattern})" for pattern in patterns)


def _side_file(clip: Clip, place: str, template: str) -> bytes | None:
    path = fill_template(clip, template)
    return clip.file.beside(posixpath.relpath(path, posixpath.dirname(clip.file.item.path) or "."))


def _from_side_file(clip: Clip, place: str, source: From) -> str | None:
    data = _side_file(clip, place, source.file)
    if data is None:
        raise clip.file.error(place, f"the side file {fill_template(clip, source.file)}", "no such file")
    suffix = source.file.rsplit(".", 1)[-1].lower()
    try:
        table = _side_table(data, suffix, source.file_id, source.file_value)
    except (ValueError, RecursionError, KeyError, IndexError) as error:
        raise clip.file.error(place, f"a side file {source.file} that can be read", str(error)[:200]) from None
    if isinstance(table, str):
        return table
    path = clip.file.item.path
    for key in (clip.id, clip.file.item.id, clip.file.stem, path.rsplit("/", 1)[-1], path):
        if key in table:
            return table[key]
    return None


@lru_cache(maxsize=16)
def _side_table(data: bytes, suffix: str, id_column: Column, value_column: Column) -> dict[str, str] | str:
    """Clip -> value; or the one text for all. Cached: one side file often serves thousands of clips."""
    decoded = data.decode("utf-8-sig")
    if suffix == "json":
        content = json.loads(decoded)
        if not isinstance(content, dict):
            raise ValueError(f"expected an object id -> value, found {type(content).__name__}")
        return {str(key): plain_text(value) for key, value in content.items() if isinstance(value, str | int | float)}
    if suffix not in ("csv", "tsv"):
        return decoded.strip()
    rows = _rows(decoded, "\t" if suffix == "tsv" else ",")
    places = [column if isinstance(column, int) else rows[0].index(column) for column in (id_column, value_column)]
    if any(isinstance(column, str) for column in (id_column, value_column)):
        rows = rows[1:]
    if len(rows) == 1 and (len(rows[0]) == 1 or id_column == value_column):
        return rows[0][min(places[1], len(rows[0]) - 1)]
    return {row[places[0]]: row[places[1]] for row in rows if len(row) > max(places)}


def _rows(decoded: str, separator: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(decoded), delimiter=separator)
    try:
        return [[cell.strip() for cell in row] for row in reader if row]
    except csv.Error as error:
        raise ValueError(str(error)) from None


def read_segments(
    clip: Clip, source: Segments, starts: NDArray[np.float64], rows: NDArray[np.int64] | None, fps: float
) -> tuple[Segment, ...]:
    """Labelled intervals in seconds from the first frame.

    Args:
        clip: the clip.
        source: where they are.
        starts: (T,) seconds at which frames begin.
        rows: (T,) row of the table for each frame, -1 for none.
        fps: frames per second.

    Raises:
        SkeletonFormatError: an entry that is no interval.
    """
    if source.column is not None:
        if not isinstance(clip.content, Table) or rows is None:
            raise clip.file.error("segments", "a table for column", type(clip.content).__name__)
        cells = clip.content.texts(clip.content.place(source.column))
        return _runs(clip, source, [cells[row] if row >= 0 else "" for row in rows], starts, fps)
    if source.key:
        entries = clip.value(source.key)
        if isinstance(entries, np.ndarray):
            entries = entries.tolist()
        if not isinstance(entries, list):
            raise clip.file.error(source.key, "a list of [start, end, label]", type(entries).__name__)
        triples = [entry if isinstance(entry, list) else [] for entry in entries]
    else:
        data = _side_file(clip, "segments", source.file)
        if data is None:
            return ()
        try:
            triples = _segment_rows(data.decode("utf-8-sig"), source)
        except (ValueError, IndexError) as error:
            raise clip.file.error(source.file, "columns start, end, label", str(error)[:200]) from None
    scale = 1 / fps if source.unit == "frames" else 1.0
    segments = []
    for place, entry in enumerate(triples):
        try:
            start, end = float(entry[0]) * scale, float(entry[1]) * scale
        except (ValueError, TypeError, IndexError):
            raise clip.file.error(f"segment {place}", "start, end, label", repr(entry)[:80]) from None
        if len(entry) < 3 or not (np.isfinite(start) and start <= end < np.inf):
            raise clip.file.error(f"segment {place}", "start before end, and a label", repr(entry)[:80])
        label = _apply_names(clip.file, "segments.names", plain_text(entry[2]), source.names, number=False)
        segments.append(Segment(start=start, end=end, label=label))
    return tuple(segments)


def _segment_rows(decoded: str, source: Segments) -> list[list[str]]:
    rows = _rows(decoded, "\t" if source.file.endswith(".tsv") else ",")
    columns = (source.start, source.end, source.label)
    places = [column if isinstance(column, int) else rows[0].index(column) for column in columns]
    if any(isinstance(column, str) for column in columns):
        rows = rows[1:]
    return [[row[place] for place in places] for row in rows]


def _runs(
    clip: Clip, source: Segments, cells: list[str], starts: NDArray[np.float64], fps: float
) -> tuple[Segment, ...]:
    segments = []
    begin = 0
    for frame in range(1, len(cells) + 1):
        if frame < len(cells) and cells[frame] == cells[begin]:
            continue
        if cells[begin].casefold() not in _NO_SEGMENT:
            label = _apply_names(clip.file, "segments.names", cells[begin], source.names, number=False)
            end = float(starts[frame]) if frame < len(cells) else float(starts[-1]) + 1 / fps
            segments.append(Segment(start=float(starts[begin]), end=end, label=label))
        begin = frame
    return tuple(segments)
