"""Reference rasteriser: every Gaussian at every pixel of its image, exact. The oracle of `tiled`.

Gaussians of all persons of an image are composited together, front to back. Black background. No thresholds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.draction.rasterize.projection import Raster, project

_CHUNK = 1 << 18  # pixel-Gaussian pairs in one step: about what a cache holds
_UNDERFLOW = -80.0  # exp gives 2e-35: nothing beside 1, and denormal results are ten times slower


def rasterize(
    means_cam: Tensor, radius: Tensor, opacity: Tensor, colour: Tensor, image_index: Tensor, raster: Raster
) -> Tensor:
    """Draw flat lists of Gaussians.

    out = sum_k T_k (1 - exp(-o_k w_k)) c_k with T_k = exp(-sum of o w in front of k), k by depth of the centre.
    Differentiable in everything but the depth order.

    Args:
        means_cam: (G, 3) camera space, metres.
        radius: (G,) metres.
        opacity: (G,) peak optical depth o, at least 0.
        colour: (G, 3) in [0, 1].
        image_index: (G,) int64.
        raster: sizes and intrinsics of I images.

    Returns:
        (I, 3, H, W).
    """
    splats = project(means_cam, radius, image_index, raster)
    opacity = torch.where(splats.visible, opacity, torch.zeros_like(opacity))
    order = torch.sort(means_cam[:, 2].detach(), stable=True).indices
    rows = [order[image_index[order] == i] for i in range(raster.images)]
    images = [_one_image(splats.conic[r], opacity[r], colour[r], raster) for r in rows]
    return torch.stack(images)


def _one_image(conic: Tensor, opacity: Tensor, colour: Tensor, raster: Raster) -> Tensor:
    """(K, 5), (K,), (K, 3) sorted by depth -> (3, H, W)."""
    if conic.shape[0] == 0:
        return colour.new_zeros(3, raster.height, raster.width)
    pu = torch.arange(raster.width, dtype=conic.dtype, device=conic.device)
    pv = torch.arange(raster.height, dtype=conic.dtype, device=conic.device)
    step = max(1, _CHUNK // (conic.shape[0] * raster.width))
    u, v, q_uu, q_uv, q_vv = (column[:, None, None] for column in conic.unbind(-1))
    bands: list[Tensor] = []
    for part in pv.split(step):
        du, dv = pu[None, None, :] - u, part[None, :, None] - v
        power = -0.5 * (q_uu * du**2 + 2 * q_uv * du * dv + q_vv * dv**2)
        weight = torch.exp(power.clamp_min(_UNDERFLOW))
        depth = opacity[:, None, None] * weight
        before = depth.cumsum(0) - depth
        share = torch.exp(-before) * -torch.expm1(-depth)
        bands.append(torch.einsum("khw,kc->chw", share, colour))
    return torch.cat(bands, dim=1)
