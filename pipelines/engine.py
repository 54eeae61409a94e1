"""One model + its learning rates -> an engine that steps. Here: the protocol, the renderer's own part, plain torch.

The renderer (about a thousand weights) is never sharded or cast: each rank holds it whole in float32 with an AdamW of
its own, whatever happens to the multimodal LLM. DeepSpeed could not take it: it refuses scalars, and ZeRO-3 waits for
ever where ranks call a module unequally often, as the renderer's parts are, once for each topology of a batch.
Gradients are clipped by one norm over everything that learns all the same. Rates come from `schedule.factor` at every
step; no scheduler has state. An engine shows its state as `Piece`s, which `checkpoint` writes and reads: they have the
same names and offsets in every engine, on any number of ranks.

Precision: under mllm.precision bf16 the frozen weights are bf16, whatever learns is kept in float32 (so the weights are
their own master copy), and the LLM runs under autocast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.config import Precision
from models.draction.renderer import ClipInput
from models.mllm.base import LMOutput, TextBatch
from models.mllm.hf import HFMultimodal
from models.skeleton_llm import SkeletonLLM
from models.trainable import param_groups
from pipelines.config import StageConfig, TrainConfig

BETAS = (0.9, 0.999)
BUCKET = 1 << 25
"""Most numbers that are averaged over the ranks in one message."""


@dataclass(frozen=True)
class Piece:
    """A stretch of one parameter that learns, flattened: views into the engine's own memory, 1-D float32, equally long.

    Attributes:
        name: of the parameter within SkeletonLLM.
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
    """What the loop needs from an optimiser, sharded or not."""

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """Losses of a micro batch."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Adds a micro batch's gradient; the engine averages over micro batches and ranks."""
        ...

    def step(self, factor: float) -> float:
        """Clips, steps with the peak rates times `factor`, clears the gradients.

        Returns:
            The norm of the whole averaged gradient before clipping, renderer and LLM together; the same on all ranks.
        """
        ...

    def pieces(self) -> list[Piece]:
        """This rank's part of weights and moments, whatever has been stepped so far."""
        ...

    def loaded(self, steps: int) -> None:
        """After new values were written into the pieces: `steps` are done, working copies follow. All ranks call it."""
        ...

    def gathered(self) -> Any:
        """Context manager: on rank 0 all weights of the model are whole, be it on the CPU. Every rank must enter."""
        ...


class Reader(nn.Module):
    """The multimodal LLM as an engine calls it: under autocast where that is asked for."""

    def __init__(self, mllm: HFMultimodal, precision: Precision) -> None:
        super().__init__()
        self.mllm = mllm
        self.bf16 = precision == "bf16"

    def forward(self, frames: Tensor, text: TextBatch) -> LMOutput:
        """Losses of a micro batch; frames (B, F, 3, H, W) float32 in [0, 1]."""
        with torch.autocast(frames.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return self.mllm(frames, text)


def split_groups(model: SkeletonLLM, stage: StageConfig, train: TrainConfig) -> tuple[list[Any], list[Any]]:
    """(renderer's, LLM's) AdamW groups of what learns, which is raised to float32 first."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            part: Any = getattr(parameter, "ds_tensor", None)
            if part is not None:  # loaded in parts, see sharded_load
                part.data = part.data.float()
    groups = param_groups(model, {str(g): rate for g, rate in stage.learning_rate.items()}, train.weight_decay)
    own = [group for group in groups if group["name"].startswith("renderer/")]
    return own, [group for group in groups if not group["name"].startswith("renderer/")]


def adamw(groups: list[Any]) -> torch.optim.AdamW:
    """The one optimiser of all engines, with the same arithmetic on flat and on shaped tensors."""
    return torch.optim.AdamW(groups, betas=BETAS, fused=True)


def adam_state(optimiser: torch.optim.Optimizer, weight: Tensor) -> dict[str, Tensor]:
    """`step`, `exp_avg`, `exp_avg_sq` of a weight: as the optimiser has them, or as it would make them first."""
    state = optimiser.state[weight]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
    return state


def names_of(model: nn.Module) -> dict[int, str]:
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
        self.adamw = adamw(groups) if groups else None

    def norm(self) -> Tensor:
        """Averages the gradients over the ranks; returns their norm, a scalar (0 where nothing learns)."""
        if not self.parameters:
            return torch.zeros(())
        for parameter in self.parameters:
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
            for kept, mean in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                kept.copy_(mean.view_as(kept))
            bucket, size = [], 0

    def pieces(self) -> list[Piece]:
        """See Engine."""
        found = []
        for name, parameter in zip(self.names, self.parameters, strict=True):
            assert self.adamw is not None
            state = adam_state(self.adamw, parameter)
            mean, square = state["exp_avg"].view(-1), state["exp_avg_sq"].view(-1)
            found.append(Piece(name, 0, parameter.data.view(-1), mean, square, True))
        return found

    def loaded(self, steps: int) -> None:
        """See Engine."""
        for parameter in self.parameters:
            assert self.adamw is not None
            adam_state(self.adamw, parameter)["step"].fill_(steps)


class PlainEngine:
    """torch alone: one process, or several that each hold everything and average their gradients (ZeRO stage 0)."""

    def __init__(
        self, model: SkeletonLLM, stage: StageConfig, train: TrainConfig, precision: Precision, world_size: int = 1
    ) -> None:
        self.model, self.reader = model, Reader(model.mllm, precision)
        own, others = split_groups(model, stage, train)
        self.replica = Replica([*own, *others], names_of(model), train.clip_grad, world_size)
        self.micro_batches = -(-(train.global_batch // world_size) // train.micro_batch)

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """See Engine."""
        return self.reader(self.model.renderer(clips), text)

    def backward(self, loss: Tensor) -> None:
        """See Engine."""
        (loss / self.micro_batches).backward()

    def step(self, factor: float) -> float:
        """See Engine."""
        norm = float(self.replica.norm())
        self.replica.step(factor, norm)
        return norm

    def pieces(self) -> list[Piece]:
        """See Engine."""
        return self.replica.pieces()

    def loaded(self, steps: int) -> None:
        """See Engine."""
        self.replica.loaded(steps)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """See Engine."""
        yield
