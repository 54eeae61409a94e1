"""Adapters: inert at first, on the language model's attention only, merged on export."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.config import LoraConfig, MLLMConfig
from models.mllm.hf import HFMultimodal
from models.mllm.lora import has_lora, merged_state_dict

CFG = LoraConfig(rank=4, alpha=8, dropout=0.0)


def test_adapters_start_inert_and_equal_on_every_rank(tiny_mllm, tiny_folders, family, tiny_frames, uneven_prompts):
    text = tiny_mllm.tokenize(uneven_prompts, ["wave"] * 3, 3, 32)
    plain = tiny_mllm(tiny_frames(3), text).logits
    tiny_mllm.add_lora(CFG, seed=5)
    torch.testing.assert_close(tiny_mllm(tiny_frames(3), text).logits, plain, atol=1e-6, rtol=0)
    other = HFMultimodal.from_checkpoint(tiny_folders[family], MLLMConfig())
    torch.manual_seed(123)
    other.add_lora(CFG, seed=5)
    ours, theirs = dict(tiny_mllm.named_parameters()), dict(other.named_parameters())
    adapters = [n for n in ours if "lora_" in n]
    assert len(adapters) == 2 * 2 * 4  # A and B, two layers, four projections
    assert all("language_model" in n for n in adapters)
    assert all(torch.equal(ours[n], theirs[n]) for n in adapters)


@pytest.mark.parametrize("targets", ["attention", "all"])
def test_merged_export_gives_the_same_logits(tiny_mllm, tiny_frames, uneven_prompts, tmp_path, targets):
    tiny_mllm.add_lora(replace(CFG, targets=targets))
    generator = torch.Generator().manual_seed(2)
    for name, parameter in tiny_mllm.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    text = tiny_mllm.tokenize(uneven_prompts, ["wave"] * 3, 3, 32)
    before = {k: v.clone() for k, v in tiny_mllm.model.state_dict().items()}
    adapted = tiny_mllm(tiny_frames(3), text).logits
    tiny_mllm.save_pretrained(tmp_path)
    assert all(torch.equal(before[k], v) for k, v in tiny_mllm.model.state_dict().items())
    merged = HFMultimodal.from_checkpoint(tmp_path, MLLMConfig()).eval()
    assert not has_lora(merged)
    logits = merged(tiny_frames(3), text).logits
    torch.testing.assert_close(logits, adapted, atol=1e-5 * adapted.abs().max().item(), rtol=0)
    name = "model.language_model.layers.0.self_attn.q_proj"
    assert not torch.equal(merged_state_dict(tiny_mllm.model)[f"{name}.weight"], before[f"{name}.base_layer.weight"])


def test_adding_twice_is_refused(tiny_mllm):
    tiny_mllm.add_lora(CFG)
    with pytest.raises(ValueError, match="already"):
        tiny_mllm.add_lora(CFG)
