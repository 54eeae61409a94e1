"""Bytes of a npy, npz, csv, txt, json, mat or parquet file -> a tree of named arrays, or a table. Executes nothing.

Knows containers, not layouts: what an axis or a column means is the business of `arrays`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from skeleton_io.sources.arrays.definition import Kind, Read
from skeleton_io.sources.decoders.mat5 import read_mat5
from skeleton_io.sources.decoders.npy import read_npy, read_npz
from skeleton_io.sources.shared.files import SourceFile

SUFFIXES: dict[str, Kind] = {
    "npy": "npy",
    "npz": "npz",
    "csv": "csv",
    "tsv": "txt",
    "txt": "txt",
    "dat": "txt",
    "json": "json",
    "mat": "mat",
    "parquet": "parquet",
}
TABLES = ("csv", "txt", "parquet")
_MOST_CELLS = 100_000_000
"""Of a Parquet file: a few kilobytes of it can stand for any number of rows."""
_STEP = re.compile(r"[^.\[\]]+|\[(?:\*|\d+)\]")


@dataclass(frozen=True)
class Table:
    """Columns of equal length; `file` for the errors."""

    file: SourceFile
    columns: pa.Table

    @property
    def names(self) -> list[str]:
        return self.columns.column_names

    def place(self, column: int | str) -> int:
        """Position of a column.

        Raises:
            SkeletonFormatError: there is none.
        """
        if isinstance(column, str):
            if self.names.count(column) != 1:
                found = "twice" if column in self.names else ", ".join(self.names)[:200]
                raise self.file.error("header", f"a column {column!r}", found)
            return self.names.index(column)
        if not 0 <= column < len(self.names):
            raise self.file.error("columns", f"a column {column}", f"columns 0 to {len(self.names) - 1}")
        return column

    def numbers(self, places: Sequence[int]) -> NDArray[np.float64]:
        """(rows, columns) as float64; empty cells are NaN.

        Raises:
            SkeletonFormatError: a cell that is no number, with its row.
        """
        values = np.empty((self.columns.num_rows, len(places)))
        for at, place in enumerate(places):
            column = self.columns.column(place)
            kind = column.type
            if pa.types.is_null(kind):
                values[:, at] = np.nan
            elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
                values[:, at] = column.to_numpy()
            else:
                self._refuse(place)
        return values

    def texts(self, place: int) -> list[str]:
        """Cells as text; empty for an empty cell, and whole numbers without a fraction."""
        return [plain_text(value) for value in self.columns.column(place).to_pylist()]

    def rows(self, keep: NDArray[np.int64]) -> Table:
        """The table of some rows."""
        return Table(self.file, self.columns.take(pa.array(keep)))

    def _refuse(self, place: int) -> None:
        for row, value in enumerate(self.columns.column(place).to_pylist(), 1):
            try:
                float(value) if value is not None else None
            except (TypeError, ValueError):
                raise self.file.error(f"row {row}, column {self.names[place]}", "a number", repr(value)[:40]) from None
        raise self.file.error(f"column {self.names[place]}", "numbers", "text")


def plain_text(value: object) -> str:
    """A value as text: None is empty, 3.0 is "3"."""
    if value is None:
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def open_content(file: SourceFile, read: Read) -> Table | dict[str, Any] | list[Any] | NDArray:
    """The file, decoded.

    Raises:
        SkeletonFormatError: not of its kind, or larger than what it may be.
    """
    suffix = file.item.path.rsplit(".", 1)[-1].lower()
    kind = read.kind or SUFFIXES.get(suffix)
    if kind is None:
        raise file.error("file name", f"a suffix among {', '.join(SUFFIXES)}, or read.kind", f".{suffix}")
    if kind in ("csv", "txt"):
        return Table(file, _text_table(file, read, kind))
    if kind == "parquet":
        return Table(file, _parquet(file))
    if kind == "json":
        try:
            return json.loads(file.text())
        except (ValueError, RecursionError) as error:
            raise file.error("whole file", "JSON", str(error)[:200]) from None
    if kind == "mat":
        return dict(read_mat5(file))
    return read_npy(file.data, file) if kind == "npy" else dict(read_npz(file.data, file))


def _text_table(file: SourceFile, read: Read, kind: str) -> pa.Table:
    data = file.data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise file.error("whole file", "text", "an empty file")
    separator = read.separator or ("," if kind == "csv" else " ")
    lines = data.splitlines()[read.skip_lines :]
    if separator == " ":
        lines = [b" ".join(line.split()) for line in lines]
    lines = [line for line in lines if line.strip()]
    ending = separator.encode()
    if separator != " " and lines and all(line.rstrip().endswith(ending) for line in lines):
        lines = [line.rstrip().removesuffix(ending) for line in lines]  # each line ends in one more separator
    data = b"\n".join(lines)
    if not data:
        raise file.error("whole file", "rows", "none")
    try:
        # One block, since types are inferred from the first; one thread, since a worker has one core.
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(
                autogenerate_column_names=not read.header, use_threads=False, block_size=max(1 << 20, len(data) + 1)
            ),
            parse_options=csv.ParseOptions(delimiter=separator),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError, ValueError, TypeError) as error:
        raise file.error("whole file", f"rows of equal length, separated by {separator!r}", str(error)[:200]) from None
    if read.header:
        table = table.rename_columns([name.strip() for name in table.column_names])
    return table


def _parquet(file: SourceFile) -> pa.Table:
    try:
        parquet_file = parquet.ParquetFile(pa.BufferReader(file.data))
        cells = parquet_file.metadata.num_rows * parquet_file.metadata.num_columns
        size = sum(
            parquet_file.metadata.row_group(i).total_byte_size for i in range(parquet_file.metadata.num_row_groups)
        )
        if cells > _MOST_CELLS or size > 8 * _MOST_CELLS:
            raise file.error("metadata", f"at most {_MOST_CELLS} cells", f"{cells} cells, {size} bytes")
        return parquet_file.read(use_threads=False)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise file.error("whole file", "Parquet", " ".join(str(error).split())[:200]) from None


def pick(file: SourceFile, value: Any, path: str, joints: Sequence[str] = (), axes: Sequence[str] = ()) -> Any:
    """What stands at a path; `[*]`, `{joint}` and `{axis}` each make a list.

    Raises:
        SkeletonFormatError: there is nothing, with the part of the path where it ends.
    """
    if not path:
        return value
    if isinstance(value, dict) and path in value:
        return value[path]
    return _walk(file, value, _STEP.findall(path), {"{joint}": joints, "{axis}": axes}, path)


def _walk(file: SourceFile, value: Any, steps: list[str], lists: dict[str, Sequence[str]], path: str) -> Any:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if step == "[*]":
        if isinstance(value, dict):
            value = list(value.values())
        if not isinstance(value, list | np.ndarray):
            raise file.error(path, "a list at [*]", type(value).__name__)
        return [_walk(file, item, rest, lists, path) for item in value]
    if step in lists:
        return [_walk(file, _child(file, value, name, path), rest, lists, path) for name in lists[step]]
    return _walk(file, _child(file, value, step.strip("[]"), path), rest, lists, path)


def _child(file: SourceFile, value: Any, name: str, path: str) -> Any:
    if isinstance(value, dict):
        if name not in value:
            raise file.error(path, f"an entry {name!r}", ", ".join(map(str, list(value)[:12])) or "an empty object")
        return value[name]
    if isinstance(value, list | np.ndarray) and name.isascii() and name.isdigit():
        if int(name) >= len(value):
            raise file.error(path, f"an entry {name}", f"{len(value)} entries")
        return value[int(name)]
    raise file.error(path, f"an object with {name!r}", type(value).__name__)


def as_array(file: SourceFile, value: Any, place: str) -> NDArray[np.float64]:
    """Nested lists or an array as float64; null is NaN.

    Raises:
        SkeletonFormatError: ragged, or something that is no number.
    """
    try:
        array = np.array(value)
    except (ValueError, TypeError, OverflowError):
        raise file.error(place, "lists of equal length", "ragged lists") from None
    if array.dtype.kind == "O":
        cells = array.reshape(-1)[:1_000_000]
        odd = next((cell for cell in cells if not isinstance(cell, int | float | None)), None)
        if odd is not None:
            raise file.error(place, "numbers", repr(odd)[:60])
        array = array.astype(np.float64)
    if array.dtype.kind not in "fiu":
        raise file.error(place, "numbers", f"{array.dtype} {array.shape}"[:80])
    return array.astype(np.float64, copy=False)
