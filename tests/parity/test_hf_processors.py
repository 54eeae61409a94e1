"""Our differentiable preprocessing equals the Hugging Face image processors exactly, all three families."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.config import TinyMLLMConfig
from models.mllm.patchify import PatchEmbedding, VisionGeometry
from models.mllm.tiny import build_image_processor

FAMILIES = ("internvl", "qwen2_5_vl", "qwen3_vl")


@pytest.mark.parametrize("patch", [14, 16])
@pytest.mark.parametrize("family", FAMILIES)
def test_pixel_inputs_equal_the_processor(family, patch):
    size = 4 * patch
    processor = build_image_processor(family, TinyMLLMConfig(patch=patch), size)
    images = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    theirs = processor(list(images), return_tensors="pt")
    internvl = family == "internvl"
    geometry = VisionGeometry(
        patch,
        2,
        1 if internvl else 2,
        size if internvl else None,
        tuple(processor.image_mean),
        tuple(processor.image_std),
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
