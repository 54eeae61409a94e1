"""SkeletonSequence <-> one row of a shard. The only home of column names; the layout has a version.

Arrays are flat lists beside the shape columns T, P, J, C (row-major), so that pyarrow, pandas, polars and DuckDB read
them plainly. Values come back bit for bit, NaN included. Writes no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from skeleton_io.record.sequence import Scale, Segment, SkeletonSequence, Source
from skeleton_io.record.topology import Topology

SCHEMA_VERSION = 1
_VERSION_KEY = b"skeleton_ray.schema_version"
# Items are named: left alone, Arrow and Parquet call them differently.
_FLOATS = pa.list_(pa.field("item", pa.float32()))
_TEXTS = pa.list_(pa.field("item", pa.string()))
_FIELDS: tuple[tuple[str, pa.DataType, bool], ...] = (
    ("id", pa.string(), False),
    ("dataset", pa.string(), False),
    ("licence", pa.string(), True),
    ("source_uri", pa.string(), False),
    ("source_sha256", pa.string(), False),
    ("reader", pa.string(), False),
    ("reader_version", pa.int32(), False),
    ("topology", pa.string(), False),
    ("topology_hash", pa.string(), False),
    ("fps", pa.float64(), False),
    ("timestamps", pa.list_(pa.field("item", pa.float64())), True),
    ("scale", pa.string(), False),
    ("image_size", pa.list_(pa.field("item", pa.int32())), True),
    ("T", pa.int32(), False),
    ("P", pa.int32(), False),
    ("J", pa.int32(), False),
    ("C", pa.int32(), False),
    ("positions", _FLOATS, False),
    ("confidence", _FLOATS, True),
    ("orientations", _FLOATS, True),
    ("track_ids", _TEXTS, False),
    ("source_transform", pa.string(), False),
    ("label", pa.string(), True),
    ("captions", _TEXTS, False),
    (
        "segments",
        pa.list_(pa.struct([("start", pa.float64()), ("end", pa.float64()), ("label", pa.string())])),
        False,
    ),
    ("subject", pa.string(), True),
    ("view", pa.string(), True),
    ("setup", pa.string(), True),
    ("repetition", pa.string(), True),
    ("quality", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())])), False),
    ("notes", _TEXTS, False),
)
SCHEMA = pa.schema(
    [pa.field(name, kind, nullable) for name, kind, nullable in _FIELDS],
    metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode()},
)
HEAVY_COLUMNS = ("timestamps", "positions", "confidence", "orientations")
"""Columns that grow with the clip's length."""
META_COLUMNS = tuple(name for name, _, _ in _FIELDS if name not in HEAVY_COLUMNS)
META_SCHEMA = pa.schema([SCHEMA.field(name) for name in META_COLUMNS], metadata=SCHEMA.metadata)


def to_row(seq: SkeletonSequence) -> dict[str, Any]:
    """One row of SCHEMA. Arrays are flat numpy arrays; everything else is plain Python data."""
    frames, persons, joints, axes = seq.positions.shape
    return {
        "id": seq.id,
        "dataset": seq.dataset,
        "licence": seq.licence,
        "source_uri": seq.source.uri,
        "source_sha256": seq.source.sha256,
        "reader": seq.source.reader,
        "reader_version": seq.source.reader_version,
        "topology": seq.topology.name,
        "topology_hash": seq.topology.hash,
        "fps": float(seq.fps),
        "timestamps": _flat(seq.timestamps, np.float64),
        "scale": seq.scale,
        "image_size": None if seq.image_size is None else list(seq.image_size),
        "T": frames,
        "P": persons,
        "J": joints,
        "C": axes,
        "positions": _flat(seq.positions, np.float32),
        "confidence": _flat(seq.confidence, np.float32),
        "orientations": _flat(seq.orientations, np.float32),
        "track_ids": list(seq.track_ids),
        "source_transform": seq.source_transform,
        "label": seq.label,
        "captions": list(seq.captions),
        "segments": [{"start": s.start, "end": s.end, "label": s.label} for s in seq.segments],
        "subject": seq.subject,
        "view": seq.view,
        "setup": seq.setup,
        "repetition": seq.repetition,
        # Sorted: two workers that measured in another order write the same bytes.
        "quality": [{"name": name, "value": float(seq.quality[name])} for name in sorted(seq.quality)],
        "notes": list(seq.notes),
    }


def from_row(row: Mapping[str, Any], topologies: Mapping[str, Topology]) -> SkeletonSequence:
    """Inverse of `to_row`.

    Args:
        row: one row with all columns of SCHEMA; arrays as numpy arrays or lists.
        topologies: topology hash -> topology, as `ShardSet.topologies`.

    Raises:
        ValueError: a topology that is not in the table, an unknown scale, or arrays that do not fit T P J C.
    """
    if row["topology_hash"] not in topologies:
        hashes = ", ".join(sorted(topologies))
        raise ValueError(f"{row['id']}: topology {row['topology']} ({row['topology_hash']}) is not among {hashes}")
    topology = topologies[row["topology_hash"]]
    if topology.name != row["topology"]:  # same joints and bones under another name
        topology = replace(topology, name=row["topology"])
    if row["scale"] not in get_args(Scale):
        raise ValueError(f"{row['id']}: scale must be one of {get_args(Scale)}, found {row['scale']!r}")
    shape = (row["T"], row["P"], row["J"], row["C"])
    positions = _shaped(row, "positions", shape, np.float32)
    if positions is None:
        raise ValueError(f"{row['id']}: positions are null")
    return SkeletonSequence(
        id=row["id"],
        dataset=row["dataset"],
        topology=topology,
        positions=positions,
        fps=row["fps"],
        source=Source(
            uri=row["source_uri"],
            sha256=row["source_sha256"],
            reader=row["reader"],
            reader_version=row["reader_version"],
        ),
        scale=row["scale"],
        confidence=_shaped(row, "confidence", shape[:3], np.float32),
        orientations=_shaped(row, "orientations", (*shape[:3], 4), np.float32),
        timestamps=_shaped(row, "timestamps", shape[:1], np.float64),
        image_size=None if row["image_size"] is None else (int(row["image_size"][0]), int(row["image_size"][1])),
        track_ids=tuple(row["track_ids"]),
        label=row["label"],
        captions=tuple(row["captions"]),
        segments=tuple(Segment(start=s["start"], end=s["end"], label=s["label"]) for s in row["segments"]),
        subject=row["subject"],
        view=row["view"],
        setup=row["setup"],
        repetition=row["repetition"],
        licence=row["licence"],
        source_transform=row["source_transform"],
        quality={item["name"]: item["value"] for item in row["quality"]},
        notes=tuple(row["notes"]),
    )


def to_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows -> one table of SCHEMA, in one chunk per column.

    Raises:
        pa.ArrowInvalid: a value does not fit its column.
    """
    collected = list(rows)
    columns = [pa.array([row[field.name] for row in collected], field.type) for field in SCHEMA]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def table_row(table: pa.Table, index: int) -> dict[str, Any]:
    """Row `index` of a table of SCHEMA as `from_row` takes it; long lists stay numpy (no Python floats made)."""
    row: dict[str, Any] = {}
    for field in table.schema:
        scalar = table.column(field.name)[index]
        if field.name in HEAVY_COLUMNS:
            row[field.name] = scalar.values.to_numpy(zero_copy_only=False) if scalar.is_valid else None
        else:
            row[field.name] = scalar.as_py()
    return row


def schema_version(schema: pa.Schema) -> int | None:
    """Version that a stored schema carries, None where it carries none."""
    version = (schema.metadata or {}).get(_VERSION_KEY)
    return int(version) if version is not None else None


def _flat(array: NDArray[Any] | None, dtype: DTypeLike) -> NDArray[Any] | None:
    return None if array is None else np.ascontiguousarray(array, dtype).reshape(-1)


def _shaped(row: Mapping[str, Any], column: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any] | None:
    """A writable copy: the row may point into a read-only memory map."""
    if row[column] is None:
        return None
    flat = np.array(row[column], dtype)
    if flat.size != int(np.prod(shape)):
        raise ValueError(f"{row['id']}: {column} must hold {int(np.prod(shape))} values ({shape}), found {flat.size}")
    return flat.reshape(shape)
