"""Items to read with an exported model -> one row each, by a pool of actors on Ray Data.

Batches are cut before they are spread, so neither the number of actors nor a stop half-way changes a row. Rows that are
on storage are not computed again. What is asked about an item, its actor knows: `scorer`, `answerer`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from pipelines.cluster.spread import quiet
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.runtime.errors import StageFailed
from pipelines.runtime.progress import Progress
from pipelines.scores.rows import ROWS, check_finite, read_rows, write_part

if TYPE_CHECKING:
    from torch import Tensor

BATCHES_PER_PART = 4
"""Batches between two writes: what a broken-off run loses at most, per actor."""


class Item(Protocol):
    """A frozen dataclass of plain values."""

    @property
    def key(self) -> str:
        """Key of its row."""
        ...


class RowActor:
    """One actor: loads the exported model once, then turns batches of items into rows. A base class.

    Args:
        model_uri: export folder.
        shards_uri: shard set.
    """

    def __init__(self, model_uri: str, shards_uri: str) -> None:
        # Here: a driver that only spreads work loads no torch.
        import torch

        from pipelines.inference.trained_model import load_model

        torch.set_num_threads(1)
        self.model = load_model(model_uri)
        self.store = ClipStore(shards_uri)

    def rows(self, items: Sequence[Any]) -> list[dict[str, Any]]:
        """One row of `ROWS` for each item of a batch."""
        raise NotImplementedError

    def decode(self, item: dict[str, Any]) -> Any:
        """Plain values -> an item."""
        raise NotImplementedError

    def draw(self, keys: Sequence[str]) -> Tensor:
        """Frames (N, F, 3, H, W) of the clips with these keys."""
        return self.model.draw([self.store.clip(key) for key in keys])

    def table(self, items: Sequence[Any]) -> pa.Table:
        """`rows` as a table of the schema `ROWS`."""
        return pa.Table.from_pylist(self.rows(items), schema=ROWS)

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        """Column `items`, each a batch as JSON -> rows of `ROWS`."""
        batches = ([self.decode(item) for item in json.loads(str(text))] for text in batch["items"])
        return pa.concat_tables([self.table(items) for items in batches])


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Which actors work, and where their rows go.

    Attributes:
        name: stage shown in progress lines.
        noun: what a row stands for, in the plural.
        actor: the class of the actors.
        arguments: of its constructor.
        out: folder for the rows; what is there is not computed again, so it must belong to this model.
        cfg: `evaluate.actors` and the resources per worker of `train`.
    """

    name: str
    noun: str
    actor: type[RowActor]
    arguments: tuple[Any, ...]
    out: str
    cfg: FullConfig

    def fill(self, batches: Sequence[Sequence[Item]]) -> dict[str, dict[str, Any]]:
        """The row of every item, by its key; Ray must be connected where rows are missing.

        Raises:
            StageFailed: rows are missing at the end, or a score is not a finite number.
        """
        items = [item for batch in batches for item in batch]
        done = set(read_rows(self.out)["key"].to_pylist())
        todo = [batch for batch in batches if any(item.key not in done for item in batch)]
        progress = Progress(self.name, len(items), self.noun)
        progress.skip(len(items) - sum(map(len, todo)))
        for table in self._tables(todo) if todo else ():
            check_finite(self.name, table)
            write_part(self.out, table)
            progress.add(len(table))
        keys = {item.key for item in items}
        rows = {row["key"]: row for row in read_rows(self.out).to_pylist() if row["key"] in keys}
        if missing := len(keys) - len(rows):
            raise StageFailed(f"{self.name}: {missing} {self.noun} have no row in {self.out}; run it again")
        return rows

    def _tables(self, todo: Sequence[Sequence[Item]]) -> Iterator[pa.Table]:
        """Tables of `ROWS` as blocks of batches are finished, in no particular order."""
        import ray

        quiet()
        actors = min(self.cfg.evaluate.actors, len(todo))
        # Small blocks: a block is what an actor hands back, so it is also what a stopped run has kept.
        blocks = max(actors, -(-len(todo) // BATCHES_PER_PART))
        batches = [{"items": json.dumps([asdict(item) for item in batch])} for batch in todo]  # type: ignore[call-overload]
        rows = ray.data.from_items(batches, override_num_blocks=blocks).map_batches(
            self.actor,
            fn_constructor_args=self.arguments,
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=self.cfg.train.cpus_per_worker,
            num_gpus=self.cfg.train.gpus_per_worker,
        )
        for table in rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            if len(table):
                yield table
