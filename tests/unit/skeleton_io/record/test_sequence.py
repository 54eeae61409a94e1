"""The record: bit-exact round trips of anything valid, equal in both formats, open to other tools, schema frozen."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from skeleton_io.protocols.protocol import HASHED
from skeleton_io.record.sequence import Segment, SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, SBU15
from skeleton_io.record.topology import Topology
from skeleton_io.shards import schema, shard_set

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "schema.json"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def clips(draw: st.DrawFn) -> SkeletonSequence:
    """Any valid clip: every bit pattern of a float that is not infinite, every optional field there or not."""
    joints = draw(st.integers(1, 4))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 3)), joints, draw(st.sampled_from([2, 3])))
    bits = draw(arrays.arrays(np.uint32, shape))
    positions = bits.view(np.float32).copy()
    positions[np.isinf(positions)] = -0.0
    positions[0, 0, 0, 0] = draw(st.floats(width=32, allow_nan=False, allow_infinity=False))

    def maybe(extra: tuple[int, ...], kind: type = np.float32) -> np.ndarray | None:
        return draw(st.none() | arrays.arrays(kind, extra))

    return SkeletonSequence(
        id=draw(TEXT), dataset="made_up",
        topology=Topology(name=draw(TEXT), joints=tuple("abcd"[:joints]), bones=((0, 1),) if joints > 1 else ()),
        positions=positions, fps=draw(st.floats(1e-3, 1e6)),
        source=Source(uri=draw(TEXT), sha256="00", reader="made", reader_version=draw(st.integers(0, 9))),
        scale=draw(st.sampled_from(["metric", "normalised"])), confidence=maybe(shape[:3]),
        orientations=maybe((*shape[:3], 4)), timestamps=maybe(shape[:1], np.float64),
        image_size=draw(st.none() | st.tuples(st.integers(1, 9999), st.integers(1, 9999))),
        track_ids=tuple(draw(st.just([]) | st.lists(TEXT, min_size=shape[1], max_size=shape[1]))),
        label=draw(st.none() | TEXT), captions=tuple(draw(st.lists(TEXT, max_size=3))),
        segments=tuple(draw(st.lists(st.builds(Segment, start=FINITE, end=FINITE, label=TEXT), max_size=3))),
        subject=draw(st.none() | TEXT), view=draw(st.none() | TEXT), setup=draw(st.none() | TEXT),
        repetition=draw(st.none() | TEXT), licence=draw(st.none() | TEXT), source_transform=draw(TEXT),
        quality=draw(st.dictionaries(TEXT, FINITE, max_size=3)), notes=tuple(draw(st.lists(TEXT, max_size=3))),
    )  # fmt: skip


def assert_same(a: SkeletonSequence, b: SkeletonSequence) -> None:
    for field in dataclasses.fields(SkeletonSequence):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, np.ndarray):
            assert (left.dtype, left.shape) == (right.dtype, right.shape), field.name
            assert left.tobytes() == right.tobytes(), field.name
        else:
            assert left == right, field.name


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(clip=clips())
def test_any_clip_comes_back_bit_for_bit_from_both_formats(clip: SkeletonSequence, tmp_path_factory) -> None:
    folder = str(tmp_path_factory.mktemp("set"))
    tables = []
    for kind in ("ipc", "parquet"):
        uri = f"{folder}/{kind}"
        info = shard_set.write_shard(shard_set.shard_uri(uri, "made_up", 0, kind), [schema.to_row(clip)])
        shard_set.write_index(uri, [info], [clip.topology], {"made_up": (HASHED,)}, [], {"made_up": 1})
        shards = shard_set.ShardSet.open(uri)
        assert_same(clip, shards.clip(clip.key))
        tables.append(shards.table())
    assert tables[0].schema.equals(tables[1].schema, check_metadata=True)
    for name in tables[0].column_names:  # bytes, since NaN is not equal to itself
        one, other = (_bytes(table[name]) for table in tables)
        assert one == other, name


def _bytes(column: pa.ChunkedArray) -> object:
    if pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type):
        rows = (column[row] for row in range(len(column)))
        return [row.values.to_numpy(zero_copy_only=False).tobytes() if row.is_valid else None for row in rows]
    return column.to_pylist()


def test_text_that_no_shard_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"text must be Unicode, found 'a\\ud800'"):
        dataclasses.replace(_plain("x", 3), label="a\ud800")
    with pytest.raises(ValueError, match="image_size"):
        dataclasses.replace(_plain("x", 3), image_size=(2**40, 1))


def _plain(name: str, axes: int) -> SkeletonSequence:
    topology = SBU15 if axes == 3 else COCO17
    rng = np.random.default_rng(axes)
    positions = rng.normal(size=(4, 2, len(topology.joints), axes)).astype(np.float32)
    positions[1, 0] = np.nan
    return SkeletonSequence(
        id=name, dataset="made_up", topology=topology, positions=positions, fps=25.0,
        source=Source(uri=f"{name}.txt", sha256="00", reader="made", reader_version=1),
        scale="metric" if axes == 3 else "pixels", image_size=None if axes == 3 else (640, 480),
        label="wave", captions=("one", "two ä"), segments=(Segment(start=0.0, end=0.1, label="up"),),
        quality={"missing_share": 0.25},
    )  # fmt: skip


@pytest.fixture(scope="module", params=["ipc", "parquet"])
def shard_file(request: pytest.FixtureRequest, tmp_path_factory) -> tuple[str, Path, list[SkeletonSequence]]:
    """(kind, file of one shard with two clips, the clips)."""
    clips = [_plain("a", 3), _plain("b", 2)]
    uri = shard_set.shard_uri(str(tmp_path_factory.mktemp("set")), "made_up", 0, request.param)
    shard_set.write_shard(uri, [schema.to_row(clip) for clip in clips])
    return request.param, Path(uri), clips


def _check(rows: list[dict], clips: list[SkeletonSequence]) -> None:
    assert [row["id"] for row in rows] == ["a", "b"]
    for row, clip in zip(rows, clips, strict=True):
        shape = tuple(int(row[name]) for name in "TPJC")
        np.testing.assert_array_equal(np.array(row["positions"], np.float32).reshape(shape), clip.positions)
        assert (row["label"], list(row["captions"])) == ("wave", ["one", "two ä"])
        assert [segment["label"] for segment in row["segments"]] == ["up"]


def test_pandas_reads_a_shard(shard_file: tuple[str, Path, list[SkeletonSequence]]) -> None:
    kind, path, clips = shard_file
    frame = pd.read_parquet(path) if kind == "parquet" else pd.read_feather(path)
    _check(frame.to_dict("records"), clips)
    assert frame.groupby("label")["T"].sum().to_dict() == {"wave": 8}


def test_polars_reads_a_shard(shard_file: tuple[str, Path, list[SkeletonSequence]]) -> None:
    kind, path, clips = shard_file
    frame = pl.read_parquet(path) if kind == "parquet" else pl.read_ipc(path)
    _check(frame.to_dicts(), clips)
    assert frame.schema["positions"] == pl.List(pl.Float32)
    missing = frame.select(pl.col("positions").list.eval(pl.element().is_nan()).list.mean())["positions"][0]
    assert math.isclose(missing, 0.125)


def test_duckdb_reads_a_shard(shard_file: tuple[str, Path, list[SkeletonSequence]]) -> None:
    kind, path, clips = shard_file
    with duckdb.connect() as database:
        if kind == "ipc":  # through Arrow, as DuckDB reads IPC files: nothing is copied
            database.register("shard", pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        else:
            database.execute(f"create view shard as select * from '{path}'")
        rows = database.sql("select * from shard order by id").to_arrow_table().to_pylist()
        _check(rows, clips)
        sums = database.execute("select label, sum(T), max(len(positions)) from shard group by label").fetchall()
        assert sums == [("wave", 8, 4 * 2 * 15 * 3)]


def test_the_schema_is_golden() -> None:
    """A change here needs a new SCHEMA_VERSION, a new golden file and a line in CHANGELOG."""
    fields = [[field.name, str(field.type), field.nullable] for field in schema.SCHEMA]
    own = {"version": schema.SCHEMA_VERSION, "fields": fields, "heavy": list(schema.HEAVY_COLUMNS)}
    assert own == json.loads(GOLDEN.read_text())
    assert schema.schema_version(schema.SCHEMA) == schema.SCHEMA_VERSION
