"""Low-rank adapters on the LLM's projections (arXiv 2106.09685, through peft): add in place, merge on export.

The adapters are injected into the model, so that parameter names keep their place: `...q_proj.base_layer.weight`,
`...q_proj.lora_A.default.weight`. Does not choose what is trained; see models/trainable.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.config import LoraConfig

# The vision encoders have projections of the same names; only those of the language model are meant.
TARGETS = {
    "attention": r".*language_model.*\.(q|k|v|o)_proj",
    "all": r".*language_model.*\.(q|k|v|o|gate|up|down)_proj",
}
_ADAPTER = "default"


def add_lora(model: nn.Module, cfg: LoraConfig, seed: int = 0) -> None:
    """Inject adapters into `model`. A starts random from `seed`, B at zero: the outputs do not change at first.

    Raises:
        ValueError: the model has adapters already.
    """
    import peft

    if has_lora(model):
        raise ValueError("add_lora: the model has adapters already")
    peft_cfg = peft.LoraConfig(
        r=cfg.rank,
        lora_alpha=cfg.alpha,
        lora_dropout=cfg.dropout,
        target_modules=TARGETS[cfg.targets],
        bias="none",
    )
    with torch.random.fork_rng():  # every rank must draw the same A, whatever it drew before
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(peft_cfg, model, adapter_name=_ADAPTER)


def has_lora(model: nn.Module) -> bool:
    """Whether adapters are injected anywhere in the model."""
    return any("lora_" in name for name, _ in model.named_parameters())


def merged_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """State dict under the names of the model without adapters, W + (alpha / r) B A in place of W.

    The model itself is left as it is: merging and unmerging in place would round W.
    """
    from peft.tuners.lora import LoraLayer

    layers: dict[str, Any] = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    state: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        if ".lora_" in key:
            continue
        owner, _, leaf = key.rpartition(".base_layer.")
        if not owner:
            state[key] = value
            continue
        if leaf == "weight":
            value = value + layers[owner].get_delta_weight(_ADAPTER).to(value.dtype)
        state[f"{owner}.{leaf}"] = value
    return state
