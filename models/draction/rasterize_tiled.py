"""Fast rasteriser: the image of `rasterize`, with work proportional to the pixels that the Gaussians touch.

Gaussians are cut where their optical depth falls below CUT, listed once per 8 x 8 tile they touch, sorted by tile and
depth, and composited tile by tile from a running sum of optical depth. Tiles of similar length share one padded batch.
There is no loop over Gaussians, frames or persons.

With C_k the optical depth up to and including the k-th Gaussian, the sum sum_k (e^-C_(k-1) - e^-C_k) c_k over a tile's
list equals sum_k (1 - e^-C_k) (c_k - c_(k+1)), where black follows the last: one exponential for each pair, and an
untouched pixel is exactly 0 in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.draction.projection import Raster, Splats, project

TILE = 8
"""Side of a tile, pixels."""
CUT = 1e-4
"""Optical depth below which a Gaussian is not drawn."""
_CENTRE = (TILE - 1) / 2
_OFF = -30.0
"""Least exponent, and that of padding rows: 1e-13 vanishes beside 1, and exp is slow where its result is denormal."""
_CAPACITIES = (2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256)
_LARGEST_STEP = 128  # between capacities beyond the table


@dataclass(frozen=True, eq=False)
class _Entries:
    """One row for each (Gaussian, tile) pair, grouped by Gaussian.

    Attributes:
        gaussian: (E,) row of the Gaussian.
        centre: (E, 2) pixel coordinates of the tile's centre.
        buckets: (tiles (T,), rows (T, K)) for each group of tiles; rows are entries by depth, padded with E.
    """

    gaussian: Tensor
    centre: Tensor
    buckets: list[tuple[Tensor, Tensor]]


def rasterize_tiled(
    means_cam: Tensor, radius: Tensor, opacity: Tensor, colour: Tensor, image_index: Tensor, raster: Raster
) -> Tensor:
    """Draw flat lists of Gaussians; arguments and result as in `rasterize.rasterize`.

    Exact but for the cut: a Gaussian contributes nothing where its optical depth is below CUT. Differentiable once, in
    everything but the depth order and the cut.
    """
    splats = project(means_cam, radius, image_index, raster)
    entries = _bin(splats, means_cam.detach()[:, 2], opacity.detach(), image_index, raster)
    if entries.gaussian.numel() == 0:
        # A sum of nothing, so that a batch without a single visible Gaussian still has a graph to go back through.
        return colour.new_zeros(raster.images, 3, raster.height, raster.width) + 0 * (colour.sum() + opacity.sum())
    log_opacity = opacity.clamp_min(CUT * 1e-3).log()
    shape = torch.cat([splats.conic, log_opacity[:, None]], dim=1)
    image = _Composite.apply(shape, colour, entries, (raster.images, *_grid(raster)))
    assert isinstance(image, Tensor)
    image = image.flatten(4, 5).flatten(2, 3)
    return image[:, :, : raster.height, : raster.width]


def _grid(raster: Raster) -> tuple[int, int]:
    """Tiles down and across."""
    return -(-raster.height // TILE), -(-raster.width // TILE)


@torch.no_grad()
def _bin(splats: Splats, depth: Tensor, opacity: Tensor, image_index: Tensor, raster: Raster) -> _Entries:
    """List which tiles each Gaussian touches and sort every tile's list by depth (ties: order of the input)."""
    down, across = _grid(raster)
    level = 2 * (opacity / CUT).clamp_min(1e-30).log()  # squared Mahalanobis distance at the cut
    keep = splats.visible & (level > 0)
    half = level.clamp_min(0).sqrt()[:, None] * splats.spread
    place = splats.conic[:, :2]
    last = torch.tensor([raster.width - 1, raster.height - 1], device=place.device)
    # Clamped before the cast to int: a centre far outside would overflow it.
    low = torch.maximum((place - half).ceil(), torch.zeros_like(place)).clamp_max(1 << 20)
    high = torch.minimum((place + half).floor(), last.to(place.dtype)).clamp_min(-1)
    keep &= (low <= high).all(dim=1)

    kept = keep.nonzero().squeeze(1)
    kept = kept[torch.sort(depth[kept], stable=True).indices]
    first, end = low[kept].long() // TILE, high[kept].long() // TILE + 1
    wide, tall = (end - first).unbind(1)
    count = wide * tall
    row = torch.repeat_interleave(torch.arange(len(kept), device=place.device), count)
    within = torch.arange(len(row), device=place.device) - (count.cumsum(0) - count)[row]
    step = wide[row]
    tile_x = first[:, 0][row] + within % step
    tile_y = first[:, 1][row] + within // step
    gaussian = kept[row]
    centre = torch.stack([tile_x, tile_y], dim=1) * TILE + _CENTRE

    # Corners of the bounding box that the ellipse misses (its longer axis bounds it).
    beside = ((centre - place[gaussian]).abs() - _CENTRE).clamp_min(0)
    reach = half.square().amax(1)  # the axes differ little: s_uu and s_vv share the floor and the blur
    bound = reach * (1 + _obliqueness(splats))
    touched = beside.square().sum(1) <= bound[gaussian]
    gaussian, centre = gaussian[touched], centre[touched]
    tile = ((image_index[kept] * down)[row] + tile_y)[touched] * across + tile_x[touched]
    return _Entries(gaussian=gaussian, centre=centre.to(place.dtype), buckets=_buckets(tile))


def _obliqueness(splats: Splats) -> Tensor:
    """(G,) how far the squared long axis may exceed the larger of s_uu, s_vv: |Sigma_uv| relative to it."""
    q_uu, q_uv, q_vv = splats.conic[:, 2], splats.conic[:, 3], splats.conic[:, 4]
    return q_uv.abs() / torch.maximum(q_uu, q_vv)


def _buckets(tile: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Entries' tiles (E,), in depth order for each tile -> padded lists, tiles of similar length together."""
    if tile.numel() == 0:
        return []
    order = torch.sort(tile, stable=True).indices
    tiles, counts = torch.unique_consecutive(tile[order], return_counts=True)
    start = counts.cumsum(0) - counts
    longest = int(counts.max())
    bounds = [*_CAPACITIES, *range(_CAPACITIES[-1] + _LARGEST_STEP, longest + _LARGEST_STEP, _LARGEST_STEP)]
    group = torch.bucketize(counts, torch.tensor(bounds, device=tile.device))
    by_group = torch.sort(group, stable=True).indices
    sizes = torch.bincount(group, minlength=len(bounds)).tolist()
    padded = torch.cat([order, order.new_tensor([len(order)])])
    result: list[tuple[Tensor, Tensor]] = []
    for members, capacity in zip(by_group.split(sizes), bounds, strict=False):
        if len(members) == 0:
            continue
        slot = torch.arange(min(capacity, longest), device=tile.device)
        at = torch.where(slot < counts[members, None], start[members, None] + slot, len(order))
        result.append((tiles[members], padded[at]))
    return result


def _tile_place(tiles: Tensor, down: int, across: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image, row and column of tiles."""
    row = tiles // across
    return row // down, row % down, tiles % across


def _basis(like: Tensor) -> Tensor:
    """(64, 6): u^2, u v, v^2, u, v, 1 at a tile's pixels, from its centre."""
    at = torch.arange(TILE, dtype=like.dtype, device=like.device) - _CENTRE
    v, u = (grid.flatten() for grid in torch.meshgrid(at, at, indexing="ij"))
    return torch.stack([u * u, u * v, v * v, u, v, torch.ones_like(u)], dim=1)


def _polynomial(shape: Tensor, entries: _Entries) -> Tensor:
    """(E + 1, 6) coefficients of log(o w) in the basis of each entry's tile; the last row is the padding."""
    u, v, q_uu, q_uv, q_vv, log_o = shape.index_select(0, entries.gaussian).unbind(1)
    du, dv = u - entries.centre[:, 0], v - entries.centre[:, 1]
    along_u, along_v = q_uu * du + q_uv * dv, q_uv * du + q_vv * dv
    constant = log_o - 0.5 * (along_u * du + along_v * dv)
    rows = torch.stack([-0.5 * q_uu, -q_uv, -0.5 * q_vv, along_u, along_v, constant], dim=1)
    padding = rows.new_zeros(1, 6)
    padding[0, 5] = _OFF
    return torch.cat([rows, padding])


def _product(left: Tensor, right: Tensor) -> Tensor:
    """left (.., P, n) @ right (T, n, K) for small n. On a GPU term by term: TF32 would spoil the exponents."""
    if not left.is_cuda:
        return left @ right
    total = left[..., :, :1] * right[:, :1]
    for i in range(1, left.shape[-1]):
        total = total.addcmul_(left[..., :, i : i + 1], right[:, i : i + 1])
    return total


class _Composite(torch.autograd.Function):
    """(G, 6) u, v, Q_uu, Q_uv, Q_vv, log o and (G, 3) colours -> (I, 3, down, 8, across, 8)."""

    @staticmethod
    def forward(ctx: Any, shape: Tensor, colour: Tensor, entries: _Entries, grid: tuple[int, int, int]) -> Tensor:
        basis = _basis(shape)
        coefficients = _polynomial(shape, entries)
        colours = torch.cat([colour.index_select(0, entries.gaussian), colour.new_zeros(1, 3)])
        images, down, across = grid
        image = shape.new_zeros(images, 3, down, TILE, across, TILE)
        kept: list[Tensor] = []
        for members, rows in entries.buckets:
            chosen = coefficients.index_select(0, rows.flatten()).view(*rows.shape, 6)
            optical = _product(basis, chosen.transpose(1, 2)).clamp_min_(_OFF).exp_()  # (T, 64, K)
            covered = optical.cumsum(2).neg_().exp_().neg_().add_(1)  # 1 - e^-C
            steps = _steps(colours, rows)
            i, y, x = _tile_place(members, down, across)
            image[i, :, y, :, x] = (covered @ steps).transpose(1, 2).unflatten(2, (TILE, TILE))
            kept += [optical, covered, steps]
        ctx.save_for_backward(shape, *kept)
        ctx.entries = entries
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        shape, *kept = ctx.saved_tensors
        entries: _Entries = ctx.entries
        basis = _basis(shape)
        total = len(entries.gaussian) + 1
        by_entry = shape.new_zeros(total, 9)
        for i, (members, rows) in enumerate(entries.buckets):
            optical, covered, steps = kept[3 * i : 3 * i + 3]
            i, y, x = _tile_place(members, grad.shape[2], grad.shape[4])
            back = grad[i, :, y, :, x].flatten(2)  # (T, 3, 64)
            to_steps = back @ covered  # (T, 3, K)
            to_colour = to_steps.clone()
            to_colour[:, :, 1:] -= to_steps[:, :, :-1]
            # d(1 - e^-C)/dC = e^-C; a Gaussian's depth enters C from its own place backwards: a reversed running sum.
            through = _product(back.transpose(1, 2), steps.transpose(1, 2))
            through = torch.addcmul(through, through, covered, value=-1)
            running = through.cumsum(2)
            through += running[:, :, -1:]
            through -= running
            to_coefficients = basis.t() @ through.mul_(optical)  # (T, 6, K)
            both = torch.cat([to_coefficients, to_colour], dim=1).transpose(1, 2)
            by_entry.index_copy_(0, rows.flatten(), both.reshape(-1, 9))
        by_gaussian = _gather_gradient(shape, by_entry[:-1], entries)
        return (*by_gaussian, None, None)


def _steps(colours: Tensor, rows: Tensor) -> Tensor:
    """(T, K, 3): each Gaussian's colour less that of the one behind it."""
    front = colours.index_select(0, rows.flatten()).view(*rows.shape, 3)
    steps = front.clone()
    steps[:, :-1] -= front[:, 1:]
    return steps


def _gather_gradient(shape: Tensor, by_entry: Tensor, entries: _Entries) -> tuple[Tensor, Tensor]:
    """Chain rule of `_polynomial`, then the sum over each Gaussian's tiles: (G, 6) and (G, 3)."""
    u, v, q_uu, q_uv, q_vv, _ = shape.index_select(0, entries.gaussian).unbind(1)
    du, dv = u - entries.centre[:, 0], v - entries.centre[:, 1]
    g_uu, g_uv, g_vv, g_u, g_v, g_one = by_entry[:, :6].unbind(1)
    # constant = log o - (q_uu du^2 + 2 q_uv du dv + q_vv dv^2) / 2
    rows = torch.stack(
        [
            q_uu * g_u + q_uv * g_v - g_one * (q_uu * du + q_uv * dv),
            q_uv * g_u + q_vv * g_v - g_one * (q_uv * du + q_vv * dv),
            -0.5 * g_uu + du * g_u - 0.5 * du * du * g_one,
            -g_uv + dv * g_u + du * g_v - du * dv * g_one,
            -0.5 * g_vv + dv * g_v - 0.5 * dv * dv * g_one,
            g_one,
        ],
        dim=1,
    )
    summed = shape.new_zeros(shape.shape[0], 9)
    summed.index_add_(0, entries.gaussian, torch.cat([rows, by_entry[:, 6:]], dim=1))
    return summed[:, :6], summed[:, 6:]
