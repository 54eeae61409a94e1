"""The two kinds of Ray tasks of ingest: native files -> a spool file; spool files -> one finished shard.

The spool is what makes any number of workers write the same shards without a shuffle through memory: the first pass
leaves parsed rows on storage in the order of the listing, the second picks from them the rows of one shard. Each task
writes its results first and a small JSON file last; a task that finds that JSON returns it and does nothing.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import pyarrow as pa

from pipelines.raydata import Job
from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.schema import table_row, to_row, to_table
from skeleton_io.sequence import SkeletonSequence
from skeleton_io.shards import Quarantined, shard_uri, write_shard
from skeleton_io.sources.base import SOURCES
from skeleton_io.sources.files import Item


def read_chunk(job: Job) -> Job:
    """Parses consecutive files of one set into one spool file.

    Args:
        job: spool, number, root, source, dataset, items [[id, path], ...].

    Returns:
        number, dataset, files, clips_in, quarantine, topologies as JSON, and clips [[id, path, sha256], ...] in the
        order of the spool's rows. A file that cannot be read counts as one clip.
    """
    marker = storage.join(job["spool"], f"chunk-{job['number']:06d}.json")
    if storage.exists(marker):
        return json.loads(storage.read_text(marker))
    rows: list[dict[str, Any]] = []
    topologies: dict[str, Any] = {}
    quarantine: list[dict[str, Any]] = []
    for name, path in job["items"]:
        found = _read_file(job, Item(id=name, path=path))
        if isinstance(found, Quarantined):
            quarantine.append(asdict(found))
            continue
        rows += [to_row(clip) for clip in found]
        topologies |= {clip.topology.hash: clip.topology.to_json() for clip in found}
    if rows:
        storage.write_atomic(_spool_uri(job["spool"], job["number"]), _ipc_bytes(to_table(rows)))
    result = {
        "number": job["number"],
        "dataset": job["dataset"],
        "files": len(job["items"]),
        "clips_in": len(rows) + len(quarantine),
        "clips": [[row["id"], row["source_uri"], row["source_sha256"]] for row in rows],
        "quarantine": quarantine,
        "topologies": list(topologies.values()),
    }
    storage.write_atomic(marker, json.dumps(result))
    return result


def write_block(job: Job) -> Job:
    """Writes one shard from the spool.

    Args:
        job: spool, out, kind ("ipc" or "parquet"), dataset, number, and rows [[chunk, row], ...] of the spool.

    Returns:
        What the index says about the shard: file, dataset, rows, sha256.
    """
    marker = storage.join(job["spool"], f"shard-{job['dataset']}-{job['number']:05d}.json")
    target = shard_uri(job["out"], job["dataset"], job["number"], job["kind"])
    if storage.exists(marker) and storage.exists(target):
        return json.loads(storage.read_text(marker))
    picked = [table_row(_spooled(job["spool"], chunk), row) for chunk, row in job["rows"]]
    _spooled.cache_clear()  # worker processes outlive this run
    info = asdict(write_shard(target, picked))
    storage.write_atomic(marker, json.dumps(info))
    return info


def _read_file(job: Job, item: Item) -> list[SkeletonSequence] | Quarantined:
    """Clips of one file, or why there are none."""
    try:
        return SOURCES[job["source"]].read(job["root"], item, job["dataset"])
    except SkeletonFormatError as error:
        try:
            digest = storage.sha256(storage.read_bytes(storage.join(job["root"], item.path)))
        except OSError:
            digest = ""
        reason = f"expected {error.expected}, found {error.found}"
        return Quarantined(dataset=job["dataset"], path=item.path, place=error.place, reason=reason, sha256=digest)


def _spool_uri(spool: str, number: int) -> str:
    return storage.join(spool, f"chunk-{number:06d}.arrow")


@lru_cache(maxsize=8)
def _spooled(spool: str, number: int) -> pa.Table:
    uri = _spool_uri(spool, number)
    if storage.is_local(uri):
        return pa.ipc.open_file(pa.memory_map(str(storage.local_path(uri)))).read_all()
    return pa.ipc.open_file(pa.BufferReader(storage.read_bytes(uri))).read_all()


def _ipc_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
