"""What a loop and its checkpoints need from an optimiser, sharded or not: the protocol of an engine. Knows no model.

Rates come from `schedule.factor` at every step; no scheduler has state. An engine shows its state as `Piece`s, which
`checkpoints` writes and reads: they have the same names and offsets in every engine, on any number of ranks. What goes
forward is the family's own business: `pipelines.training.engines.base` adds that for SkeletonLLM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """A stretch of one parameter that learns, flattened: views into the engine's own memory, 1-D float32, equally long.

    Attributes:
        name: of the parameter within the model.
        start: where the stretch begins in the flattened parameter.
        weight: the weights.
        mean: AdamW's running mean of the gradient.
        square: its running mean of the gradient's square.
        shared: whether every rank holds the same; rank 0 then writes it for all.
    """

    name: str
    start: int
    weight: Tensor
    mean: Tensor
    square: Tensor
    shared: bool


class Engine(Protocol):
    """Steps a model, and shows and takes its state."""

    def backward(self, loss: Tensor) -> None:
        """Adds a micro batch's gradient; the engine averages over micro batches and ranks."""
        ...

    def step(self, factor: float) -> float:
        """Clips, steps with the peak rates times `factor`, clears the gradients.

        Returns:
            The norm of the whole averaged gradient before clipping; the same on all ranks.
        """
        ...

    def pieces(self) -> list[Piece]:
        """This rank's part of weights and moments, whatever has been stepped so far."""
        ...

    def resume_at(self, steps: int) -> None:
        """After new values were written into the pieces: `steps` are done, working copies follow. All ranks call it."""
        ...

    def whole_weights(self) -> Any:
        """Context manager: on rank 0 all weights of the model are whole, be it on the CPU. Every rank must enter."""
        ...
