"""The FLOPs formula against torch's counter, and a device's peak."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.config import MLLMConfig, TinyMLLMConfig
from models.mllm import flops, tiny
from models.mllm.hf import HFMultimodal


@pytest.mark.parametrize("family", ["internvl", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("learns", ["everything", "renderer", "llm"])
def test_formula_against_torchs_counter(family: str, learns: str, tmp_path) -> None:
    """Within 12 %: the formula leaves out norms, Qwen's position grids and class tokens, and windows of attention."""
    sizes = TinyMLLMConfig(vision_width=64, vision_layers=2, llm_width=64, llm_layers=2, heads=2, vocab=512)
    cfg = MLLMConfig(family=family, tiny=sizes, attention="eager")
    words = ["walk wave squat which action is it"]
    tiny.write_tiny_checkpoint(tmp_path, family, sizes, words, 64, 0)
    model = HFMultimodal.from_checkpoint(tmp_path, cfg).train()
    model.requires_grad_(learns == "everything")
    if learns == "llm":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(".language_model." in name or ".lm_head." in name)
    frames = torch.rand(2, 2, 3, 64, 64, requires_grad=learns != "llm")
    text = model.tokenize(["which action is it", "walk or wave"], ["walk", "squat wave"], 2, 64)
    found = flops.model_flops(model, learns != "llm")
    rows = zip(
        text.attention_mask.sum(1).tolist(),
        (text.labels >= 0).sum(1).tolist(),
        (text.input_ids == model.encoder.image_id).sum(1).tolist(),
        strict=True,
    )
    formula = found.step(rows, model.geometry.tokens(64))
    with FlopCounterMode(display=False) as counter:
        model(frames, text).loss.backward()
    assert formula == pytest.approx(counter.get_total_flops(), rel=0.12)


def test_parts_without_a_gradient_cost_their_forward_pass_only() -> None:
    part = flops.Part(weights=100, learning=0, layers=1, width=4, backward=False)
    assert part.flops(10, 50) == 2 * 100 * 10 + 4 * 4 * 50
    through = dataclasses.replace(part, backward=True)
    assert through.flops(10, 50) == 2 * (2 * 100 * 10) + 3 * (4 * 4 * 50)
    learning = dataclasses.replace(through, learning=100)
    assert learning.flops(10, 0) == 6 * 100 * 10


def test_peak_of_this_machine_is_sensible() -> None:
    assert 1e8 < flops.measured_peak(256, 0.02) < 1e14
