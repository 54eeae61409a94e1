"""Stage: native files of any known format -> one Arrow shard set with a quarantine table. Two passes of Ray Data.

Pass 1 parses files in parallel into a spool below the output; pass 2 writes shards from it, where the sorted ids alone
decide which clip goes where, so any number of workers writes the same bytes. The driver holds ids, never positions.
The index comes last. Whatever a killed run finished is kept; the same inputs again do nothing. Judges no content
beyond what the readers refuse.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.cluster.spread import spread
from pipelines.config.tree import FullConfig
from pipelines.ingest.jobs import ChunkJob, ChunkReport, ShardJob
from pipelines.ingest.tasks import read_chunk, write_block
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import StageFailed, UserError
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import Progress, say
from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.topology import Topology
from skeleton_io.shards.schema import SCHEMA_VERSION
from skeleton_io.shards.shard_set import Quarantined, ShardInfo, plan, shard_uri, write_index
from skeleton_io.sources.registry import detect_source, protocols_for, reference, resolve
from skeleton_io.sources.shared.files import Item

INGEST_VERSION = 2
"""Raised whenever the shards change though readers and schema did not."""
# Files per task: enough tasks to see progress and lose little, few enough that a task is worth starting.
_TASKS_PER_SET = 32
_MOST_FILES = 256


@dataclass(frozen=True, kw_only=True)
class Input:
    """One set to ingest: its name in the shards, the format that reads it, its folder, its files, its protocols."""

    name: str
    source: str
    """As `registry.reference` writes it: a name of the table, or a whole definition."""
    version: int
    root: str
    items: tuple[Item, ...]
    stamps: tuple[tuple[str, ...], ...]
    """Path, size and time of every file, side files included: what tells a changed input."""
    protocols: tuple[Protocol, ...]


def open_input(spec: str, root: str) -> Input:
    """Lists one set.

    Args:
        spec: NAME of a known source, or NAME:FORMAT.
        root: folder or fsspec URI.

    Raises:
        UserError: the name, the format, the folder or a side file is wrong, or no file is of the format.
    """
    try:
        name, source = resolve(spec)
    except ValueError as error:
        raise UserError(f"input {spec!r}: {error}") from None
    if not storage.exists(root):
        raise UserError(f"input {name}: no folder at {root}")
    if storage.is_local(root) and not storage.local_path(root).is_dir():
        raise UserError(f"input {name}: {root} is a file; give the folder that holds it")
    try:
        items = tuple(source.list_items(root))
        protocols = protocols_for(root, name, source)
    except SkeletonFormatError as error:
        raise UserError(f"input {name}, {root}: {error}") from None
    if not items:
        other = detect_source(root)
        hint = f"; they look like {other.name}" if other else ""
        raise UserError(f"input {name}: none of the files below {root} is of the format {source.name}{hint}")
    files = [path for item in items for path in item.parts or (item.path,)]
    stamps = _stamps(root, {*files, *source.list_companions(root)})
    return Input(
        name=name,
        source=reference(source),
        version=source.version,
        root=root,
        items=items,
        stamps=stamps,
        protocols=protocols,
    )


def _stamps(root: str, paths: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """(path, size, time or tag) of each file."""
    wanted = sorted(paths)
    if storage.is_local(root):
        base = storage.local_path(root)
        stats = [(path, os.stat(base / path)) for path in wanted if (base / path).exists()]
        return tuple((path, str(stat.st_size), str(stat.st_mtime_ns)) for path, stat in stats)
    fs, base_path = storage.filesystem(root)
    infos = fs.find(base_path, detail=True)
    keyed = [(path, infos.get(storage.join(base_path, path))) for path in wanted]
    tags = ("ETag", "LastModified", "mtime", "created")
    return tuple(
        (path, str(info["size"]), *(str(info[tag]) for tag in tags if tag in info)) for path, info in keyed if info
    )


def _key(inputs: list[Input], kind: str, clips_per_shard: int) -> str:
    """Hash of everything that decides the shards' bytes. Where the input lies is not among it."""
    listing = [[i.name, i.source, i.version, sorted(i.stamps), [p.to_json() for p in i.protocols]] for i in inputs]
    return digest("ingest", INGEST_VERSION, SCHEMA_VERSION, kind, clips_per_shard, listing)


def _chunks(inputs: list[Input], spool: str) -> list[ChunkJob]:
    """Jobs of pass 1: consecutive files of one set each. A function of the listing, not of the workers."""
    jobs: list[ChunkJob] = []
    for part in inputs:
        size = min(_MOST_FILES, max(1, len(part.items) // _TASKS_PER_SET, 8))
        for start in range(0, len(part.items), size):
            items = [[item.id, item.path, list(item.parts)] for item in part.items[start : start + size]]
            job = ChunkJob(
                spool=spool, number=len(jobs), root=part.root, source=part.source, dataset=part.name, items=items
            )
            jobs.append(job)
    return jobs


@dataclass(frozen=True, slots=True)
class _Clip:
    """Where one clip lies in the spool. Ordered by set and id, then by file and place in it."""

    dataset: str
    id: str
    path: str
    chunk: int
    row: int
    sha256: str

    @property
    def order(self) -> tuple[str, str, str, int, int]:
        return self.dataset, self.id, self.path, self.chunk, self.row


def _unique(reports: Iterable[ChunkReport]) -> tuple[list[_Clip], list[Quarantined]]:
    """Clips sorted by set and id; of several with one id the first stays, the others are quarantined."""
    clips: list[_Clip] = []
    for report in reports:
        clips += [
            _Clip(report.dataset, name, path, report.number, row, sha256)
            for row, (name, path, sha256) in enumerate(report.clips)
        ]
        report.clips.clear()  # a million clips must not be held twice
    kept: list[_Clip] = []
    refused: list[Quarantined] = []
    clips.sort(key=lambda c: c.order)
    for clip in clips:
        first = kept[-1] if kept else None
        if first is not None and (first.dataset, first.id) == (clip.dataset, clip.id):
            reason = f"expected an id of its own, found {clip.id!r} as in {first.path}"
            entry = Quarantined(dataset=clip.dataset, path=clip.path, place="id", reason=reason, sha256=clip.sha256)
            refused.append(entry)
        else:
            kept.append(clip)
    return kept, refused


def _blocks(clips: list[_Clip], spool: str, out: str, kind: str, clips_per_shard: int) -> list[ShardJob]:
    """Jobs of pass 2, one per shard."""
    by_set: dict[str, dict[str, _Clip]] = {}
    for clip in clips:
        by_set.setdefault(clip.dataset, {})[clip.id] = clip
    jobs: list[ShardJob] = []
    for dataset, by_id in by_set.items():
        for number, ids in enumerate(plan(by_id, clips_per_shard)):
            rows = [[by_id[name].chunk, by_id[name].row] for name in ids]
            jobs.append(ShardJob(spool=spool, out=out, kind=kind, dataset=dataset, number=number, rows=rows))
    return jobs


def _read(inputs: list[Input], spool: str, workers: int) -> list[ChunkReport]:
    """Pass 1."""
    files = sum(len(part.items) for part in inputs)
    say(f"[ingest] {files} files of {len(inputs)} sets: " + ", ".join(f"{i.name} {len(i.items)}" for i in inputs))
    progress = Progress("ingest: read", files, "files")
    jobs = [vars(job) for job in _chunks(inputs, spool)]
    number, results = len(jobs), spread(read_chunk, jobs, workers)
    del jobs  # they name every file of a large set
    reports: list[ChunkReport] = []
    bad = 0
    for result in results:
        report = ChunkReport(**result)
        reports.append(report)
        bad += len(report.quarantine)
        progress.add(report.files, f"{bad} quarantined")
    if len({report.number for report in reports}) != number:
        raise StageFailed("ingest: some files were not read; what was read is kept, start again")
    return sorted(reports, key=lambda report: report.number)


def _write(jobs: list[ShardJob], out: str, workers: int) -> list[ShardInfo]:
    """Pass 2, then files of an older set are removed."""
    progress = Progress("ingest: write", len(jobs), "shards")
    infos = []
    for info in spread(write_block, [vars(job) for job in jobs], workers):
        infos.append(ShardInfo(**info))
        progress.add(1)
    if len(infos) != len(jobs):
        raise StageFailed("ingest: some shards were not written; those that were are kept, start again")
    wanted = {storage.name(shard_uri(out, job.dataset, job.number, job.kind)) for job in jobs}
    wanted |= {f"{name.rsplit('.', 1)[0]}.meta.arrow" for name in wanted}
    for name in storage.list_files(storage.join(out, "shards")):
        if name not in wanted:
            storage.remove(storage.join(out, "shards", name))
    return infos


def _work(inputs: list[Input], out: str, key: str, kind: str, clips_per_shard: int, workers: int) -> dict[str, Any]:
    """Both passes and the index."""
    # The old index goes first: nobody may take a half-changed folder for a finished set.
    for name in ("index.json", "manifest.json"):
        storage.remove(storage.join(out, name))
    spool = storage.join(out, ".spool", key)
    reports = _read(inputs, spool, workers)
    clips, refused = _unique(reports)
    infos = _write(_blocks(clips, spool, out, kind, clips_per_shard), out, workers)
    refused += [Quarantined(**item) for report in reports for item in report.quarantine]
    clips_in = {part.name: 0 for part in inputs}
    for report in reports:
        clips_in[report.dataset] += report.clips_in
    topologies = {t.hash: t for report in reports for t in map(Topology.from_json, report.topologies)}
    index = write_index(out, infos, topologies.values(), {i.name: i.protocols for i in inputs}, refused, clips_in)
    for name, n in index["sets"].items():
        say(f"[ingest] {name}: {n['clips_in']} in = {n['clips_out']} out + {n['quarantined']} quarantined")
    for item in [q for q in refused if not index["sets"][q.dataset]["clips_out"]][:1]:
        say(f"[ingest] {item.dataset}: nothing was readable, for example {item.path}: {item.place}: {item.reason}")
    return {"sets": index["sets"], "files": sum(len(i.items) for i in inputs), "shards": len(infos)}


def ingest(
    inputs: Mapping[str, str],
    out: str,
    format: Literal["ipc", "parquet"],
    clips_per_shard: int,
    workers: int = 0,
) -> dict[str, Any]:
    """Reads every set into one shard set. Needs a running Ray.

    Args:
        inputs: NAME or NAME:FORMAT -> folder or URI.
        out: folder or fsspec URI of the shard set.
        format: of the shards.
        clips_per_shard: consecutive clips of the sorted ids in one shard.
        workers: tasks at a time; 0: one per CPU of the cluster.

    Returns:
        {"sets": {name: {clips_in, clips_out, quarantined}}, "files", "shards", "seconds"}.

    Raises:
        UserError: an input that cannot be opened, a set named twice, a block size below 1.
    """
    if clips_per_shard < 1:
        raise UserError(f"clips_per_shard must be at least 1, found {clips_per_shard}")
    if not inputs:
        raise UserError("nothing to ingest: data.inputs is empty")
    opened = sorted((open_input(spec, root) for spec, root in inputs.items()), key=lambda part: part.name)
    names = [part.name for part in opened]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"inputs name the set {twice[0]} twice")
    key = _key(opened, format, clips_per_shard)
    opened = [replace(part, stamps=()) for part in opened]  # only the key needs them, and a large set has many
    _drop_spools(out, keep=key)
    work = lambda: _work(opened, out, key, format, clips_per_shard, workers)  # noqa: E731
    summary = run_once("ingest", out, key, work)
    _drop_spools(out, keep="")
    return summary


def _drop_spools(out: str, keep: str) -> None:
    """Removes what runs left behind, but the one with this key: with other inputs it would mix two sets."""
    folder = storage.join(out, ".spool")
    fs, path = storage.filesystem(folder)
    fs.invalidate_cache()
    if not fs.exists(path):
        return
    for spool in fs.ls(path, detail=False):
        if not keep or storage.name(spool) != keep:
            fs.rm(spool, recursive=True)
    if not keep:
        storage.remove(folder)


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Ingests `data.inputs` into the run."""
    return ingest(cfg.data.inputs, paths.shards, cfg.data.format, cfg.data.clips_per_shard)
