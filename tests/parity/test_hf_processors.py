"""Our differentiable preprocessing equals the Hugging Face image processors exactly, all three families."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.config import TinyMLLMConfig
from models.mllm.families.registry import family_named
from models.mllm.patchify import PatchEmbedding, VisionGeometry

FAMILIES = ("internvl", "qwen2_5_vl", "qwen3_vl")
# What the published InternVL3, Qwen2.5-VL and Qwen3-VL checkpoints use: no round numbers, so that rounding shows.
MEAN = {
    "internvl": (0.485, 0.456, 0.406),
    "qwen2_5_vl": (0.48145466, 0.4578275, 0.40821073),
    "qwen3_vl": (0.5, 0.5, 0.5),
}
STD = {
    "internvl": (0.229, 0.224, 0.225),
    "qwen2_5_vl": (0.26862954, 0.26130258, 0.27577711),
    "qwen3_vl": (0.5, 0.5, 0.5),
}


@pytest.mark.parametrize("patch", [14, 16])
@pytest.mark.parametrize("family", FAMILIES)
def test_pixel_inputs_equal_the_processor(family, patch):
    size = 4 * patch
    processor = family_named(family).tiny_processor(TinyMLLMConfig(patch=patch), size)
    processor.image_mean, processor.image_std = MEAN[family], STD[family]
    images = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    theirs = processor(list(images), return_tensors="pt")
    internvl = family == "internvl"
    geometry = VisionGeometry(
        patch,
        2,
        1 if internvl else 2,
        size if internvl else None,
        MEAN[family],
        STD[family],
    )
    frames = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    ours = geometry.pixel_inputs(frames)
    assert torch.equal(ours["pixel_values"], theirs["pixel_values"])
    if not internvl:
        assert torch.equal(ours["image_grid_thw"], theirs["image_grid_thw"])


def test_patch_embedding_equals_the_convolution():
    conv = torch.nn.Conv2d(3, 5, 4, 4)
    images = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(PatchEmbedding(conv)(images), conv(images), atol=1e-5, rtol=0)
