"""Rows of scored clips on storage: one per clip, in Parquet parts that are written whole or not at all.

Also what is asked about a clip. Runs no model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runtime.errors import StageFailed
from pipelines.scores.metrics import ClipScore
from skeleton_io import storage

ROWS = pa.schema(
    [
        ("key", pa.string()),
        ("set", pa.string()),
        ("label", pa.string()),
        ("prediction", pa.string()),
        ("log_prob", pa.list_(pa.float32())),
        ("tokens", pa.list_(pa.int32())),
        ("prior", pa.list_(pa.float32())),
        ("generated", pa.string()),
    ]
)


@dataclass(frozen=True)
class ClipToScore:
    """One clip to score and the answer that counts as right, in the wording of the candidates."""

    key: str
    set: str
    label: str


def read_rows(folder: str) -> pa.Table:
    """All parts of a rows folder as one table of `ROWS`, one row per clip."""
    files = storage.list_files(folder, ".parquet") if storage.exists(folder) else []
    parts = [pq.read_table(io.BytesIO(data)) for data in storage.read_many(storage.join(folder, f) for f in files)]
    if not parts:
        return ROWS.empty_table()
    table = pa.concat_tables(parts)
    # Two drivers that ran at once may both have written a clip.
    first = {key: i for i, key in reversed(list(enumerate(table["key"].to_pylist())))}
    return table.take(sorted(first.values()))


def write_part(folder: str, table: pa.Table) -> None:
    """One part, whole or not at all, under a name that its clips decide."""
    # Two drivers that write the same clips write the same file, not a second one.
    name = hashlib.sha256("\n".join(table["key"].to_pylist()).encode()).hexdigest()[:16]
    buffer = io.BytesIO()
    pq.write_table(table.cast(ROWS), buffer, compression="zstd")
    storage.write_atomic(storage.join(folder, f"part-{name}.parquet"), buffer.getvalue())


def check_finite(name: str, table: pa.Table) -> None:
    """Refuses rows that no prediction can be read from, before they are written.

    Raises:
        StageFailed: a log-probability is not finite.
    """
    for key, values in zip(table["key"].to_pylist(), table["log_prob"].to_pylist(), strict=True):
        if not np.isfinite(values).all():
            raise StageFailed(f"{name}: the model gives clip {key} a score that is not a finite number")


def to_clip_score(row: Mapping[str, Any]) -> ClipScore:
    """A row as the metrics take it."""
    lists = {name: tuple(row[name]) for name in ("log_prob", "tokens", "prior")}
    return ClipScore(key=row["key"], set=row["set"], label=row["label"], generated=row["generated"], **lists)


def sample_keys(keys: Sequence[str], most: int) -> list[str]:
    """At most `most` keys (0: all), chosen by hash, so that the choice does not depend on their order."""
    if not most or len(keys) <= most:
        return sorted(keys)
    return sorted(sorted(keys, key=lambda k: hashlib.sha256(k.encode()).hexdigest())[:most])


def question_digest(questions: Sequence[ClipToScore]) -> list[tuple[str, ...]]:
    """The questions as plain data, for a hash."""
    return [dataclasses.astuple(q) for q in questions]


def batches_of(questions: Sequence[ClipToScore], size: int) -> list[list[ClipToScore]]:
    """Batches of one set each, in the order of set and key.

    They depend on the questions alone: a batch's composition decides its padding and so the last bits of its scores.
    """
    # One set a batch: its clips share the candidates, which are read once.
    ordered = sorted(questions, key=lambda q: (q.set, q.key))
    batches = []
    for name in sorted({q.set for q in ordered}):
        mine = [q for q in ordered if q.set == name]
        batches += [mine[i : i + size] for i in range(0, len(mine), size)]
    return batches
