"""Shard set -> clips by key, in random order, from any process. What training, rationales and evaluation read.

A thin view of `skeleton_io.shards.shard_set.ShardSet`: Arrow IPC shards are memory-mapped (a remote one through a local
copy), so that ranks and actors on one machine share the pages. Chooses no clips: `selection` does.
"""

from __future__ import annotations

import pyarrow as pa

from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.shards.shard_set import ShardSet


class ClipStore:
    """Clips of one shard set. Picklable: only the URI travels, the other process maps the files anew.

    Args:
        shards_uri: folder or fsspec URI that `skel ingest` wrote.

    Raises:
        UserError: there is no finished shard set, or one of another version.
    """

    def __init__(self, shards_uri: str) -> None:
        self.uri = shards_uri
        try:
            self.shards = ShardSet.open(shards_uri)
        except SkeletonFormatError as error:
            raise UserError(f"cannot open the shard set: {error}") from None

    def __reduce__(self) -> tuple[type[ClipStore], tuple[str]]:
        return type(self), (self.uri,)

    def __len__(self) -> int:
        return len(self.shards)

    def __contains__(self, key: str) -> bool:
        return key in self.shards

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys "dataset/id" of all clips, sorted by set and id."""
        return self.shards.keys

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the data sets, sorted."""
        return self.shards.sets

    @property
    def protocols(self) -> dict[str, tuple[Protocol, ...]]:
        """Set -> its protocols, the default first."""
        return self.shards.protocols

    @property
    def digest(self) -> str:
        """Hash (16 hex digits) of the index, which names every shard's bytes: equal sets have equal digests."""
        return digest("shards", self.shards.index, [p.to_json() for s in self.sets for p in self.protocols[s]])

    def meta(self) -> pa.Table:
        """One row per clip, in the order of `keys`, with all columns but the long ones."""
        return self.shards.meta()

    def labels(self) -> dict[str, str]:
        """Key -> label of every labelled clip."""
        rows = self.meta().select(["dataset", "id", "label"]).to_pylist()
        return {f"{row['dataset']}/{row['id']}": row["label"] for row in rows if row["label"] is not None}

    def clip(self, key: str) -> SkeletonSequence:
        """One clip.

        Raises:
            KeyError: no clip has that key.
        """
        return self.shards.clip(key)
