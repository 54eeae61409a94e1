"""Rows of predictions -> JSON lines or Parquet, and back as far as counting needs it. One schema for both."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from skeleton_io import storage

_TOP = pa.struct(
    [("label", pa.string()), ("probability", pa.float64()), ("log_prob", pa.float64()), ("tokens", pa.int32())]
)
SCHEMA = pa.schema(
    [
        ("input", pa.string()),
        ("file", pa.string()),
        ("key", pa.string()),
        ("format", pa.string()),
        ("frames", pa.int32()),
        ("seconds", pa.float64()),
        ("persons", pa.int32()),
        ("label", pa.string()),
        ("probability", pa.float64()),
        ("candidates", pa.string()),
        ("truth", pa.string()),
        ("truth_is_candidate", pa.bool_()),
        ("top", pa.list_(_TOP)),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("picture", pa.string()),
        ("error", pa.string()),
    ]
)
_ROWS_PER_GROUP = 4096


def kind_of(uri: str) -> str:
    """ "jsonl" or "parquet" by a file's suffix; empty: no file."""
    suffix = storage.name(uri).rpartition(".")[2] if "." in storage.name(uri) else ""
    return suffix if suffix in ("jsonl", "parquet") else ""


def line(row: dict[str, Any]) -> str:
    """A row as one line of JSON, its fields in the order of the schema."""
    return json.dumps({name: row[name] for name in SCHEMA.names}, ensure_ascii=False, allow_nan=False)


class Writer:
    """Rows one after the other into an open file.

    Args:
        file: binary; the caller closes it.
        kind: "jsonl" or "parquet".
    """

    def __init__(self, file: BinaryIO, kind: str) -> None:
        self.file, self.rows = file, []
        self.parquet = pq.ParquetWriter(file, SCHEMA, compression="zstd") if kind == "parquet" else None

    def add(self, row: dict[str, Any]) -> None:
        """One more row."""
        if self.parquet is None:
            self.file.write(line(row).encode() + b"\n")
            return
        self.rows.append(row)
        if len(self.rows) == _ROWS_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """Writes what is left."""
        if self.parquet is not None:
            self._flush()
            self.parquet.close()

    def _flush(self) -> None:
        if self.rows and self.parquet is not None:
            self.parquet.write_table(pa.Table.from_pylist(self.rows, schema=SCHEMA))
            self.rows = []


def encode(rows: Sequence[dict[str, Any]], kind: str) -> bytes:
    """A whole file of rows."""
    buffer = io.BytesIO()
    writer = Writer(buffer, kind)
    for row in rows:
        writer.add(row)
    writer.close()
    return buffer.getvalue()


def labels_of(uri: str) -> Iterator[tuple[str | None, bool]]:
    """(label, whether it is an error) of each row of a file."""
    data = storage.read_bytes(uri)
    if kind_of(uri) == "parquet":
        table = pq.read_table(io.BytesIO(data), columns=["label", "error"])
        rows = table.to_pylist()
    else:
        rows = [json.loads(text) for text in data.splitlines() if text]
    for row in rows:
        yield row["label"], row["error"] is not None
