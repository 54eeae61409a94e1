"""schema and shards: bit-exact round trip, same bytes for any order of work, index last, remote sets."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pyarrow as pa
import pytest

from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.protocol import HASHED
from skeleton_io.record.sequence import Segment, SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, SBU15
from skeleton_io.record.topology import Topology
from skeleton_io.shards import schema, shard_set

TOPOLOGIES = {t.hash: t for t in (SBU15, COCO17)}


def clip(number: int, dataset: str = "made_up") -> SkeletonSequence:
    """A clip with something in every field; odd numbers are 2D."""
    rng = np.random.default_rng(number)
    flat = number % 2 == 1
    topology = COCO17 if flat else SBU15
    shape = (3 + number, 2, len(topology.joints), 2 if flat else 3)
    positions = rng.normal(size=shape).astype(np.float32)
    positions[1, 0] = np.nan
    # A NaN with a payload of its own: must come back bit for bit.
    positions.reshape(-1).view(np.uint32)[0] = 0x7FC00123
    return SkeletonSequence(
        id=f"clip{number:03d}", dataset=dataset, topology=topology, positions=positions, fps=29.97,
        source=Source(uri=f"a/{number}.txt", sha256="00", reader="made", reader_version=3),
        scale="pixels" if flat else "metric", image_size=(640, 480) if flat else None,
        confidence=rng.random(shape[:3], np.float32), timestamps=np.arange(shape[0]) / 7,
        orientations=None if flat else rng.normal(size=(*shape[:3], 4)).astype(np.float32),
        track_ids=("a", "b"), label="wave", captions=("one", "zwei ä"),
        segments=(Segment(start=0.0, end=0.1, label="up"),), subject="1", view=None, setup="s", repetition="2",
        licence="none", source_transform="x = -x", quality={"b": 0.5, "a": 0.25}, notes=("dropped a track",),
    )  # fmt: skip


def same(a: SkeletonSequence, b: SkeletonSequence) -> None:
    for field in dataclasses.fields(SkeletonSequence):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, field.name
            assert left.shape == right.shape, field.name
            assert left.tobytes() == right.tobytes(), field.name
        else:
            assert left == right, field.name


def write_set(uri: str, kind: str = "ipc", order: int = 1, size: int = 2) -> None:
    """Five clips in blocks of two, written in one or the other order."""
    clips = {c.id: c for c in (clip(n) for n in range(5))}
    infos = []
    for number, block in list(enumerate(shard_set.plan(clips, size)))[::order]:
        rows = [schema.to_row(clips[i]) for i in block][::order]
        infos.append(shard_set.write_shard(shard_set.shard_uri(uri, "made_up", number, kind), rows))
    bad = [
        shard_set.Quarantined(dataset="made_up", path="x.txt", place="line 1", reason="expected a, found b", sha256="")
    ]
    shard_set.write_index(uri, infos, [COCO17, SBU15][::order], {"made_up": (HASHED,)}, bad, {"made_up": 6})


@pytest.mark.parametrize("number", [0, 1])
def test_row_round_trip_is_bit_exact(number: int):
    original = clip(number)
    table = schema.to_table([schema.to_row(original)])
    assert table.schema.equals(schema.SCHEMA, check_metadata=True)
    same(original, schema.from_row(schema.table_row(table, 0), TOPOLOGIES))
    # Plain Python data, as any other tool hands it over, keeps all values (a NaN's payload is lost on the way).
    plain = schema.from_row(table.to_pylist()[0], TOPOLOGIES)
    np.testing.assert_array_equal(plain.positions, original.positions)


def test_topology_is_found_by_content_and_keeps_its_name():
    other = dataclasses.replace(clip(0), topology=dataclasses.replace(SBU15, name="mine"))
    assert schema.from_row(schema.to_row(other), TOPOLOGIES).topology.name == "mine"
    with pytest.raises(ValueError, match="is not among"):
        schema.from_row(schema.to_row(other), {})
    with pytest.raises(ValueError, match="positions must hold"):
        schema.from_row({**schema.to_row(clip(0)), "T": 4}, TOPOLOGIES)


@pytest.mark.parametrize("kind", ["ipc", "parquet"])
@pytest.mark.parametrize("place", ["local", "memory"])
def test_set_round_trip(kind: str, place: str, tmp_path):
    uri = str(tmp_path / "set") if place == "local" else f"memory://{tmp_path.name}-{kind}"
    write_set(uri, kind)
    stored = pickle.loads(pickle.dumps(shard_set.ShardSet.open(uri, str(tmp_path / "cache"))))
    assert stored.keys == tuple(f"made_up/clip{n:03d}" for n in range(5))
    assert len(stored) == 5
    assert "made_up/clip001" in stored
    for number in (4, 0, 3):
        same(clip(number), stored.clip(f"made_up/clip{number:03d}"))
    assert stored.clip("made_up/clip000").positions.flags.writeable
    with pytest.raises(KeyError):
        stored.clip("made_up/none")
    assert stored.meta().num_rows == 5
    assert not set(schema.HEAVY_COLUMNS) & set(stored.meta().column_names)
    assert stored.table(["id", "T"]).to_pylist()[1] == {"id": "clip001", "T": 4}
    assert stored.quarantine()[0].path == "x.txt"
    assert stored.protocols["made_up"] == (HASHED,)
    assert stored.index["sets"] == {"made_up": {"clips_in": 6, "clips_out": 5, "quarantined": 1}}
    stored.verify()


def test_any_order_of_work_writes_the_same_bytes(tmp_path):
    for name, order in (("one", 1), ("two", -1)):
        write_set(str(tmp_path / name), order=order)
    files = storage.list_files(str(tmp_path / "one"))
    assert len(files) == 3 * 2 + 4
    assert files == storage.list_files(str(tmp_path / "two"))
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_half_written_set_is_refused(tmp_path):
    rows = [schema.to_row(clip(0))]
    info = shard_set.write_shard(shard_set.shard_uri(str(tmp_path), "made_up", 0), rows)
    with pytest.raises(SkeletonFormatError, match="ingest did not finish"):
        shard_set.ShardSet.open(str(tmp_path))
    with pytest.raises(ValueError, match="2 clips in, but 1 out and 0 quarantined"):
        shard_set.write_index(str(tmp_path), [info], [SBU15], {}, [], {"made_up": 2})
    assert not (tmp_path / "index.json").exists()


def test_damage_and_other_versions_are_noticed(tmp_path):
    write_set(str(tmp_path))
    file = tmp_path / "shards" / "made_up-00001.arrow"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(SkeletonFormatError, match="sha256"):
        shard_set.ShardSet.open(str(tmp_path)).verify()
    index = tmp_path / "index.json"
    index.write_text(index.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(SkeletonFormatError, match="expected 1, found 99"):
        shard_set.ShardSet.open(str(tmp_path))


def test_plan_is_a_function_of_the_sorted_ids():
    assert shard_set.plan(["c", "a", "b"], 2) == [("a", "b"), ("c",)]
    assert shard_set.plan([], 2) == []
    with pytest.raises(ValueError, match="occurs twice"):
        shard_set.plan(["a", "b", "a"], 2)
    with pytest.raises(ValueError, match="at least 1"):
        shard_set.plan(["a"], 0)


def test_a_shard_holds_one_set(tmp_path):
    rows = [schema.to_row(clip(0)), schema.to_row(clip(1, "other"))]
    with pytest.raises(ValueError, match="one set"):
        shard_set.write_shard(str(tmp_path / "x.arrow"), rows)


def test_the_schema_is_frozen():
    """A change here needs a new SCHEMA_VERSION and a line in CHANGELOG."""
    assert schema.SCHEMA_VERSION == 1
    assert schema.SCHEMA.names == [
        "id", "dataset", "licence", "source_uri", "source_sha256", "reader", "reader_version", "topology",
        "topology_hash", "fps", "timestamps", "scale", "image_size", "T", "P", "J", "C", "positions", "confidence",
        "orientations", "track_ids", "source_transform", "label", "captions", "segments", "subject", "view", "setup",
        "repetition", "quality", "notes",
    ]  # fmt: skip
    assert schema.SCHEMA.field("positions").type == pa.list_(pa.float32())


def test_topology_json_round_trip():
    assert Topology.from_json(SBU15.to_json()) == SBU15
