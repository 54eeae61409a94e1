"""Baseline: composite one Gaussian after another over the whole image, frame by frame, in a Python loop.

What the paper's public implementation does, written anew from its equations: same arguments and image as
`reference.rasterize`. Nothing is made slower than it need be: the grid of pixels is made once, in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.draction.rasterize.projection import Raster, project


def rasterize_per_gaussian(
    means_cam: Tensor, radius: Tensor, opacity: Tensor, colour: Tensor, image_index: Tensor, raster: Raster
) -> Tensor:
    """(I, 3, H, W), front to back: out += T alpha c; T *= 1 - alpha, with alpha = 1 - exp(-o w)."""
    splats = project(means_cam, radius, image_index, raster)
    along = torch.arange(raster.width, dtype=colour.dtype, device=colour.device)
    below = torch.arange(raster.height, dtype=colour.dtype, device=colour.device)
    v, u = torch.meshgrid(below, along, indexing="ij")
    images: list[Tensor] = []
    for i in range(raster.images):
        members = (image_index == i).nonzero().squeeze(1)
        image = torch.zeros(3, raster.height, raster.width, device=colour.device)
        through = torch.ones(raster.height, raster.width, device=colour.device)
        for k in members[torch.argsort(means_cam[members, 2])]:
            cu, cv, q_uu, q_uv, q_vv = splats.conic[k]
            du, dv = u - cu, v - cv
            weight = torch.exp(-0.5 * (q_uu * du * du + 2 * q_uv * du * dv + q_vv * dv * dv))
            alpha = 1 - torch.exp(-opacity[k] * weight)
            image = image + (through * alpha) * colour[k][:, None, None]
            through = through * (1 - alpha)
        images.append(image)
    return torch.stack(images)
