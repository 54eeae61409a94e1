"""Clips in memory -> frames, with gradients (what happens to positions and cameras: test_collator)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import DrAction, RendererConfig
from pipelines import render
from pipelines.data.renderer_input import clip_input
from skeleton_io import read

ASSETS = Path(__file__).resolve().parents[3] / "assets"
CFG = RendererConfig(frames=2, image_size=32, samples_per_bone=2)


def test_frames_of_one_clip_and_of_several_skeletons() -> None:
    renderer = DrAction(CFG)
    clips = [read(ASSETS / "bvh" / "turn.bvh"), read(ASSETS / "ntu" / "S001C002P003R001A023.skeleton")]
    both = render(clips, renderer)
    assert both.shape == (2, 2, 3, 32, 32)
    for clip, frames in zip(clips, both, strict=True):
        torch.testing.assert_close(render(clip, renderer), frames)
    assert 0 <= both.detach().min() < both.detach().max() <= 1
    both.square().mean().backward()
    gradients = [weight.grad for weight in renderer.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients if gradient is not None)
    with pytest.raises(ValueError, match="at least one clip"):
        render([], renderer)


def test_frames_can_be_named() -> None:
    clip = read(ASSETS / "bvh" / "turn.bvh")
    whole = clip_input(clip, CFG, None, None, np.arange(clip.frames))
    named = clip_input(clip, CFG, None, None, np.array([2, 0, 2]))
    assert torch.equal(named.positions, whole.positions[[2, 0, 2]])
    assert torch.equal(named.velocity, whole.velocity[[2, 0, 2]])
