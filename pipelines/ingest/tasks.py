"""The two kinds of Ray tasks of ingest: native files -> a spool file; spool files -> one finished shard.

The spool is what makes any number of workers write the same shards without a shuffle through memory: the first pass
leaves parsed rows on storage in the order of the listing, the second picks from them the rows of one shard. Each task
writes its results first and a small JSON file last; a task that finds that JSON returns it and does nothing.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import pyarrow as pa

from pipelines.cluster.spread import Job
from pipelines.ingest.jobs import ChunkJob, ChunkReport, ShardJob
from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.shards.schema import table_row, to_row, to_table
from skeleton_io.shards.shard_set import Quarantined, shard_uri, write_shard
from skeleton_io.sources.registry import open_source
from skeleton_io.sources.shared.files import Item

_ROWS_PER_BATCH = 256


def read_chunk(data: Job) -> Job:
    """Parses consecutive files of one set into one spool file: a `ChunkJob` -> its `ChunkReport`, both as JSON."""
    job = ChunkJob(**data)
    marker = storage.join(job.spool, f"chunk-{job.number:06d}.json")
    if storage.exists(marker):
        return json.loads(storage.read_text(marker))
    topologies: dict[str, Any] = {}
    quarantine: list[dict[str, Any]] = []
    with _Spool(_spool_uri(job.spool, job.number)) as spool:
        for name, path, parts in job.items:
            item = Item(id=name, path=path, parts=tuple(parts))
            for clip in open_source(job.source).stream(job.root, item, job.dataset):
                if isinstance(clip, SkeletonFormatError):
                    quarantine.append(asdict(_quarantine(job, item, clip)))
                else:
                    spool.add(to_row(clip))
                    topologies[clip.topology.hash] = clip.topology.to_json()
    report = ChunkReport(
        number=job.number,
        dataset=job.dataset,
        files=len(job.items),
        clips_in=len(spool.clips) + len(quarantine),
        clips=spool.clips,
        quarantine=quarantine,
        topologies=list(topologies.values()),
    )
    storage.write_atomic(marker, json.dumps(vars(report)))
    return vars(report)


def write_block(data: Job) -> Job:
    """Writes one shard from the spool: a `ShardJob` -> what the index says about the shard, a `ShardInfo`, as JSON."""
    job = ShardJob(**data)
    marker = storage.join(job.spool, f"shard-{job.dataset}-{job.number:05d}.json")
    target = shard_uri(job.out, job.dataset, job.number, job.kind)
    if storage.exists(marker) and storage.exists(target):
        return json.loads(storage.read_text(marker))
    rows = [table_row(_spool_table(job.spool, chunk), row) for chunk, row in job.rows]
    _spool_table.cache_clear()  # worker processes outlive this run
    info = asdict(write_shard(target, rows))
    storage.write_atomic(marker, json.dumps(info))
    return info


def _quarantine(job: ChunkJob, item: Item, error: SkeletonFormatError) -> Quarantined:
    try:
        digest = "" if item.parts else storage.sha256(storage.read_bytes(storage.join(job.root, item.path)))
    except OSError:
        digest = ""
    reason = f"expected {error.expected}, found {error.found}"
    return Quarantined(dataset=job.dataset, path=item.path, place=error.place, reason=reason, sha256=digest)


class _Spool:
    """Rows -> one Arrow file that appears when the block ends; holds few rows at a time, however many a file has."""

    def __init__(self, uri: str) -> None:
        self.clips: list[list[str]] = []
        self._uri, self._rows = uri, list[dict[str, Any]]()
        self._stack = ExitStack()
        self._writer: pa.RecordBatchFileWriter | None = None

    def __enter__(self) -> _Spool:
        return self

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self.clips.append([row["id"], row["source_uri"], row["source_sha256"]])
        if len(self._rows) == _ROWS_PER_BATCH:
            self._flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self._flush()
        self._stack.__exit__(kind, error, trace)

    def _flush(self) -> None:
        if not self._rows:
            return
        table = to_table(self._rows)
        if self._writer is None:
            file = self._stack.enter_context(storage.atomic_file(self._uri))
            self._writer = self._stack.enter_context(pa.ipc.new_file(file, table.schema))
        self._writer.write_table(table)
        self._rows = []


def _spool_uri(spool: str, number: int) -> str:
    return storage.join(spool, f"chunk-{number:06d}.arrow")


@lru_cache(maxsize=8)
def _spool_table(spool: str, number: int) -> pa.Table:
    uri = _spool_uri(spool, number)
    if storage.is_local(uri):
        return pa.ipc.open_file(pa.memory_map(str(storage.local_path(uri)))).read_all()
    return pa.ipc.open_file(pa.BufferReader(storage.read_bytes(uri))).read_all()
