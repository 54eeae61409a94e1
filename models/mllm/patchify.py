"""Differentiable image preprocessing: float frames in [0, 1] -> what each family's vision encoder takes.

Stands in for the Hugging Face image processors, which work on uint8 arrays and cut the gradient. Does not resize:
frames are rendered at the exact size, since a resize here and in the processor would differ by up to 0.26.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(N, 3, H, W) in [0, 1] -> per-channel (x - mean) / std, in float32 or wider."""
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    # Made on the fly: a buffer would follow a cast of the whole module to bf16 and lose its digits.
    return (images - images.new_tensor(mean).view(1, 3, 1, 1)) / images.new_tensor(std).view(1, 3, 1, 1)


def qwen_patches(images: Tensor, patch: int, merge: int, temporal: int) -> tuple[Tensor, Tensor]:
    """Cut images into Qwen-VL rows: patches in merge x merge blocks, a still image repeated `temporal` times.

    (N, C, H, W) -> rows (N * gh * gw, C * temporal * patch * patch) and the grid (N, 3) int64 of (1, gh, gw), with
    gh = H / patch and gw = W / patch (arXiv 2409.12191, section 2.1).
    """
    n, c, h, w = images.shape
    gh, gw = h // patch, w // patch
    x = images.reshape(n, c, gh // merge, merge, patch, gw // merge, merge, patch)
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)  # image, block row, block column, row, column, channel, y, x
    x = x.unsqueeze(6).expand(*x.shape[:6], temporal, *x.shape[6:])
    grid = torch.tensor([[1, gh, gw]], dtype=torch.int64, device=images.device).expand(n, 3).contiguous()
    return x.reshape(n * gh * gw, c * temporal * patch * patch), grid


def qwen_video_patches(videos: Tensor, patch: int, merge: int, temporal: int) -> tuple[Tensor, Tensor]:
    """Cut videos into Qwen-VL rows: `temporal` frames that follow each other share a row, the last one repeated.

    (N, T, C, H, W) -> rows (N * gt * gh * gw, C * temporal * patch * patch) and the grid (N, 3) int64 of (gt, gh, gw),
    with gt = ceil(T / temporal) (arXiv 2409.12191, section 2.1).
    """
    missing = -videos.shape[1] % temporal
    if missing:
        videos = torch.cat([videos, videos[:, -1:].expand(-1, missing, -1, -1, -1)], 1)
    n, t, c, h, w = videos.shape
    gt, gh, gw = t // temporal, h // patch, w // patch
    x = videos.reshape(n, gt, temporal, c, gh // merge, merge, patch, gw // merge, merge, patch)
    # video, step, block row, block column, row, column, channel, frame of the step, y, x
    x = x.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9)
    grid = torch.tensor([[gt, gh, gw]], dtype=torch.int64, device=videos.device).expand(n, 3).contiguous()
    return x.reshape(n * gt * gh * gw, c * temporal * patch * patch), grid


class PatchEmbedding(nn.Module):
    """A convolution whose stride is its kernel, as one matrix product; same parameters, same names.

    On a CPU the convolution's backward costs four times as much (7.4 against 1.9 ms for 8 frames of 96 x 96, one
    thread); on a GPU the product is deterministic.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.kernel_size = conv.kernel_size
        self.weight = conv.weight
        self.bias = conv.bias

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D, H / kernel height, W / kernel width)."""
        n, c, h, w = images.shape
        ph, pw = self.kernel_size
        x = images.reshape(n, c, h // ph, ph, w // pw, pw).permute(0, 2, 4, 1, 3, 5)
        y = functional.linear(x.reshape(n, h // ph, w // pw, c * ph * pw), self.weight.flatten(1), self.bias)
        return y.permute(0, 3, 1, 2)


def replace_patch_convolutions(model: nn.Module) -> None:
    """Swap every Conv2d that cuts an image into patches for a PatchEmbedding, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and child.kernel_size == child.stride and child.groups == 1:
                setattr(module, name, PatchEmbedding(child))


@dataclass(frozen=True)
class VisionGeometry:
    """How a checkpoint turns a square image into patches and visual tokens.

    patch: patch side in pixels. merge: patches per token along a side. temporal: frames per patch (Qwen; 1 for
    InternVL). fixed_size: the only image side taken (InternVL), None where any multiple of patch * merge is.
    mean, std: of the checkpoint's image processor, in units of [0, 1].
    """

    patch: int
    merge: int
    temporal: int
    fixed_size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def check(self, height: int, width: int) -> None:
        """Raises ValueError if images of this size cannot be taken exactly."""
        unit = self.patch * self.merge
        if self.fixed_size is not None and (height, width) != (self.fixed_size, self.fixed_size):
            raise ValueError(
                f"image size: expected {self.fixed_size} x {self.fixed_size} (this checkpoint's vision encoder), "
                f"found {height} x {width}; set renderer.image_size to {self.fixed_size}"
            )
        if height % unit or width % unit:
            raise ValueError(f"image size: expected multiples of {unit} (patch x merge), found {height} x {width}")

    def tokens(self, image_size: int) -> int:
        """Visual tokens of one square image of this side."""
        self.check(image_size, image_size)
        return (image_size // (self.patch * self.merge)) ** 2

    def video_steps(self, frames: int) -> int:
        """Steps in time of a video of this many frames; the last frame is repeated where they do not divide.

        Raises:
            ValueError: the family reads single images only.
        """
        if self.temporal == 1:
            raise ValueError("mllm.frames_as: this family reads a video as single images; expected image, found video")
        return -(-frames // self.temporal)

    def pixel_inputs(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) float in [0, 1] -> keyword arguments of the Hugging Face model's forward."""
        self.check(*images.shape[-2:])
        x = normalise(images, self.mean, self.std)
        if self.fixed_size is not None:
            return {"pixel_values": x}
        rows, grid = qwen_patches(x, self.patch, self.merge, self.temporal)
        return {"pixel_values": rows, "image_grid_thw": grid}

    def video_inputs(self, videos: Tensor) -> dict[str, Tensor]:
        """(N, T, 3, H, W) float in [0, 1] -> arguments of the Hugging Face model's forward, one video each."""
        self.video_steps(videos.shape[1])
        self.check(*videos.shape[-2:])
        x = normalise(videos.flatten(0, 1), self.mean, self.std).unflatten(0, videos.shape[:2])
        rows, grid = qwen_video_patches(x, self.patch, self.merge, self.temporal)
        return {"pixel_values_videos": rows, "video_grid_thw": grid}
