"""One model + its learning rates -> an engine that steps: DeepSpeed ZeRO 0-3, or plain torch in one process.

Precision: DeepSpeed never casts here. Under mllm.precision bf16 the frozen weights are bf16, whatever learns is kept in
float32 (so the weights are their own master copy), and the multimodal LLM runs under autocast; the renderer stays
outside of it, in float32. The rates come from `schedule.factor` at every step; no scheduler has state.

The optimiser is torch's AdamW, handed over: an optimizer block in DeepSpeed's configuration, and its shared-memory
collectives, are C++ extensions that are compiled for a minute at first use and fail without a compiler.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.config import Precision
from models.draction.renderer import ClipInput
from models.mllm.base import LMOutput, TextBatch
from models.skeleton_llm import SkeletonLLM
from models.trainable import param_groups
from pipelines.config import StageConfig, TrainConfig

STATE_FILE = "state.pt"
TAG = "state"
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


class Forward(nn.Module):
    """The model as the engine calls it: float32 renderer, LLM under autocast where that is asked for."""

    def __init__(self, model: SkeletonLLM, precision: Precision) -> None:
        super().__init__()
        self.model = model
        self.bf16 = precision == "bf16"

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """Losses of a micro batch."""
        frames = self.model.renderer(clips)
        with torch.autocast(frames.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return self.model.mllm(frames, text)


def optimiser(model: nn.Module, stage: StageConfig, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over what learns, one group for each rate; what learns is raised to float32 first."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return torch.optim.AdamW(param_groups(model, stage.learning_rate, weight_decay), betas=BETAS, fused=True)


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """Name -> weights of what learns; the frozen rest comes from where the stage started."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


class PlainEngine:
    """torch alone, in one process."""

    def __init__(self, module: Forward, stage: StageConfig, train: TrainConfig, micro_batches: int) -> None:
        self.module, self.clip_grad, self.micro_batches = module, train.clip_grad, micro_batches
        self.optimiser = optimiser(module.model, stage, train.weight_decay)
        self.peaks = [group["lr"] for group in self.optimiser.param_groups]

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """See Engine."""
        return self.module(clips, text)

    def backward(self, loss: Tensor) -> None:
        """See Engine."""
        (loss / self.micro_batches).backward()

    def step(self, factor: float) -> float:
        """See Engine."""
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.clip_grad)
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return float(norm)

    def save(self, folder: Path, place: Mapping[str, int]) -> None:
        """See Engine."""
        weights, moments = trainable_state(self.module.model), self.optimiser.state_dict()
        torch.save({"weights": weights, "optimiser": moments, "place": dict(place)}, folder / STATE_FILE)

    def load(self, folder: Path) -> dict[str, int]:
        """See Engine."""
        state = torch.load(folder / STATE_FILE, weights_only=True)
        with torch.no_grad():
            own = trainable_state(self.module.model)
            for name, value in state["weights"].items():
                own[name].copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])
        return state["place"]

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """See Engine."""
        yield


def zero_config(train: TrainConfig, micro_batch: int, micro_batches: int) -> dict[str, Any]:
    """DeepSpeed's configuration; `micro_batch` clips per pass on one rank, `micro_batches` of them per step."""
    zero: dict[str, Any] = {"stage": train.zero_stage}
    if train.offload and train.zero_stage >= 1:
        zero["offload_optimizer"] = {"device": "cpu"}
    if train.offload and train.zero_stage == 3:
        zero["offload_param"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": micro_batches,
        "gradient_clipping": train.clip_grad,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }


def load_deepspeed() -> Any:
    """The deepspeed module, quiet and without just-in-time compilation of its shared-memory collectives."""
    # Version 0.19 calls collectives by names that torch 2.13 is about to rename.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    # deepspeed.ops replaces attribute access, so the table is reached through sys.modules.
    sys.modules["deepspeed.ops"].__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


class ZeroEngine:
    """DeepSpeed ZeRO over an initialised torch.distributed."""

    def __init__(
        self, module: Forward, stage: StageConfig, train: TrainConfig, micro_batch: int, micro_batches: int
    ) -> None:
        self.deepspeed = load_deepspeed()
        self.module, self.sharded = module, train.zero_stage == 3
        self.done, self.micro_batches = 0, micro_batches
        # DeepSpeed 0.19 broadcasts weights as bytes, which torch refuses for tensors without an axis.
        self.scalars = [p for p in module.parameters() if p.dim() == 0]
        self._shape_scalars((1,))
        adamw = optimiser(module.model, stage, train.weight_decay)
        self.peaks = [group["lr"] for group in adamw.param_groups]
        self.engine, *_ = self.deepspeed.initialize(
            model=module,
            optimizer=adamw,
            config=zero_config(train, micro_batch, micro_batches),
        )

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """See Engine."""
        return self.engine(clips, text)

    def backward(self, loss: Tensor) -> None:
        """See Engine."""
        self.engine.backward(loss)
        self.done += 1
        if self.done < self.micro_batches:
            self.engine.step()  # counts the micro batch; the optimiser steps at the last one

    def step(self, factor: float) -> float:
        """See Engine."""
        groups = self.engine.optimizer.param_groups
        for group, peak in zip(groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.engine.step()
        self.done = 0
        norm = self.engine.get_global_grad_norm()
        return float(norm) if norm is not None else 0.0

    def save(self, folder: Path, place: Mapping[str, int]) -> None:
        """See Engine. Frozen weights are left out: they come from where the stage started."""
        self.engine.save_checkpoint(
            str(folder), tag=TAG, client_state={"place": dict(place)}, exclude_frozen_parameters=True
        )

    def load(self, folder: Path) -> dict[str, int]:
        """See Engine."""
        _, state = self.engine.load_checkpoint(str(folder), tag=TAG, load_module_strict=False)
        return state["place"]

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """See Engine."""
        parameters = list(self.module.parameters()) if self.sharded else []
        with self.deepspeed.zero.GatheredParameters(parameters, modifier_rank=None, enabled=self.sharded):
            self._shape_scalars(())
            yield
            self._shape_scalars((1,))

    def _shape_scalars(self, shape: tuple[int, ...]) -> None:
        for parameter in self.scalars:
            parameter.data = parameter.data.reshape(shape)
