"""The pipeline: the only package that imports Ray and DeepSpeed. One module per stage; `full.py` is their sum.

from pipelines import Predictor, load_model, render, load_config, run
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.config.loading import load_config
    from pipelines.data.renderer_input import render
    from pipelines.full import run
    from pipelines.inference.predictor import Predictor
    from pipelines.inference.trained_model import load_model
    from pipelines.runtime.errors import UserError

__all__ = ["Predictor", "UserError", "load_config", "load_model", "render", "run"]

# Name -> module and its name there.
_HOMES = {
    "Predictor": ("pipelines.inference.predictor", "Predictor"),
    "UserError": ("pipelines.runtime.errors", "UserError"),
    "load_config": ("pipelines.config.loading", "load_config"),
    "load_model": ("pipelines.inference.trained_model", "load_model"),
    "render": ("pipelines.data.renderer_input", "render"),
    "run": ("pipelines.full", "run"),
}


def __getattr__(name: str) -> Any:
    # Loaded on first use (PEP 562): `--help` must load neither torch nor Ray.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, home = _HOMES[name]
    return getattr(importlib.import_module(module), home)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
