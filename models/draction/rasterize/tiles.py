"""Ellipses -> for every tile they touch, the list of Gaussians to composite there, front to back.

Sorts by depth once, then by tile (stable), so that a tile's list is one contiguous run of rows. Computes no colour.
There is no loop over Gaussians, frames or persons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.draction.rasterize.projection import Raster, Splats

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
        tiles: (T,) touched tiles, (image * down + row) * across + column, ascending.
        start: (T,) first row of each.
        count: (T,) rows of each, at least 1.
        images: I.
        down: tiles in a column of an image.
        across: tiles in a row.
    """

    gaussian: Tensor
    tiles: Tensor
    start: Tensor
    count: Tensor
    images: int
    down: int
    across: int

    @property
    def centre(self) -> Tensor:
        """(E, 2) float32 pixel coordinates of each row's tile's centre."""
        _, row, column = self.place()
        middle = torch.stack([column, row], 1) * TILE + CENTRE
        return middle.repeat_interleave(self.count, 0, output_size=len(self.gaussian))

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


@dataclass(frozen=True, eq=False)
class Boxes:
    """The K Gaussians that reach above the cut somewhere in their image, front to back.

    Attributes:
        gaussian: (K,) rows of the Gaussians.
        image: (K,) int64.
        box: (K, 4) int32 first tile column and row, and those after the last, of the bounding box.
        disc: (K, 3) centre and squared radius, pixels, of a circle around the ellipse.
    """

    gaussian: Tensor
    image: Tensor
    box: Tensor
    disc: Tensor


Lister = Callable[[Boxes, int, int, int], tuple[Tensor, Tensor]]
"""Boxes, images I, tiles in a column and in a row -> (E,) int64 rows of the boxes, grouped by tile and front to back
within it, and (I * down * across,) int64 how many each tile has."""


@torch.no_grad()
def bin_gaussians(
    splats: Splats, depth: Tensor, opacity: Tensor, image_index: Tensor, raster: Raster, lister: Lister | None = None
) -> Tiles:
    """List which tiles each Gaussian touches and sort every tile's list by depth (ties: order of the input).

    Args:
        splats: G ellipses.
        depth: (G,) metres.
        opacity: (G,) peak optical depth.
        image_index: (G,) int64.
        raster: sizes of the images.
        lister: does the second half; None takes `list_rows`.
    """
    down, across = -(-raster.height // TILE), -(-raster.width // TILE)
    boxes = _boxes(splats, depth, opacity, image_index, raster)
    rows, counts = (lister or list_rows)(boxes, raster.images, down, across)
    tiles = counts.nonzero().squeeze(1)
    count = counts.index_select(0, tiles)
    return Tiles(
        gaussian=boxes.gaussian.index_select(0, rows),
        tiles=tiles,
        start=count.cumsum(0) - count,
        count=count,
        images=raster.images,
        down=down,
        across=across,
    )


def _boxes(splats: Splats, depth: Tensor, opacity: Tensor, image_index: Tensor, raster: Raster) -> Boxes:
    """Where each Gaussian can be above the cut, and those that are nowhere left out."""
    place, (q_uu, q_uv, q_vv) = splats.conic[:, :2], splats.conic[:, 2:].unbind(1)
    # squared Mahalanobis distance at the cut
    level = 2 * (opacity / cut_of(splats, image_index, raster.images)).clamp_min(1e-30).log()
    half = level.clamp_min(0).sqrt()[:, None] * splats.spread
    last = place.new_tensor([raster.width - 1, raster.height - 1])
    # Clamped before the cast to int: a centre far outside would overflow it.
    low = (place - half).ceil().clamp(0, 1 << 20)
    high = torch.minimum((place + half).floor(), last).clamp_min(-1)
    keep = splats.visible & (level > 0) & (low <= high).all(dim=1)
    # The squared long axis exceeds the larger of s_uu, s_vv by |s_uv| at most; s_uv / s_vv = -q_uv / q_uu.
    bound = half.square().amax(1) * (1 + q_uv.abs() / torch.maximum(q_uu, q_vv))

    kept = keep.nonzero().squeeze(1)
    kept = kept[torch.sort(depth[kept], stable=True).indices]
    box = torch.cat([low[kept].int() // TILE, high[kept].int() // TILE + 1], dim=1)
    return Boxes(kept, image_index[kept], box, torch.cat([place[kept], bound[kept, None]], dim=1))


def list_rows(boxes: Boxes, images: int, down: int, across: int) -> tuple[Tensor, Tensor]:
    """See `Lister`; leaves out the corners of a bounding box that the circle misses."""
    device = boxes.box.device
    wide, tall = (boxes.box[:, 2:] - boxes.box[:, :2]).unbind(1)
    count = wide * tall
    row = torch.repeat_interleave(torch.arange(len(count), device=device), count)
    within = torch.arange(len(row), device=device, dtype=torch.int32) - (count.cumsum(0) - count).int()[row]
    step, corner, disc = wide[row], boxes.box[:, :2].index_select(0, row), boxes.disc.index_select(0, row)
    cell = corner + torch.stack([within % step, within // step], dim=1)
    beside = ((cell * TILE + CENTRE - disc[:, :2]).abs() - CENTRE).clamp_min(0)
    touched = (beside.square().sum(1) <= disc[:, 2]).nonzero().squeeze(1)
    column, line = cell.index_select(0, touched).long().unbind(1)
    row = row[touched]
    tile = (boxes.image[row] * down + line) * across + column
    order = torch.sort(tile, stable=True).indices
    return row[order], torch.bincount(tile, minlength=images * down * across)
