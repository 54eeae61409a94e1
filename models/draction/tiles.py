"""Ellipses -> for every tile they touch, the list of Gaussians to composite there, front to back.

Sorts by depth once, then by tile (stable), so that a tile's list is one contiguous run of rows. Computes no colour.
There is no loop over Gaussians, frames or persons.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.draction.projection import Raster, Splats

TILE = 8
"""Side of a tile, pixels."""
CUT = 1e-4
"""Largest optical depth below which a Gaussian is not drawn."""
ERROR = 3.5e-3
"""What all cuts together may change a pixel by: with N Gaussians in an image the cut is min(CUT, ERROR / N)."""
CENTRE = (TILE - 1) / 2
"""Pixel coordinate of a tile's centre, from its first pixel."""


@dataclass(frozen=True, eq=False)
class Tiles:
    """One row for each (Gaussian, tile) pair: E rows, grouped by tile, front to back within a tile.

    Attributes:
        gaussian: (E,) row of the Gaussian.
        centre: (E, 2) pixel coordinates of the tile's centre.
        tiles: (T,) touched tiles, (image * down + row) * across + column, ascending.
        start: (T,) first row of each.
        count: (T,) rows of each, at least 1.
        images: I.
        down: tiles in a column of an image.
        across: tiles in a row.
    """

    gaussian: Tensor
    centre: Tensor
    tiles: Tensor
    start: Tensor
    count: Tensor
    images: int
    down: int
    across: int

    def place(self) -> tuple[Tensor, Tensor, Tensor]:
        """(T,) image, row and column of the touched tiles."""
        row = self.tiles // self.across
        return row // self.down, row % self.down, self.tiles % self.across


def cut_of(splats: Splats, image_index: Tensor, images: int) -> Tensor:
    """(G,) the optical depth below which each Gaussian is not drawn.

    Leaving out optical depths that sum to d at a pixel changes its colour by at most d, so ERROR bounds the image's
    error whatever the scene, 700 Gaussians on one spot included.
    """
    drawn = torch.bincount(image_index[splats.visible], minlength=images).clamp_min(1)
    return (ERROR / drawn.to(splats.conic.dtype)).clamp_max(CUT)[image_index]


@torch.no_grad()
def bin_gaussians(splats: Splats, depth: Tensor, opacity: Tensor, image_index: Tensor, raster: Raster) -> Tiles:
    """List which tiles each Gaussian touches and sort every tile's list by depth (ties: order of the input).

    Args:
        splats: G ellipses.
        depth: (G,) metres.
        opacity: (G,) peak optical depth.
        image_index: (G,) int64.
        raster: sizes of the images.
    """
    down, across = -(-raster.height // TILE), -(-raster.width // TILE)
    place = splats.conic[:, :2]
    # squared Mahalanobis distance at the cut
    level = 2 * (opacity / cut_of(splats, image_index, raster.images)).clamp_min(1e-30).log()
    half = level.clamp_min(0).sqrt()[:, None] * splats.spread
    last = place.new_tensor([raster.width - 1, raster.height - 1])
    # Clamped before the cast to int: a centre far outside would overflow it.
    low = (place - half).ceil().clamp(0, 1 << 20)
    high = torch.minimum((place + half).floor(), last).clamp_min(-1)
    keep = splats.visible & (level > 0) & (low <= high).all(dim=1)

    kept = keep.nonzero().squeeze(1)
    kept = kept[torch.sort(depth[kept], stable=True).indices]
    first, end = low[kept].int() // TILE, high[kept].int() // TILE + 1
    wide, tall = (end - first).unbind(1)
    count = wide * tall
    row = torch.repeat_interleave(torch.arange(len(kept), device=place.device), count)
    within = torch.arange(len(row), device=place.device, dtype=torch.int32) - (count.cumsum(0) - count).int()[row]
    step, corner = wide[row], first[row]
    inside = torch.stack([within % step, within // step], dim=1)
    cell = corner + inside
    centre = (cell * TILE).to(place.dtype) + CENTRE
    touched = _touches(splats, half, kept, row, centre).nonzero().squeeze(1)
    column, line = cell.index_select(0, touched).long().unbind(1)
    row = row[touched]
    tile = (image_index[kept[row]] * down + line) * across + column
    order = torch.sort(tile, stable=True).indices
    tiles, counts = torch.unique_consecutive(tile[order], return_counts=True)
    return Tiles(
        gaussian=kept[row[order]],
        centre=centre[touched[order]],
        tiles=tiles,
        start=counts.cumsum(0) - counts,
        count=counts,
        images=raster.images,
        down=down,
        across=across,
    )


def _touches(splats: Splats, half: Tensor, kept: Tensor, row: Tensor, centre: Tensor) -> Tensor:
    """(E,) False for corners of the bounding box that the ellipse misses (a circle over its longer axis bounds it)."""
    q_uu, q_uv, q_vv = splats.conic[:, 2], splats.conic[:, 3], splats.conic[:, 4]
    # The squared long axis exceeds the larger of s_uu, s_vv by |s_uv| at most; s_uv / s_vv = -q_uv / q_uu.
    bound = half.square().amax(1) * (1 + q_uv.abs() / torch.maximum(q_uu, q_vv))
    disc = torch.cat([splats.conic[:, :2], bound[:, None]], dim=1)[kept][row]
    beside = ((centre - disc[:, :2]).abs() - CENTRE).clamp_min(0)
    return beside.square().sum(1) <= disc[:, 2]
