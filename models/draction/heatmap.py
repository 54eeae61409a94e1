"""Joint heatmaps: a Gaussian of fixed size in the image at each joint, in the colour of its side and limb.

No bones, no depth order, no occlusion: a pixel's channel is the largest value that any joint of any person gives it
(as in the stacked heatmaps of arXiv 2104.13586, folded into three channels by colour). Has no weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from models.draction.fixed import StickRenderer
from models.draction.rasterize.projection import Raster, project
from models.draction.renderer import Body
from models.draction.template import SkeletonSpec, Template, template_of

_REACH = 3.5  # standard deviations drawn: the value beyond is below 1/255


class HeatmapRenderer(StickRenderer):
    """Same interface and colours as the stick figure."""

    def template(self, spec: SkeletonSpec, device: torch.device) -> Template:
        """The joints alone."""
        return template_of(spec, 0, device)

    def compose(self, bodies: Sequence[Body], raster: Raster) -> Tensor:
        """(I, 3, H, W): max over the joints of colour x exp(-d^2 / 2 sigma^2)."""
        image = torch.cat([body.image for body in bodies])
        place = torch.cat([body.place for body in bodies])
        splats = project(place, torch.cat([body.radius for body in bodies]), image, raster)
        rgb = torch.cat([self.paint(body)[0] for body in bodies]) * splats.visible[:, None]
        sigma = self.cfg.heatmap_sigma * raster.width
        reach = math.ceil(_REACH * sigma)
        offset = torch.arange(-reach, reach + 1, device=place.device)
        # Far outside of the image a rounded centre would overflow; nothing of it is drawn anyway.
        centre = splats.conic[:, :2].clamp(-2 * reach - 1, 2 * reach + raster.width + raster.height)
        column, row = (centre[:, axis, None].detach().round().long() + offset for axis in (0, 1))
        heat_u, heat_v = (
            torch.exp(-0.5 * ((pixels - centre[:, axis, None]) / sigma) ** 2) * ((pixels >= 0) & (pixels < limit))
            for axis, pixels, limit in ((0, column, raster.width), (1, row, raster.height))
        )
        column, row = column.clamp(0, raster.width - 1), row.clamp(0, raster.height - 1)
        cell = (image[:, None, None] * raster.height + row[:, :, None]) * raster.width + column[:, None, :]
        value = (heat_v[:, :, None] * heat_u[:, None, :])[..., None] * rgb[:, None, None]
        flat = rgb.new_zeros(raster.images * raster.height * raster.width, 3)
        cell = cell.flatten()[:, None].expand(-1, 3)
        flat = flat.scatter_reduce(0, cell, value.flatten(0, 2), "amax", include_self=True)
        return flat.view(raster.images, raster.height, raster.width, 3).permute(0, 3, 1, 2).contiguous()
