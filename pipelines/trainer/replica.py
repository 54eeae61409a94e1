"""AdamW over weights that every rank holds whole, and the engine that is made of it. Knows no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.trainer.engine import Piece

BETAS = (0.9, 0.999)
BUCKET = 1 << 25
"""Most numbers that are averaged over the ranks in one message."""


def make_adamw(groups: list[Any]) -> torch.optim.AdamW:
    """The one optimiser of all engines, with the same arithmetic on flat and on shaped tensors."""
    return torch.optim.AdamW(groups, betas=BETAS, fused=True)


def adam_state(optimiser: torch.optim.Optimizer, weight: Tensor) -> dict[str, Tensor]:
    """`step`, `exp_avg`, `exp_avg_sq` of a weight: as the optimiser has them, or as it would make them first."""
    state = optimiser.state[weight]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
    return state


def parameter_names(model: nn.Module) -> dict[int, str]:
    """id of each parameter that learns -> its name in the model."""
    return {id(p): name for name, p in model.named_parameters() if p.requires_grad}


class Replica:
    """AdamW over weights that every rank holds whole.

    Args:
        groups: optimiser groups; none: every call does nothing.
        names: id of a parameter -> its name.
        clip_grad: largest norm of the averaged gradient; 0: no limit.
        world_size: ranks to average over.
    """

    def __init__(self, groups: list[Any], names: Mapping[int, str], clip_grad: float, world_size: int) -> None:
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]
        self.names = [names[id(p)] for p in self.parameters]
        self.clip_grad, self.world_size = clip_grad, world_size
        self.peaks = [group["lr"] for group in groups]
        self.adamw = make_adamw(groups) if groups else None

    def average_gradients(self) -> Tensor:
        """Averages the gradients over the ranks; returns their norm, a scalar (0 where nothing learns)."""
        if not self.parameters:
            return torch.zeros(())
        for parameter in self.parameters:
            # Every rank must send as much as the others, also for what none of its clips went through.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self.world_size > 1:
            self._average(gradients)
        return torch.nn.utils.get_total_norm(gradients)

    def step(self, factor: float, norm: Tensor | float) -> None:
        """Clips by `norm`, which may be of more than these gradients, and steps."""
        if self.adamw is None:
            return
        if self.clip_grad > 0:
            scale = min(1.0, self.clip_grad / (float(norm) + 1e-6))
            for parameter in self.parameters:
                assert parameter.grad is not None
                parameter.grad.mul_(scale)
        for group, peak in zip(self.adamw.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)

    def _average(self, gradients: Sequence[Tensor]) -> None:
        """Mean over the ranks, several tensors in one message."""
        bucket: list[Tensor] = []
        size = 0
        for number, gradient in enumerate(gradients):
            bucket.append(gradient)
            size += gradient.numel()
            if size < BUCKET and number + 1 < len(gradients):
                continue
            flat = torch.cat([g.flatten() for g in bucket])
            torch.distributed.all_reduce(flat)
            flat /= self.world_size
            for target, mean in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                target.copy_(mean.view_as(target))
            bucket, size = [], 0

    def pieces(self) -> list[Piece]:
        """See Engine."""
        pieces = []
        for name, parameter in zip(self.names, self.parameters, strict=True):
            assert self.adamw is not None
            state = adam_state(self.adamw, parameter)
            mean, square = state["exp_avg"].view(-1), state["exp_avg_sq"].view(-1)
            pieces.append(Piece(name, 0, parameter.data.view(-1), mean, square, True))
        return pieces

    def resume_at(self, steps: int) -> None:
        """See Engine."""
        for parameter in self.parameters:
            assert self.adamw is not None
            adam_state(self.adamw, parameter)["step"].fill_(steps)


class ReplicaEngine:
    """An Engine by torch alone: one process, or several that each hold everything and average their gradients.

    A family adds how its model goes forward.

    Args:
        model: what learns is already chosen.
        groups: optimiser groups of it, each with `lr`.
        clip_grad: largest norm of the averaged gradient; 0: no limit.
        world_size: ranks.
        micro_batches: backward passes in one step.
    """

    def __init__(
        self, model: nn.Module, groups: list[Any], clip_grad: float, world_size: int = 1, micro_batches: int = 1
    ) -> None:
        self.replica = Replica(groups, parameter_names(model), clip_grad, world_size)
        self.micro_batches = micro_batches

    def backward(self, loss: Tensor) -> None:
        """See Engine."""
        (loss / self.micro_batches).backward()

    def step(self, factor: float) -> float:
        """See Engine."""
        norm = float(self.replica.average_gradients())
        self.replica.step(factor, norm)
        return norm

    def pieces(self) -> list[Piece]:
        """See Engine."""
        return self.replica.pieces()

    def resume_at(self, steps: int) -> None:
        """See Engine."""
        self.replica.resume_at(steps)

    @contextmanager
    def whole_weights(self) -> Iterator[None]:
        """See Engine: they always are."""
        yield
