"""Where a stage stands -> storage and back: each rank saves into a folder of its own, the context merges them.

A checkpoint holds what learns, the optimiser's moments and (epoch, step); frozen weights and data are found again from
the configuration. Checkpoints belong to one number of workers. Writes no exports: `model` does.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from pipelines.context import TrainContext
from pipelines.engine import Engine
from pipelines.errors import StageFailed


def save(engine: Engine, ctx: TrainContext, epoch: int, step: int, metrics: dict[str, Any]) -> None:
    """Writes a checkpoint; every rank calls it. `step` is the next one to do within `epoch`."""
    folder = Path(tempfile.mkdtemp(prefix="skel-checkpoint-"))
    try:
        engine.save(folder, {"epoch": epoch, "step": step, "workers": ctx.world_size})
        ctx.report(metrics, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def restore(engine: Engine, ctx: TrainContext) -> tuple[int, int] | None:
    """Loads the newest checkpoint; returns (epoch, step) to go on with, None where there is no checkpoint.

    Raises:
        StageFailed: another number of workers wrote it.
    """
    with ctx.restored() as folder:
        if folder is None:
            return None
        place = engine.load(folder)
    if place["workers"] != ctx.world_size:
        raise StageFailed(f"the checkpoint was written by {place['workers']} workers, there are {ctx.world_size} now")
    return place["epoch"], place["step"]
