"""A stick figure with fixed colours, drawn as `Renderer` draws: the baseline, and what the teacher and report show.

Has no weights. Left is warm, right is cold, the trunk is light, arms are lighter than legs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.config import RendererConfig
from models.draction.appearance import starting_colours
from models.draction.renderer import Body, SceneRenderer

_OPACITY = 0.95


class StickRenderer(SceneRenderer):
    """Same interface as `Renderer`; colour depends on side and limb only."""

    def __init__(self, cfg: RendererConfig) -> None:
        super().__init__(cfg)
        self.register_buffer("colours", starting_colours(), persistent=False)

    def paint(self, body: Body) -> tuple[Tensor, Tensor]:
        """Colour of the Gaussian's side and limb; one opacity for all."""
        assert isinstance(self.colours, Tensor)
        rgb = torch.sigmoid(body.template.factors @ self.colours.t())
        return rgb.index_select(0, body.kind), body.radius.new_full(body.kind.shape, _OPACITY)
