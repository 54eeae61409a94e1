"""The whole model: clips -> renderer -> frames -> multimodal LLM -> loss, answers or candidate scores.

The renderer works in float32 whatever the LLM's precision. Does not read sequences, choose tasks or build optimisers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.config import MLLMConfig
from models.mllm.base import CandidateScores, LMOutput, TextBatch
from models.mllm.hf import HFMultimodal

if TYPE_CHECKING:
    from models.draction.renderer import ClipInput

RENDERER_FILE = "renderer.safetensors"
MLLM_FOLDER = "mllm"


class SkeletonLLM(nn.Module):
    """A renderer (anything that maps B clips to (B, F, 3, H, W) float32 in [0, 1]) in front of a multimodal LLM."""

    def __init__(self, renderer: nn.Module, mllm: HFMultimodal) -> None:
        super().__init__()
        self.renderer = renderer
        self.mllm = mllm

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """Loss of the answers in `text`; its gradient reaches the renderer through the pixels."""
        return self.mllm(self.renderer(clips), text)

    @torch.no_grad()
    def generate(self, clips: Sequence[ClipInput], prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Greedy answers of B clips."""
        return self.mllm.generate(self.renderer(clips), prompts, max_new_tokens)

    @torch.no_grad()
    def score_candidates(
        self, clips: Sequence[ClipInput], prompts: Sequence[str], candidates: Sequence[Sequence[str]]
    ) -> list[CandidateScores]:
        """Log-probability of every candidate answer of every clip."""
        return self.mllm.score_candidates(self.renderer(clips), prompts, candidates)

    @torch.no_grad()
    def score_content_free(
        self, prompt: str, candidates: Sequence[str], frames: int, image_size: int
    ) -> CandidateScores:
        """Scores under black frames: the prior of each candidate, which `prior_corrected` divides out."""
        device = next(self.mllm.parameters()).device
        black: Tensor = torch.zeros(1, frames, 3, image_size, image_size, device=device)
        return self.mllm.score_candidates(black, [prompt], [candidates])[0]

    def save_export(self, folder: str | Path) -> None:
        """Write the renderer's weights with its configuration, and the LLM as a plain checkpoint, adapters merged."""
        from models.draction import weights

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights.save_renderer(self.renderer, folder / RENDERER_FILE)
        self.mllm.save_pretrained(folder / MLLM_FOLDER)

    @classmethod
    def load_export(cls, folder: str | Path, cfg: MLLMConfig) -> SkeletonLLM:
        """Rebuild what `save_export` wrote; of `cfg` only how it runs is read, no sizes."""
        from models.draction import weights

        folder = Path(folder)
        mllm = HFMultimodal.from_checkpoint(folder / MLLM_FOLDER, cfg)
        return cls(weights.load_renderer(folder / RENDERER_FILE), mllm)
