"""What a training loop needs from its surroundings, so that it sees no Ray: rank, sums over ranks, reports.

`RayContext` is a Ray Train worker, `LocalContext` one plain process. Owns no model and no data.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any, Protocol

import torch


class TrainContext(Protocol):
    """A rank's view of the run."""

    rank: int
    world_size: int
    device: torch.device

    def report(self, metrics: dict[str, Any]) -> None:
        """Hands metrics to the run. All ranks call it, equally often."""
        ...

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element-wise sum over all ranks."""
        ...

    def barrier(self) -> None:
        """Returns once all ranks have called it."""
        ...

    def preempted(self) -> bool:
        """Whether a node of the run is about to be taken away; the same on all ranks, which call it equally often."""
        ...


class LocalContext:
    """One process without Ray.

    Args:
        device: None takes the GPU where there is one.
    """

    rank, world_size = 0, 1

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.reported: list[dict[str, Any]] = []

    def report(self, metrics: dict[str, Any]) -> None:
        """See TrainContext."""
        self.reported.append(metrics)

    def sum(self, values: Sequence[float]) -> list[float]:
        """See TrainContext."""
        return list(values)

    def barrier(self) -> None:
        """See TrainContext."""

    def preempted(self) -> bool:
        """See TrainContext."""
        return False


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

    def report(self, metrics: dict[str, Any]) -> None:
        """See TrainContext."""
        import ray.train

        ray.train.report(metrics)

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

    def preempted(self) -> bool:
        """See TrainContext. Ray knows of nodes that are drained: by the autoscaler, Kubernetes or a cloud's notice."""
        if os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "1") == "0":
            return False
        from ray.train import get_preemption_info

        return get_preemption_info() is not None
