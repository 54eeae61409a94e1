"""`renderer.kind` -> renderer. A new kind is one class and one line here."""

from __future__ import annotations

from collections.abc import Callable

from models.config import RendererConfig
from models.draction.fixed import StickRenderer, VelocityRenderer
from models.draction.heatmap import HeatmapRenderer
from models.draction.renderer import DrAction, SceneRenderer

FIXED: dict[str, Callable[[RendererConfig], SceneRenderer]] = {
    "stick": StickRenderer,
    "heatmap": HeatmapRenderer,
    "velocity": VelocityRenderer,
}
"""Renderers without weights."""
RENDERERS: dict[str, Callable[[RendererConfig], SceneRenderer]] = {"draction": DrAction, **FIXED}


def make_renderer(cfg: RendererConfig) -> SceneRenderer:
    """The renderer that a configuration asks for, untrained.

    Raises:
        ValueError: a configuration that makes no picture.
    """
    return RENDERERS[cfg.kind](cfg)
