"""Tensors in, tensors out: the DrAction renderer, the multimodal LLM and the losses. Knows no Ray and no files.

from models import DrAction, RendererConfig, SkeletonLLM, MLLMConfig
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.config import MLLMConfig, RendererConfig
    from models.draction.renderer import DrAction
    from models.skeleton_llm import SkeletonLLM

__all__ = ["DrAction", "MLLMConfig", "RendererConfig", "SkeletonLLM"]

_HOMES = {
    "DrAction": "models.draction.renderer",
    "MLLMConfig": "models.config",
    "RendererConfig": "models.config",
    "SkeletonLLM": "models.skeleton_llm",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use (PEP 562): `models.config` is read for `--help`, which must load no torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
