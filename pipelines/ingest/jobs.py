"""What travels between the driver of ingest and its tasks: records of plain JSON data, sent as `vars(job)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ChunkJob:
    """Pass 1: consecutive files of one set, to be parsed into one spool file."""

    spool: str
    number: int
    root: str
    source: str
    """As `registry.reference` writes it."""
    dataset: str
    items: list[list[Any]]
    """[id, path, parts] of each."""


@dataclass(frozen=True, kw_only=True)
class ChunkReport:
    """What a chunk came to; on storage beside its spool file, written last."""

    number: int
    dataset: str
    files: int
    clips_in: int
    """A file that cannot be read counts as one clip."""
    clips: list[list[str]]
    """[id, path, sha256] in the order of the spool's rows."""
    quarantine: list[dict[str, Any]]
    topologies: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """Pass 2: rows of the spool, to be written as one shard."""

    spool: str
    out: str
    kind: str
    """ipc or parquet."""
    dataset: str
    number: int
    rows: list[list[int]]
    """[chunk, row] of each clip, in the shard's order."""
