"""What a training loop needs from its surroundings, so that it sees no Ray: rank, sums over ranks, reports, restore.

`RayContext` is a Ray Train worker, `LocalContext` one plain process. Owns no model and no data.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from skeleton_io import storage


class TrainContext(Protocol):
    """A rank's view of the run."""

    rank: int
    world_size: int
    device: torch.device

    def restored(self) -> Any:
        """Context manager: the folder of the newest checkpoint, or None where there is none."""
        ...

    def report(self, metrics: dict[str, Any], checkpoint: Path | None) -> None:
        """Hands metrics (and this rank's part of a checkpoint) to the run. All ranks call it, equally often."""
        ...

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element-wise sum over all ranks."""
        ...

    def barrier(self) -> None:
        """Returns once all ranks have called it."""
        ...


class LocalContext:
    """One process without Ray; checkpoints lie in a folder of their own, the newest `keep` are kept.

    Args:
        folder: URI for checkpoints.
        keep: how many are kept.
        device: None takes the GPU where there is one.
    """

    rank, world_size = 0, 1

    def __init__(self, folder: str, keep: int, device: torch.device | None = None) -> None:
        self.folder, self.keep = folder, keep
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.reported: list[dict[str, Any]] = []

    def _checkpoints(self) -> list[str]:
        """Names of the finished checkpoints, oldest first: the marker is written last."""
        names = storage.list_files(self.folder, "/done") if storage.exists(self.folder) else []
        return sorted(name.split("/", 1)[0] for name in names)

    @contextmanager
    def restored(self) -> Iterator[Path | None]:
        """See TrainContext."""
        found = self._checkpoints()
        if not found:
            yield None
            return
        with tempfile.TemporaryDirectory() as folder:
            yield storage.download(storage.join(self.folder, found[-1]), folder)

    def report(self, metrics: dict[str, Any], checkpoint: Path | None) -> None:
        """See TrainContext."""
        self.reported.append(metrics)
        if checkpoint is None:
            return
        found = self._checkpoints()
        number = int(found[-1].rsplit("-", 1)[1]) + 1 if found else 0
        target = storage.join(self.folder, f"checkpoint-{number:06d}")
        storage.upload(checkpoint, target)
        storage.write_atomic(storage.join(target, "done"), "")
        for name in self._checkpoints()[: -self.keep]:
            storage.remove(storage.join(self.folder, name))

    def sum(self, values: Sequence[float]) -> list[float]:
        """See TrainContext."""
        return list(values)

    def barrier(self) -> None:
        """See TrainContext."""


class RayContext:
    """A worker of Ray Train; torch.distributed is already up."""

    def __init__(self) -> None:
        from ray.train import get_context
        from ray.train.torch import get_device

        for name in list(logging.root.manager.loggerDict):
            if name.endswith("train/v2/_internal/execution/context.py"):  # a line for each report of each rank
                logging.getLogger(name).setLevel(logging.WARNING)
        context = get_context()
        self.rank: int = context.get_world_rank()
        self.world_size: int = context.get_world_size()
        self.device: torch.device = get_device()

    @contextmanager
    def restored(self) -> Iterator[Path | None]:
        """See TrainContext."""
        from ray.train import get_checkpoint

        checkpoint = get_checkpoint()
        if checkpoint is None:
            yield None
            return
        with checkpoint.as_directory() as folder:
            yield Path(folder)

    def report(self, metrics: dict[str, Any], checkpoint: Path | None) -> None:
        """See TrainContext. The folder is copied to storage before this returns; Ray merges the ranks' parts there."""
        import ray.train

        if checkpoint is None:
            ray.train.report(metrics)
            return
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(str(checkpoint)))

    def sum(self, values: Sequence[float]) -> list[float]:
        """See TrainContext."""
        if self.world_size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return total.tolist()

    def barrier(self) -> None:
        """See TrainContext."""
        if self.world_size > 1:
            torch.distributed.barrier()
