"""A run or an export -> SkeletonLLM ready to read clips, with what it was trained with. Writes nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from models.draction.renderer import SceneRenderer
from models.mllm.hf import HFMultimodal
from models.skeleton_llm import SkeletonLLM
from pipelines.config.tree import FullConfig
from pipelines.data.renderer_input import render
from pipelines.exports import store
from pipelines.exports.find import find_export
from pipelines.runtime.paths import absolute
from skeleton_io.record.sequence import SkeletonSequence


class TrainedModel(SkeletonLLM):
    """SkeletonLLM as a training stage left it.

    Attributes:
        config: of the run that trained it.
        labels: set -> labels seen in training.
    """

    renderer: SceneRenderer

    def __init__(
        self, renderer: SceneRenderer, mllm: HFMultimodal, config: FullConfig, labels: dict[str, tuple[str, ...]]
    ) -> None:
        super().__init__(renderer, mllm)
        self.config, self.labels = config, labels

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.renderer.get_buffer("unit").device

    @torch.no_grad()
    def draw(self, clips: Sequence[SkeletonSequence]) -> Tensor:
        """What the LLM sees of B clips: (B, F, 3, H, W) float32 in [0, 1], whatever the LLM's precision."""
        return render(clips, self.renderer)

    def reading(self) -> torch.autocast:
        """Context in which the LLM reads frames, in the precision that it was trained with."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.mllm.precision == "bf16")


def load_model(model: str | os.PathLike[str], device: str = "") -> TrainedModel:
    """A trained SkeletonLLM, ready for inference.

    Args:
        model: a run (its last finished training stage), one of its stages, or an export; folder or URI.
        device: of torch, for example "cuda:1"; empty: a GPU where there is one.

    Returns:
        The model in evaluation mode, with `config` and `labels`.

    Raises:
        UserError: no finished model there.
    """
    found, config, labels = store.load_model(find_export(absolute(os.fspath(model))))
    assert isinstance(found.renderer, SceneRenderer)
    trained = TrainedModel(found.renderer, found.mllm, config, labels)
    return trained.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
