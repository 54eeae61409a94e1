"""registry: one class and one line add a renderer; shown with one that draws every joint white."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from models.config import RendererConfig
from models.draction.registry import RENDERERS, make_renderer
from models.draction.renderer import Body, SceneRenderer


class White(SceneRenderer):
    """The one class."""

    def paint(self, body: Body) -> tuple[Tensor, Tensor]:
        return body.radius.new_ones(*body.kind.shape, 3), body.radius.new_ones(body.kind.shape)


def test_a_renderer_from_outside_draws(monkeypatch: pytest.MonkeyPatch, body: Any) -> None:
    monkeypatch.setitem(RENDERERS, "white", White)
    cfg = RendererConfig(kind=cast(Any, "white"), frames=2, image_size=32)
    person = next(iter(body.topologies.values()))
    frames = make_renderer(cfg)([body.clip(person, body.standing(person, 1.0), cfg)])
    assert frames.shape == (1, 2, 3, 32, 32)
    assert float(frames.max()) > 0.5
    assert torch.equal(frames[:, :, 0], frames[:, :, 1])


def test_every_line_makes_a_renderer() -> None:
    assert all(isinstance(make(RendererConfig()), SceneRenderer) for make in RENDERERS.values())
