"""Where tokens stand: frames of a video in time, visual tokens on the rotary axes. Knows no tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class VideoTiming:
    """What the model is told about time where a clip's frames are read as a video.

    fps: frames per second. tokens_per_second: steps of the rotary position per second (Qwen2.5-VL; not read else).
    """

    fps: float
    tokens_per_second: float = 1.0

    def stamps(self, frames: int, temporal: int) -> list[str]:
        """Qwen3-VL's text before each step: the mean time of its first and last frame, the last frame repeated."""
        first = [min(k, frames - 1) / self.fps for k in range(0, frames, temporal)]
        last = [min(k + temporal - 1, frames - 1) / self.fps for k in range(0, frames, temporal)]
        return [f"<{(a + b) / 2:.1f} seconds>" for a, b in zip(first, last, strict=True)]


def mrope_positions(
    is_visual: Tensor, attention_mask: Tensor, rows: int, columns: int, steps: int = 1, interval: float = 1.0
) -> Tensor:
    """Rotary positions for rows that hold images or videos of one size (arXiv 2409.12191, section 2.1).

    is_visual, attention_mask (B, L); every run of visual tokens covers whole blocks of steps x rows x columns tokens.
    Text advances all three axes by 1; a block starts where the text stands, advances by `interval` per step in time,
    spreads over rows and columns, and the text after it goes on at start + max(rows, columns), as the library does,
    however long the video is. Returns (3, B, L) int64; padding holds 0.
    """
    visual = (is_visual != 0) & (attention_mask != 0)
    per_step, advance = rows * columns, max(rows, columns)
    per_block = steps * per_step
    seen = visual.long().cumsum(1)
    index = (seen - 1).clamp_min(0) % per_block  # place of a token inside its block
    # A block counts as `advance` positions, all of them spent on its last token.
    step = torch.where(visual, (index == per_block - 1).long() * advance, attention_mask.long())
    start = step.cumsum(1) - step
    time = (index // per_step * interval).long()
    offset = torch.stack([time, index % per_step // columns, index % columns])
    return torch.where(visual, start + offset, start) * (attention_mask != 0)
