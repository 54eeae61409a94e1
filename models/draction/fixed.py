"""Fixed colours, drawn as `DrAction` draws: a stick figure, and the paper's baseline of place and velocity.

Have no weights. `heatmap` has the third fixed renderer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.config import RendererConfig
from models.draction.appearance import starting_colours
from models.draction.renderer import Body, SceneRenderer

_OPACITY = 0.95
_FULL_SPEED = 2.0
"""Metres per second from which a Gaussian shows nothing but the direction it moves in."""


class StickRenderer(SceneRenderer):
    """Colour depends on side and limb only; what the teacher and the report show.

    Left is warm, right is cold, the trunk is light, arms are lighter than legs.
    """

    def __init__(self, cfg: RendererConfig) -> None:
        super().__init__(cfg)
        self.register_buffer("colours", starting_colours(), persistent=False)

    def paint(self, body: Body) -> tuple[Tensor, Tensor]:
        """Colour of the Gaussian's side and limb; one opacity for all."""
        rgb = torch.sigmoid(body.template.factors @ self.get_buffer("colours").t())
        return rgb.index_select(0, body.kind), body.radius.new_full(body.kind.shape, _OPACITY)


class VelocityRenderer(SceneRenderer):
    """3D + velocity: what rests shows its depth within the person, what moves the direction of its motion.

    The paper compares DrAction with such a renderer and gives no formula; this one is ours. With v the camera-space
    velocity in units of 2 m/s and m = min(1, |v|): rgb = (1 - m) depth colour + m (1/2 + 1/2 v/|v|), so that motion to
    the right adds red, upwards green, away blue.
    """

    def paint(self, body: Body) -> tuple[Tensor, Tensor]:
        """Colour by place and motion; one opacity for all."""
        v = body.velocity / (_FULL_SPEED * self.cfg.velocity_stride_s)
        speed = (v.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        share = speed.clamp_max(1)
        rgb = (1 - share) * body.depth_rgb + 0.5 * share + 0.5 * v / speed.clamp_min(1)
        return rgb.clamp(0, 1), body.radius.new_full(body.kind.shape, _OPACITY)
