"""Vision encoders of the three families on kept blocks only, weights and modules being the library's own.

Inputs -> outputs: normalised pixels and kept blocks (N, h, w) bool -> visual tokens of the kept blocks in the order of
the full image, as the library's `mm_encoder_outputs`. Every patch has the position it has in the full image. N images,
h x w blocks of merge x merge patches. Chooses no blocks and touches no text: see `models.mllm.sparsify`.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


def _boundaries(counts: Tensor) -> Tensor:
    """(S,) sizes of consecutive segments -> (S' + 1,) int32 cumulative boundaries, empty segments left out."""
    return functional.pad(counts[counts > 0].cumsum(0, dtype=torch.int32), (1, 0))


def block_patches(height: int, width: int, merge: int, device: torch.device) -> Tensor:
    """(h * w, merge^2, 2) int64 patch row and column of every block's patches, both in row order."""
    row = torch.arange(height * merge, device=device).view(height, 1, merge, 1)
    column = torch.arange(width * merge, device=device).view(1, width, 1, merge)
    row, column = torch.broadcast_tensors(row, column)
    return torch.stack([row, column], -1).reshape(height * width, merge * merge, 2)


def _windows(keep: Tensor, side: int, merge: int) -> dict[str, Tensor]:
    """Qwen2.5-VL's window attention: every kept block stays in the window that it has in the full image."""
    image, row, column = keep.nonzero(as_tuple=True)
    across, down = -(-keep.shape[2] // side), -(-keep.shape[1] // side)
    window = (image * down + row // side) * across + column // side
    counts = torch.bincount(window, minlength=keep.shape[0] * down * across)
    return {
        "window_index": window.argsort(stable=True),
        "cu_window_seqlens": _boundaries(counts * merge**2),
    }


def encode_qwen(visual: Any, rows: Tensor, grid: Tensor, keep: Tensor) -> Any:
    """Qwen2.5-VL's and Qwen3-VL's encoder on kept blocks.

    The library takes positions, segments, windows and weights of the position table as precomputed arguments; here
    they are those of the kept patches. rows (N * h * w * merge^2, D) in block order and grid (N, 3) as
    `models.mllm.patchify.qwen_patches` writes them.
    """
    from transformers.vision_utils import get_vision_interpolation_indices_and_weights

    merge, blocks = visual.spatial_merge_size, keep.flatten()
    place = keep.flatten(1).nonzero()[:, 1]  # of each kept block in its image
    patches = block_patches(keep.shape[1], keep.shape[2], merge, rows.device)
    layout: dict[str, Tensor] = {
        "position_ids": patches[place].flatten(0, 1),
        "cu_seqlens": _boundaries(keep.flatten(1).sum(1) * merge**2),
    }
    if hasattr(visual, "window_size"):
        layout |= _windows(keep, visual.window_size // merge // visual.patch_size, merge)
    if hasattr(visual, "pos_embed"):
        taps, weights = get_vision_interpolation_indices_and_weights(
            grid[:1],
            num_grid_per_side=visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=merge,
        )
        for name, table in (("interp_indices", taps), ("interp_weights", weights)):
            layout[name] = table.unflatten(0, (-1, merge**2))[place].flatten(0, 1)
    kept = rows.unflatten(0, (-1, merge**2))[blocks].flatten(0, 1)
    out = visual(kept.type(visual.dtype), grid_thw=grid, **layout)
    # The library's own get_image_features splits by image before the model joins the parts again.
    out.pooler_output = (out.pooler_output,)
    if hasattr(out, "deepstack_features"):
        out.deepstack_features = [(feature,) for feature in out.deepstack_features]
    return out


def _masked_layer(layer: Any, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """InternVLVisionLayer.forward with a mask, which its attention takes and the layer does not pass on."""
    attended, _ = layer.attention(layer.layernorm_before(hidden_states), attention_mask=attention_mask)
    hidden_states = layer.lambda_1 * attended + hidden_states
    out = layer.dropout(layer.mlp(layer.layernorm_after(hidden_states)))
    return layer.lambda_2 * out + hidden_states


def accept_masks(model: nn.Module) -> None:
    """Let every InternVL vision layer of `model` take an attention mask, in place; without one nothing changes.

    The layer stays a module call, so gradient checkpointing and partitioned weights work as before.

    Raises:
        ValueError: the checkpoint takes its visual tokens from another layer than the last, or with the class token.
    """
    config = cast(Any, model).config
    if config.vision_feature_layer != -1 or config.vision_feature_select_strategy != "default":
        raise ValueError(
            "sparsify: expected visual tokens of the last layer without the class token, found "
            f"{config.vision_feature_layer}, {config.vision_feature_select_strategy!r}"
        )
    from transformers.models.internvl.modeling_internvl import InternVLVisionLayer

    for module in model.modules():
        if isinstance(module, InternVLVisionLayer):
            module.forward = MethodType(_masked_layer, module)


def _attention_mask(real: Tensor, dtype: torch.dtype, implementation: str) -> Tensor | None:
    """Mask (N, 1 + P) bool of what is not padding, in the form that the attention implementation reads."""
    if bool(real.all()):
        return None
    if implementation == "flash_attention_2":
        return real.long()
    return torch.zeros(real.shape, dtype=dtype, device=real.device).masked_fill(~real, torch.finfo(dtype).min)[
        :, None, None
    ]


def encode_internvl(model: Any, pixel_values: Tensor, keep: Tensor, merge: int) -> Tensor:
    """InternVL's encoder and projector on kept blocks -> visual tokens (kept blocks, D of the language model).

    The patch embedding, 0.2 % of the encoder's work, still sees every patch; the layers see the class token and the
    kept patches, images padded to the one that keeps most. pixel_values (N, 3, H, W) normalised.
    """
    tower = model.vision_tower
    embedded = tower.embeddings(pixel_values.to(model.dtype))  # (N, 1 + patches, D), positions added
    _, height, width = keep.shape
    patches = block_patches(height, width, merge, keep.device)
    index = 1 + patches[..., 0] * width * merge + patches[..., 1]  # (h * w, merge^2); 0 is the class token
    blocks = keep.flatten(1)
    most = int(blocks.sum(1).max())
    chosen = (~blocks).byte().argsort(dim=1, stable=True)[:, :most]
    real = blocks.gather(1, chosen)  # (N, most): padding lies at the right
    taken = functional.pad(index[chosen].flatten(1), (1, 0))
    states = embedded.gather(1, taken[..., None].expand(-1, -1, embedded.shape[-1]))
    seen = functional.pad(real.repeat_interleave(merge**2, 1), (1, 0), value=True)
    mask = _attention_mask(seen, states.dtype, tower.config._attn_implementation)
    for layer in tower.encoder.layer:
        states = layer(states, attention_mask=mask)
    states = tower.layernorm(states)[:, 1:].unflatten(1, (most, merge**2)).flatten(2)
    return model.multi_modal_projector(states[real])
