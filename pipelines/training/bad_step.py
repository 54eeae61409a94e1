"""A step whose loss or gradient is no number -> a file with its clips, and a sentence that names them. Ends nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.batches.sampler import Draw
from pipelines.trainer.context import TrainContext
from skeleton_io import storage

NAMED = 3
"""Clips that the sentence names."""


class BadStep:
    """Remembers which of this rank's clips had a loss that is no number.

    Args:
        global_batch: clips of a step over all ranks, of which each rank has an equal stretch.
        ctx: this rank's surroundings.
    """

    def __init__(self, global_batch: int, ctx: TrainContext) -> None:
        self.ctx = ctx
        own = global_batch // ctx.world_size
        self.own = range(ctx.rank * own, (ctx.rank + 1) * own)
        self.bad: set[str] = set()

    def add(self, keys: Sequence[str], losses: Sequence[float]) -> None:
        """Losses of some of this rank's clips."""
        self.bad |= {key for key, loss in zip(keys, losses, strict=True) if not math.isfinite(loss)}

    def save(self, uri: str, place: Mapping[str, Any], draws: Sequence[Draw], what: str) -> str:
        """Writes the file (rank 0); every rank calls it.

        Args:
            uri: of the file.
            place: seed, epoch and step, as they stand in it.
            draws: of the whole step.
            what: is no number: the loss or the gradient.

        Returns:
            A part of a sentence with the clips whose own loss is no number, or all where none is by itself.
        """
        # A flag for each place of the global batch: a clip may come up on two ranks and be bad on one.
        flags = self.ctx.sum([float(i in self.own and d.key in self.bad) for i, d in enumerate(draws)])
        rows = [
            {"key": d.key, "visit": d.visit, "task": d.task, "positive": d.positive, "finite": not bad}
            for d, bad in zip(draws, flags, strict=True)
        ]
        if self.ctx.rank == 0:
            storage.write_atomic(uri, json.dumps({**place, "not_a_number": what, "clips": rows}, indent=1))
        keys = [row["key"] for row in rows if not row["finite"]] or [row["key"] for row in rows]
        more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        return f"its clips ({', '.join(keys[:NAMED])}{more}) are listed in {uri}"
