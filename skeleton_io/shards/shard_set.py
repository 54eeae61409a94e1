"""Rows -> a self-contained shard set on any fsspec URI, and back: whole tables, metadata, one clip by its key.

    <uri>/shards/<dataset>-00000.arrow        one block of clips: Arrow IPC (memory-mapped when local) or .parquet
    <uri>/shards/<dataset>-00000.meta.arrow   the same rows without the long columns
    <uri>/topologies.json  protocols.json  quarantine.jsonl
    <uri>/index.json                          written LAST: version, counts per set, files with rows and hashes

Which clip goes into which shard is a pure function of the sorted ids (`plan`), and no file holds a time or a host
name: any number of workers writes the same bytes. Reads no native formats.
"""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topology import Topology
from skeleton_io.shards.schema import (
    META_COLUMNS,
    META_SCHEMA,
    SCHEMA,
    SCHEMA_VERSION,
    from_row,
    schema_version,
    table_row,
    to_table,
)

SUFFIXES = {"ipc": "arrow", "parquet": "parquet"}
_OPEN_PARQUET = 4  # tables kept in memory; Arrow IPC is mapped and costs none


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """What the index says about one shard."""

    file: str
    """File name below `shards/`."""
    dataset: str
    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A file that could not become a record, with the reason."""

    dataset: str
    path: str
    """Relative to the set's input."""
    place: str
    reason: str
    """What was expected and what was found."""
    sha256: str
    """Of the file's bytes; empty where they could not be read."""


def plan(ids: Iterable[str], clips_per_shard: int) -> list[tuple[str, ...]]:
    """Blocks of consecutive sorted ids: the only rule that decides which clip goes into which shard.

    Raises:
        ValueError: an id twice, or a block size below 1.
    """
    ordered = sorted(ids)
    if clips_per_shard < 1:
        raise ValueError(f"clips_per_shard must be at least 1, found {clips_per_shard}")
    twice = next((a for a, b in pairwise(ordered) if a == b), None)
    if twice is not None:
        raise ValueError(f"id {twice!r} occurs twice")
    return [tuple(ordered[i : i + clips_per_shard]) for i in range(0, len(ordered), clips_per_shard)]


def shard_uri(uri: str, dataset: str, number: int, kind: str = "ipc") -> str:
    """Where block `number` of a set is kept. `kind` is "ipc" or "parquet"."""
    return storage.join(uri, "shards", f"{dataset}-{number:05d}.{SUFFIXES[kind]}")


def write_shard(uri: str, rows: Iterable[Mapping[str, Any]]) -> ShardInfo:
    """Writes one shard and its metadata beside it, atomically; rows are put in the order of their ids.

    Args:
        uri: from `shard_uri`; the suffix chooses the format.
        rows: from `schema.to_row`, all of one set, at least one.

    Raises:
        ValueError: no rows, rows of several sets, or an id twice.
    """
    ordered = sorted(rows, key=lambda row: row["id"])
    sets = sorted({row["dataset"] for row in ordered})
    if len(sets) != 1:
        raise ValueError(f"{uri}: a shard holds the clips of one set, found {sets}")
    # Refuses an id that occurs twice.
    plan((row["id"] for row in ordered), 1)
    table = to_table(ordered)
    data = _parquet_bytes(table) if uri.endswith(SUFFIXES["parquet"]) else _ipc_bytes(table)
    # Metadata first: a shard that is there always has it.
    storage.write_atomic(_meta_uri(uri), _ipc_bytes(table.select(list(META_COLUMNS))))
    storage.write_atomic(uri, data)
    return ShardInfo(file=storage.name(uri), dataset=sets[0], rows=table.num_rows, sha256=storage.sha256(data))


def write_index(
    uri: str,
    shards: Iterable[ShardInfo],
    topologies: Iterable[Topology],
    protocols: Mapping[str, Sequence[Protocol]],
    quarantine: Iterable[Quarantined],
    clips_in: Mapping[str, int],
) -> dict[str, Any]:
    """Completes a shard set: topologies, protocols, quarantine table, and the index at the very end.

    Args:
        uri: the shard set.
        shards: what `write_shard` returned, in any order.
        topologies: all that the clips use.
        protocols: set -> its protocols, the default first.
        quarantine: clips left out.
        clips_in: set -> clips found in the input.

    Returns:
        The index.

    Raises:
        ValueError: clips in differ from clips out + quarantined; nothing is written then.
    """
    infos = sorted(shards, key=lambda info: info.file)
    bad = sorted(quarantine, key=lambda item: (item.dataset, item.path, item.place))
    sets: dict[str, dict[str, int]] = {}
    for dataset in sorted(clips_in):
        out = sum(info.rows for info in infos if info.dataset == dataset)
        quarantined = sum(item.dataset == dataset for item in bad)
        if clips_in[dataset] != out + quarantined:
            raise ValueError(f"{dataset}: {clips_in[dataset]} clips in, but {out} out and {quarantined} quarantined")
        sets[dataset] = {"clips_in": clips_in[dataset], "clips_out": out, "quarantined": quarantined}
    unknown = sorted({info.dataset for info in infos} - set(sets))
    if unknown:
        raise ValueError(f"shards of {unknown}, but no count of their input")
    by_hash = {t.hash: t.to_json() for t in sorted(topologies, key=lambda t: (t.name, t.hash))}
    _write_json(storage.join(uri, "topologies.json"), dict(sorted(by_hash.items())))
    rules = {dataset: [p.to_json() for p in protocols[dataset]] for dataset in sorted(protocols)}
    _write_json(storage.join(uri, "protocols.json"), rules)
    storage.write_atomic(storage.join(uri, "quarantine.jsonl"), "".join(json.dumps(asdict(b)) + "\n" for b in bad))
    index = {"schema_version": SCHEMA_VERSION, "sets": sets, "shards": [asdict(info) for info in infos]}
    _write_json(storage.join(uri, "index.json"), index)
    return index


class ShardSet:
    """A finished shard set. Picklable: another process opens the files anew.

    Attributes:
        uri: where it is.
        index: content of index.json.
        topologies: topology hash -> topology.
        protocols: set -> protocols, the default first.
    """

    def __init__(self, uri: str, cache: str | None = None) -> None:
        self.uri, self._cache = uri, Path(cache) if cache else None
        self.index = self._read_index()
        names = ("topologies.json", "protocols.json")
        tables, rules = (json.loads(storage.read_text(storage.join(uri, name))) for name in names)
        self.topologies = {key: Topology.from_json(value) for key, value in tables.items()}
        self.protocols = {key: tuple(Protocol.from_json(p) for p in value) for key, value in rules.items()}
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()
        self._meta: pa.Table | None = None
        self._place: dict[str, tuple[int, int]] | None = None

    @classmethod
    def open(cls, uri: str, cache: str | None = None) -> ShardSet:
        """Opens a set.

        Args:
            uri: folder or fsspec URI.
            cache: folder for local copies of remote shards; None: `storage.cache_folder()`.

        Raises:
            SkeletonFormatError: no index (the set is missing or half written), or another schema version.
        """
        return cls(uri, cache)

    def __getstate__(self) -> dict[str, Any]:
        # Mapped tables do not travel; the other process maps them anew.
        return {"uri": self.uri, "cache": str(self._cache) if self._cache else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["uri"], state["cache"])

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the data sets, sorted."""
        return tuple(self.index["sets"])

    @cached_property
    def shards(self) -> tuple[ShardInfo, ...]:
        """All shards, sorted by file name."""
        return tuple(ShardInfo(**info) for info in self.index["shards"])

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys "dataset/id" of all clips, sorted by set and id."""
        return tuple(self._places())

    def __len__(self) -> int:
        return sum(info.rows for info in self.shards)

    def __contains__(self, key: object) -> bool:
        return key in self._places()

    def __iter__(self) -> Iterator[str]:
        """The keys, sorted by set and id."""
        return iter(self.keys)

    def __getitem__(self, key: str) -> SkeletonSequence:
        """As `clip`."""
        return self.clip(key)

    def meta(self) -> pa.Table:
        """All rows without the long columns: cheap, whatever the size of the set."""
        if self._meta is None:
            uris = [_meta_uri(self._uri(info)) for info in self.shards]
            tables = [pa.ipc.open_file(pa.BufferReader(data)).read_all() for data in storage.read_many(uris)]
            self._meta = pa.concat_tables(tables) if tables else META_SCHEMA.empty_table()
        return self._meta

    def quarantine(self) -> list[Quarantined]:
        """Clips left out, with the reasons."""
        text = storage.read_text(storage.join(self.uri, "quarantine.jsonl"))
        return [Quarantined(**json.loads(line)) for line in text.splitlines()]

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows (or these columns of them); Arrow IPC shards are mapped, not read."""
        tables = [self._shard(info) for info in self.shards]
        whole = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        return whole if columns is None else whole.select(list(columns))

    def clip(self, key: str) -> SkeletonSequence:
        """One clip by its key "dataset/id".

        Raises:
            KeyError: no such clip.
        """
        shard, row = self._places()[key]
        return from_row(table_row(self._shard(self.shards[shard]), row), self.topologies)

    def verify(self) -> None:
        """Reads every shard and compares hash and row count with the index.

        Raises:
            SkeletonFormatError: at the first shard that differs.
        """
        for info in self.shards:
            uri = self._uri(info)
            digest = storage.sha256(storage.read_bytes(uri))
            if digest != info.sha256:
                raise SkeletonFormatError(uri, "whole file", f"sha256 {info.sha256}", digest)
            rows = self._shard(info).num_rows
            if rows != info.rows:
                raise SkeletonFormatError(uri, "whole file", f"{info.rows} rows", str(rows))

    def _uri(self, info: ShardInfo) -> str:
        return storage.join(self.uri, "shards", info.file)

    def _read_index(self) -> dict[str, Any]:
        uri = storage.join(self.uri, "index.json")
        if not storage.exists(uri):
            raise SkeletonFormatError(
                self.uri, "index.json", "an index, written last", "none: not a shard set, or ingest did not finish"
            )
        index = json.loads(storage.read_text(uri))
        if index["schema_version"] != SCHEMA_VERSION:
            raise SkeletonFormatError(uri, "schema_version", str(SCHEMA_VERSION), str(index["schema_version"]))
        return index

    def _places(self) -> dict[str, tuple[int, int]]:
        """Key -> (number of the shard, row in it)."""
        if self._place is None:
            meta, place, start = self.meta(), {}, 0
            keys = [f"{d}/{i}" for d, i in zip(meta["dataset"].to_pylist(), meta["id"].to_pylist(), strict=True)]
            for number, info in enumerate(self.shards):
                place.update({key: (number, row) for row, key in enumerate(keys[start : start + info.rows])})
                start += info.rows
            if len(place) != len(self):
                raise SkeletonFormatError(self.uri, "ids", f"{len(self)} different keys", f"{len(place)}")
            self._place = place
        return self._place

    def _shard(self, info: ShardInfo) -> pa.Table:
        if info.file not in self._tables:
            path = storage.local_copy(self._uri(info), info.sha256, self._cache)
            self._tables[info.file] = _read_shard(path, info.file)
            mapped = info.file.endswith(SUFFIXES["ipc"])
            if not mapped and len(self._tables) > _OPEN_PARQUET:
                self._tables.popitem(last=False)
        self._tables.move_to_end(info.file)
        return self._tables[info.file]


def _read_shard(path: Path, file: str) -> pa.Table:
    try:
        if file.endswith(SUFFIXES["parquet"]):
            table = pq.read_table(path, memory_map=True).combine_chunks()
            if schema_version(table.schema) == SCHEMA_VERSION:
                table = table.cast(SCHEMA)  # Parquet calls a list's items "element"
        else:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid as error:
        raise SkeletonFormatError(file, "whole file", "an Arrow or Parquet file", str(error)) from None
    if schema_version(table.schema) != SCHEMA_VERSION:
        raise SkeletonFormatError(file, "schema", f"version {SCHEMA_VERSION}", str(schema_version(table.schema)))
    return table


def _meta_uri(uri: str) -> str:
    return uri.rsplit(".", 1)[0] + ".meta.arrow"


def _write_json(uri: str, data: object) -> None:
    storage.write_atomic(uri, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def _ipc_bytes(table: pa.Table) -> bytes:
    # Not compressed: a compressed buffer cannot be mapped.
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _parquet_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
