"""What a multimodal language model takes and gives here, independent of the library behind it.

Inputs -> outputs: frames (B, F, 3, H, W) in [0, 1] and a TextBatch -> LMOutput. Holds no weights, reads no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

IGNORE = -100
"""Label of every token that carries no loss: the prompt, the images and the padding."""


@dataclass(frozen=True)
class TextBatch:
    """Token rows of B clips, right padded to L. Built by `PromptEncoder` without touching any weights.

    input_ids, attention_mask (B, L) int64; labels (B, L) int64 with IGNORE everywhere but on answer tokens, None for
    prompts without answers; mm_token_type_ids (B, L) int64 (1 = image token, 2 = video token) and position_ids
    (3, B, L) int64 (time, row, column; arXiv 2409.12191) for families with multimodal rotary positions. For other
    families position_ids are None, or (B, L) where positions have gaps because tokens were dropped.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor | None = None
    mm_token_type_ids: Tensor | None = None
    position_ids: Tensor | None = None

    def to(self, device: torch.device | str) -> TextBatch:
        """The same batch with every tensor on `device`."""
        moved = {f.name: v.to(device) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        return replace(self, **moved)

    def rows(self, chosen: Sequence[int]) -> TextBatch:
        """Some of the rows, in the order asked for, cut to the longest of them."""
        index = torch.tensor(chosen, dtype=torch.int64, device=self.input_ids.device)
        length = int(self.attention_mask[index].sum(1).max())
        taken = {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        return replace(self, **{name: v.index_select(-2, index)[..., :length] for name, v in taken.items()})

    def next_positions(self) -> Tensor:
        """(B,) int64: the rotary position of the token that follows each row."""
        if self.position_ids is None:
            return self.attention_mask.sum(1)
        furthest = self.position_ids if self.position_ids.dim() == 2 else self.position_ids.amax(0)
        return furthest.masked_fill(self.attention_mask == 0, -1).amax(1) + 1


@dataclass(frozen=True)
class LMOutput:
    """Language-modelling loss of a batch; N = all answer tokens of the batch, in row order.

    loss: scalar, mean over the N tokens. example_loss (B,): mean over each row's own answer tokens. token_counts
    (B,) int64. token_loss (N,) float32 and token_row (N,) int64 say which row a token belongs to. logits (N, V) in
    the model's dtype, of the answer positions only.
    """

    loss: Tensor
    example_loss: Tensor
    token_counts: Tensor
    token_loss: Tensor
    token_row: Tensor
    logits: Tensor


@dataclass(frozen=True)
class CandidateScores:
    """Scores of one clip's C candidates: summed log-probability (C,) float32 and token count (C,) int64.

    Both include the end-of-turn token.
    """

    log_prob: Tensor
    tokens: Tensor


@runtime_checkable
class MultimodalLM(Protocol):
    """The surface that training, evaluation and inference use."""

    def tokenize(
        self, prompts: Sequence[str], answers: Sequence[str] | None, frames: int, image_size: int
    ) -> TextBatch:
        """Prompts (and answers) of B clips as token rows with F image blocks each."""
        ...

    def forward(self, frames: Tensor, text: TextBatch) -> LMOutput:
        """Loss of the answers, differentiable with respect to `frames`."""
        ...

    def generate(self, frames: Tensor, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Greedy answers."""
        ...

    def score_candidates(
        self, frames: Tensor, prompts: Sequence[str], candidates: Sequence[Sequence[str]]
    ) -> list[CandidateScores]:
        """Log-probability of every candidate answer of every clip."""
        ...
