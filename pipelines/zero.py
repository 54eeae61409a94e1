"""DeepSpeed ZeRO 0-3 around the multimodal LLM, as an `engine.Engine`. The renderer stays outside; see there.

The optimiser is torch's AdamW, handed over: an optimizer block in DeepSpeed's configuration, and its shared-memory
collectives, are C++ extensions that are compiled for a minute at first use and fail without a compiler. DeepSpeed casts
nothing here; `engine` says how bf16 is done.
"""

from __future__ import annotations

import logging
import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.config import Precision
from models.draction.renderer import ClipInput
from models.mllm.base import LMOutput, TextBatch
from models.skeleton_llm import SkeletonLLM
from pipelines.config import StageConfig, TrainConfig
from pipelines.engine import BETAS, STATE_FILE, Reader, Replica, split_groups

TAG = "llm"


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
    # ZeRO-3's hooks cannot look into LMOutput; no module that returns one has weights of its own.
    deepspeed.utils.logger.addFilter(lambda record: "unknown inputs or outputs" not in record.getMessage())
    # deepspeed.ops replaces attribute access, so the table is reached through sys.modules.
    sys.modules["deepspeed.ops"].__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


class ZeroEngine:
    """DeepSpeed ZeRO over an initialised torch.distributed.

    Args:
        model: on this rank's device; what learns is already chosen.
        stage: learning rates.
        train: ZeRO stage, clipping, decay.
        precision: of the LLM.
        world_size: ranks.
    """

    def __init__(
        self, model: SkeletonLLM, stage: StageConfig, train: TrainConfig, precision: Precision, world_size: int
    ) -> None:
        self.model, self.sharded = model, train.zero_stage == 3
        own = train.global_batch // world_size
        self.done, self.micro_batches = 0, -(-own // train.micro_batch)
        mine, others = split_groups(model, stage, train)
        self.replica = Replica(mine, train.clip_grad, world_size)
        self.peaks = [group["lr"] for group in others]
        self.deepspeed = load_deepspeed()
        self.reader: Any = Reader(model.mllm, precision)
        self.engine: Any = None
        if others:  # a stage may train the renderer alone
            self.engine, *_ = self.deepspeed.initialize(
                model=self.reader,
                optimizer=torch.optim.AdamW(others, betas=BETAS),
                config=zero_config(train, -(-own // self.micro_batches), self.micro_batches),
            )
            self.reader = self.engine

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """See Engine."""
        return self.reader(self.model.renderer(clips), text)

    def backward(self, loss: Tensor) -> None:
        """See Engine. DeepSpeed divides by the number of micro batches and steps at the last one."""
        if self.engine is None:
            (loss / self.micro_batches).backward()
            return
        self.engine.backward(loss)
        self.done += 1
        if self.done < self.micro_batches:
            self.engine.step()  # only counts the micro batch

    def step(self, factor: float) -> float:
        """See Engine."""
        norm = self.replica.step(factor)
        if self.engine is None:
            return norm
        for group, peak in zip(self.engine.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.engine.step()
        self.done = 0
        return math.hypot(norm, float(self.engine.get_global_grad_norm() or 0.0))

    def save(self, folder: Path, place: Mapping[str, int]) -> None:
        """See Engine. Frozen weights are left out: they come from where the stage started."""
        if self.engine is not None:
            self.engine.save_checkpoint(str(folder), tag=TAG, exclude_frozen_parameters=True)
        if torch.distributed.get_rank() == 0:  # the same on all ranks, whose folders are merged
            torch.save({"renderer": self.replica.state(), "place": dict(place)}, folder / STATE_FILE)

    def load(self, folder: Path) -> dict[str, int]:
        """See Engine."""
        state = torch.load(folder / STATE_FILE, weights_only=True)
        self.replica.load(state["renderer"])
        if self.engine is not None:
            self.engine.load_checkpoint(str(folder), tag=TAG, load_module_strict=False)
        return state["place"]

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """See Engine."""
        parameters = list(self.model.mllm.parameters()) if self.sharded else []
        with self.deepspeed.zero.GatheredParameters(parameters, modifier_rank=None, enabled=self.sharded):
            yield
