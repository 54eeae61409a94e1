"""SkeletonLLM stepped by torch alone: one process, or several that average their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.config import Precision
from models.draction.renderer import ClipInput
from models.mllm.base import LMOutput, TextBatch
from models.mllm.hf import HFMultimodal
from models.skeleton_llm import SkeletonLLM
from models.trainable import param_groups
from pipelines.config.stages import StageConfig
from pipelines.config.train import TrainConfig
from pipelines.trainer.replica import ReplicaEngine


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


class PlainEngine(ReplicaEngine):
    """torch alone: one process, or several that each hold everything and average their gradients (ZeRO stage 0)."""

    def __init__(
        self, model: SkeletonLLM, stage: StageConfig, train: TrainConfig, precision: Precision, world_size: int = 1
    ) -> None:
        self.model, self.reader = model, Reader(model.mllm, precision)
        own, others = split_groups(model, stage, train)
        micro_batches = -(-(train.global_batch // world_size) // train.micro_batch)
        super().__init__(model, [*own, *others], train.clip_grad, world_size, micro_batches)

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """See StageEngine."""
        return self.reader(self.model.renderer(clips), text)
