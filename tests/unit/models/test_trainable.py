"""Parameter groups of the three families: names, counts, freezing, optimiser groups."""

from __future__ import annotations

import pytest
import torch

from models.config import LoraConfig
from models.trainable import counts, group_of, param_groups, set_trainable

PROJECTOR_PARTS = {
    "internvl": {"multi_modal_projector"},
    "qwen2_5_vl": {"visual.merger"},
    "qwen3_vl": {"visual.merger", "visual.deepstack_merger_list"},
}


def _numel(model: torch.nn.Module, *parts: str) -> int:
    return sum(p.numel() for n, p in model.named_parameters() if any(part in n for part in parts))


def test_every_parameter_has_the_right_group(tiny_mllm, family):
    tiny_mllm.add_lora(LoraConfig(rank=2, alpha=4))
    found = counts(tiny_mllm)
    projector = _numel(tiny_mllm, *PROJECTOR_PARTS[family])
    lora = _numel(tiny_mllm, "lora_")
    assert list(found) == ["vision", "projector", "llm", "lora"]
    assert found["projector"].total == projector > 0
    assert found["vision"].total == _numel(tiny_mllm, "vision_tower", "visual") - projector * (family != "internvl")
    assert found["lora"].total == lora == 2 * (2 * 4) * 2 * 32 - 2 * 2 * 2 * 16  # k and v of one head are half as wide
    assert found["llm"].total == _numel(tiny_mllm, "language_model", "lm_head") - lora
    assert sum(c.total for c in found.values()) == sum(p.numel() for p in tiny_mllm.parameters())


@pytest.mark.parametrize("wanted", [("projector",), ("vision", "llm"), ("projector", "lora"), ()])
def test_exactly_the_named_groups_learn(tiny_mllm, wanted):
    tiny_mllm.add_lora(LoraConfig(rank=2, alpha=4))
    set_trainable(tiny_mllm, wanted)
    for name, parameter in tiny_mllm.named_parameters():
        assert parameter.requires_grad == (group_of(name) in wanted), name
    for group, count in counts(tiny_mllm).items():
        assert count.trainable == (count.total if group in wanted else 0)


def test_absent_and_unknown_groups_are_refused(tiny_mllm):
    with pytest.raises(ValueError, match="no parameters of lora, renderer"):
        set_trainable(tiny_mllm, ["renderer", "lora"])
    with pytest.raises(ValueError, match="found adapters"):
        set_trainable(tiny_mllm, ["adapters"])
    with pytest.raises(ValueError, match="'something"):
        group_of("something.weight")


def test_optimiser_groups_cover_the_trainable_once(tiny_mllm):
    set_trainable(tiny_mllm, ["vision", "projector"])
    groups = param_groups(tiny_mllm, {"vision": 1e-3, "projector": 2e-3, "llm": 5.0}, weight_decay=0.1)
    assert [g["name"] for g in groups] == [
        "vision/matrices", "vision/vectors", "projector/matrices", "projector/vectors",
    ]  # fmt: skip
    ids = [id(p) for g in groups for p in g["params"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in tiny_mllm.parameters() if p.requires_grad}
    for group in groups:
        matrices = group["name"].endswith("matrices")
        assert group["weight_decay"] == (0.1 if matrices else 0.0)
        assert group["lr"] == (1e-3 if group["name"].startswith("vision") else 2e-3)
        assert all((sum(s > 1 for s in p.shape) >= 2) == matrices for p in group["params"])
    torch.optim.AdamW(groups)


def test_a_group_without_learning_rate_is_refused(tiny_mllm):
    set_trainable(tiny_mllm, ["projector", "llm"])
    with pytest.raises(ValueError, match="'llm'"):
        param_groups(tiny_mllm, {"projector": 1e-3}, 0.0)
