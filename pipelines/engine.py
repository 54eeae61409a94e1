"""One model + its learning rates -> an engine that steps. Here: the protocol, the renderer's own part, plain torch.

The renderer (about a thousand weights) is never sharded or cast: each rank holds it whole in float32 with an AdamW of
its own, whatever happens to the multimodal LLM. DeepSpeed could not take it: it refuses scalars, and ZeRO-3 waits for
ever where ranks call a module unequally often, as the renderer's parts are, once for each topology of a batch.
Gradients of renderer and LLM are therefore clipped apart. Rates come from `schedule.factor` at every step; no scheduler
has state.

Precision: under mllm.precision bf16 the frozen weights are bf16, whatever learns is kept in float32 (so the weights are
their own master copy), and the LLM runs under autocast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
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

STATE_FILE = "state.pt"
BETAS = (0.9, 0.999)


class Engine(Protocol):
    """What the loop needs from an optimiser, sharded or not."""

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """Losses of a micro batch."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Adds a micro batch's gradient; the engine averages over micro batches and ranks."""
        ...

    def step(self, factor: float) -> float:
        """Clips, steps with the peak rates times `factor`, clears the gradients; returns the gradient's norm."""
        ...

    def save(self, folder: Path, place: Mapping[str, int]) -> None:
        """This rank's part of a checkpoint; `place` says where the data stands."""
        ...

    def load(self, folder: Path) -> dict[str, int]:
        """Inverse of `save`; returns `place`."""
        ...

    def gathered(self) -> Any:
        """Context manager: all weights of the model are whole on this rank. Every rank must enter."""
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
    groups = param_groups(model, {str(g): rate for g, rate in stage.learning_rate.items()}, train.weight_decay)
    own = [group for group in groups if group["name"].startswith("renderer/")]
    return own, [group for group in groups if not group["name"].startswith("renderer/")]


class Replica:
    """AdamW over weights that every rank holds whole.

    Args:
        groups: optimiser groups; none: every call does nothing.
        clip_grad: largest norm of the averaged gradient.
        world_size: ranks to average over.
    """

    def __init__(self, groups: list[Any], clip_grad: float, world_size: int) -> None:
        self.parameters = [p for group in groups for p in group["params"]]
        self.clip_grad, self.world_size = clip_grad, world_size
        self.peaks = [group["lr"] for group in groups]
        self.adamw = torch.optim.AdamW(groups, betas=BETAS, fused=True) if groups else None

    def step(self, factor: float) -> float:
        """See Engine."""
        if self.adamw is None:
            return 0.0
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.world_size > 1:
            self._average()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_grad)
        for group, peak in zip(self.adamw.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        return float(norm)

    def _average(self) -> None:
        """Mean gradient over the ranks, in one message."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.world_size
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def state(self) -> dict[str, Any]:
        """Weights and moments."""
        if self.adamw is None:
            return {}
        return {"weights": [p.detach() for p in self.parameters], "adamw": self.adamw.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        if self.adamw is None:
            return
        with torch.no_grad():
            for parameter, value in zip(self.parameters, state["weights"], strict=True):
                parameter.copy_(value)
        self.adamw.load_state_dict(state["adamw"])


class PlainEngine:
    """torch alone, in one process."""

    def __init__(self, model: SkeletonLLM, stage: StageConfig, train: TrainConfig, precision: Precision) -> None:
        self.model, self.reader = model, Reader(model.mllm, precision)
        own, others = split_groups(model, stage, train)
        self.parts = [Replica(own, train.clip_grad, 1), Replica(others, train.clip_grad, 1)]
        self.micro_batches = -(-train.global_batch // train.micro_batch)

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """See Engine."""
        return self.reader(self.model.renderer(clips), text)

    def backward(self, loss: Tensor) -> None:
        """See Engine."""
        (loss / self.micro_batches).backward()

    def step(self, factor: float) -> float:
        """See Engine."""
        return math.hypot(*(part.step(factor) for part in self.parts))

    def save(self, folder: Path, place: Mapping[str, int]) -> None:
        """See Engine."""
        torch.save({"parts": [part.state() for part in self.parts], "place": dict(place)}, folder / STATE_FILE)

    def load(self, folder: Path) -> dict[str, int]:
        """See Engine."""
        state = torch.load(folder / STATE_FILE, weights_only=True)
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load(saved)
        return state["place"]

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """See Engine."""
        yield
