"""Foreground patch sparsification (arXiv 2603.18003): which visual tokens frames need, and token rows without the rest.

Inputs -> outputs: frames (B, F, 3, H, W) -> kept blocks (B, F, h, w) bool; a TextBatch and kept blocks -> the TextBatch
without the dropped visual tokens, every remaining token at its original rotary position. A block is what one visual
token covers: merge x merge patches. Runs no encoder: see `models.mllm.sparse_vision`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from models.mllm.base import IGNORE, TextBatch


def foreground(frames: Tensor, unit: int, threshold: float, dilation: int, together: int = 1) -> Tensor:
    """Blocks of the frames that are not black.

    Args:
        frames: (B, F, 3, H, W) in [0, 1], H and W multiples of `unit`.
        unit: side of a block, pixels.
        threshold: a block is kept if any channel of any of its pixels is above it; below 0 keeps everything.
        dilation: how many neighbouring blocks, diagonals included, are kept around each such block.
        together: frames that share their blocks, as in a step of a video; a block is kept if any of them needs it.

    Returns:
        (B, ceil(F / together), H / unit, W / unit) bool. A step that is black all over keeps its middle
        block: it still says that nothing is there, and no image is left without a token.
    """
    images = frames.detach().flatten(0, 1).amax(1, keepdim=True)
    peak = functional.max_pool2d(images, unit)
    if dilation:
        peak = functional.max_pool2d(peak, 2 * dilation + 1, stride=1, padding=dilation)
    keep = (peak[:, 0] > threshold).unflatten(0, frames.shape[:2])
    if together > 1:
        keep = functional.pad(keep, (0, 0, 0, 0, 0, -keep.shape[1] % together)).unflatten(1, (-1, together)).any(2)
    steps = keep.shape[:2]
    keep = keep.flatten(0, 1)
    empty = ~keep.flatten(1).any(1)
    keep[:, keep.shape[1] // 2, keep.shape[2] // 2] |= empty
    return keep.unflatten(0, steps)


def prune_text(text: TextBatch, keep: Tensor, image_id: int, pad_id: int) -> TextBatch:
    """The token rows without the visual tokens of dropped blocks.

    Args:
        text: rows whose image tokens (id `image_id`) stand for all blocks, frame by frame, row by row.
        keep: (B, F, h, w) bool.
        image_id: id of the placeholder of one visual token.
        pad_id: id that fills the right end.

    Returns:
        Rows right padded to the longest. `position_ids` hold the positions of the full rows: (3, B, L) for multimodal
        rotary positions, (B, L) for plain ones, which are written out because they now have gaps.

    Raises:
        ValueError: a row has not exactly one image token for each block.
    """
    valid = text.attention_mask != 0
    image = (text.input_ids == image_id) & valid
    blocks = keep[0].numel()
    if not bool((image.sum(1) == blocks).all()):
        raise ValueError(f"visual tokens: expected {blocks} in each row, found {image.sum(1).tolist()}")
    stays = valid.masked_scatter(image, keep.flatten())
    lengths = stays.sum(1)
    order = (~stays).byte().argsort(dim=1, stable=True)[:, : int(lengths.max())]
    real = torch.arange(order.shape[1], device=order.device) < lengths[:, None]

    def shrink(rows: Tensor, fill: int) -> Tensor:
        return rows.gather(1, order).masked_fill(~real, fill)

    positions = text.position_ids
    if positions is None:
        positions = shrink((text.attention_mask.cumsum(1) - 1).clamp_min(0), 0)
    else:
        positions = positions.gather(2, order.expand(3, *order.shape)).masked_fill(~real, 0)
    types = text.mm_token_type_ids
    return replace(
        text,
        input_ids=shrink(text.input_ids, pad_id),
        attention_mask=real.long(),
        labels=None if text.labels is None else shrink(text.labels, IGNORE),
        mm_token_type_ids=None if types is None else shrink(types, 0),
        position_ids=positions,
    )
