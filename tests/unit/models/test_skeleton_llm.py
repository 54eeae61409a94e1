"""SkeletonLLM: the loss reaches the renderer's weights, precisions stay apart, export and reload agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.config import LoraConfig, MLLMConfig, RendererConfig
from models.draction.camera import fit_camera
from models.draction.renderer import ClipInput, DrAction
from models.draction.template import SkeletonSpec
from models.mllm.hf import HFMultimodal
from models.skeleton_llm import SkeletonLLM
from models.trainable import counts, set_trainable

SPEC = SkeletonSpec(
    name="arm",
    joint_names=("neck", "left_shoulder", "left_elbow", "left_wrist"),
    bones=((0, 1), (1, 2), (2, 3)),
    side=("centre", "left", "left", "left"),
    limb=("torso", "arm", "arm", "arm"),
    order=(1.0, 0.0, 0.5, 1.0),
)
RENDER = RendererConfig(frames=3, image_size=32, samples_per_bone=4)


def _clip(seed: int) -> ClipInput:
    generator = torch.Generator().manual_seed(seed)
    positions = torch.randn(3, 1, 4, 3, generator=generator) * 0.3
    velocity = torch.randn(3, 1, 4, 3, generator=generator) * 0.1
    return ClipInput(SPEC, positions, velocity, fit_camera(positions, SPEC, RENDER))


@pytest.fixture
def model(tiny_mllm: HFMultimodal) -> SkeletonLLM:
    torch.manual_seed(0)
    return SkeletonLLM(DrAction(RENDER), tiny_mllm)


def test_gradient_reaches_the_renderer_through_a_frozen_llm(model, uneven_prompts):
    set_trainable(model, ["renderer"])
    assert [g for g, c in counts(model).items() if c.trainable] == ["renderer"]
    text = model.mllm.tokenize(uneven_prompts, ["wave", "sit down", "wave"], 3, 32)
    model([_clip(s) for s in range(3)], text).loss.backward()
    gradients = [p.grad for p in model.renderer.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert sum(g.abs().sum() for g in gradients) > 0
    assert all(p.grad is None for p in model.mllm.parameters())


def test_renderer_stays_float32_before_a_bf16_llm(tiny_folders, family, uneven_prompts):
    half = HFMultimodal.from_checkpoint(tiny_folders[family], MLLMConfig(precision="bf16"))
    model = SkeletonLLM(DrAction(RENDER), half)
    text = half.tokenize(uneven_prompts, ["wave", "sit down", "wave"], 3, 32)
    model([_clip(s) for s in range(3)], text).loss.backward()
    assert {p.dtype for p in model.renderer.parameters()} == {torch.float32}
    assert sum(p.grad.abs().sum() for p in model.renderer.parameters()) > 0


def test_export_and_reload_agree(model, uneven_prompts, tmp_path: Path):
    model.mllm.add_lora(LoraConfig(rank=2, alpha=4))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    clips, candidates = [_clip(s) for s in range(3)], [["wave", "sit down"]] * 3
    scores = model.eval().score_candidates(clips, uneven_prompts, candidates)
    model.save_export(tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".bin", ".pt", ".pkl")]
    again = SkeletonLLM.load_export(tmp_path, MLLMConfig()).eval()
    assert "lora" not in counts(again)
    assert again.renderer.cfg == RENDER
    for a, b in zip(scores, again.score_candidates(clips, uneven_prompts, candidates), strict=True):
        torch.testing.assert_close(a.log_prob, b.log_prob, atol=1e-4, rtol=1e-5)
    written = model.generate(clips, uneven_prompts, 5)
    assert written == again.generate(clips, uneven_prompts, 5)


def test_content_free_scores_do_not_depend_on_a_clip(model, uneven_prompts):
    prior = model.score_content_free(uneven_prompts[0], ["wave", "sit down"], 3, 32)
    black = torch.zeros(1, 3, 3, 32, 32)
    (direct,) = model.mllm.score_candidates(black, uneven_prompts[:1], [["wave", "sit down"]])
    assert torch.equal(prior.log_prob, direct.log_prob)
