"""Triton core of `tiled`: one program for each touched tile, forward and backward, one pass over its list.

Keeps nothing but the image: with out = sum_k w_k c_k known, the light that the Gaussians behind k bring is out less
what k and those before it brought, so that the backward pass, too, runs from front to back. Writes one row of gradients
for each (Gaussian, tile) pair and needs no atomics; the caller sums the rows of each Gaussian.

Imported only where Triton is installed (it comes with PyTorch's CUDA builds). float32 only. Runs on a CPU under
TRITON_INTERPRET=1, which is how it is tested without a GPU.
"""

# A kernel is no ordinary function: its source is compiled, and its annotations say nothing to Triton.
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.draction.rasterize.tiles import CENTRE, TILE, Tiles

_LN2 = tl.constexpr(math.log(2))
_LEAST = tl.constexpr(-120.0)  # exponents below give denormal numbers
_MOST = tl.constexpr(6.0)  # 2^-64 of the light gets through: opaque; more would multiply the rounding of its gradient
_SIDE = tl.constexpr(TILE)
_MIDDLE = tl.constexpr(CENTRE)


def composite(rows: Tensor, colours: Tensor, tiles: Tiles, image: Tensor) -> None:
    """Fill the touched tiles of `image`.

    Args:
        rows: (E, 6) coefficients of log2(o w / ln 2) in u^2, u v, v^2, u, v, 1 from the tile's centre.
        colours: (E, 3).
        tiles: whose rows they are.
        image: (I, 3, down * 8, across * 8), contiguous, black.
    """
    grid = (len(tiles.tiles),)
    lists = (tiles.tiles, tiles.start, tiles.count)
    _forward[grid](rows, colours, *lists, image, tiles.down, tiles.across, num_warps=2)


def composite_backward(rows: Tensor, colours: Tensor, tiles: Tiles, image: Tensor, grad: Tensor) -> Tensor:
    """Gradients of the natural logarithm's six coefficients and of the three colours.

    Args:
        rows: (E, 6) as for `composite`.
        colours: (E, 3).
        tiles: whose rows they are.
        image: (I, 3, down * 8, across * 8) that `composite` drew.
        grad: the loss's gradient with respect to it, contiguous.

    Returns:
        (E, 9).
    """
    result = torch.empty(len(rows), 9, dtype=rows.dtype, device=rows.device)
    lists = (tiles.tiles, tiles.start, tiles.count)
    _backward[(len(tiles.tiles),)](
        rows, colours, *lists, image, grad, result, tiles.down, tiles.across, num_warps=1
    )  # fmt: skip
    return result


@triton.jit
def _pixels(tile: tl.tensor, down: tl.tensor, across: tl.tensor) -> tuple[tl.tensor, ...]:
    """Offsets of a tile's 64 pixels in the first channel of its image, the channel's stride, and u, v."""
    at = tl.arange(0, _SIDE * _SIDE)
    along, below = at % _SIDE, at // _SIDE
    image, line, column = tile // across // down, tile // across % down, tile % across
    width = across * _SIDE
    plane = down * _SIDE * width
    where = image * 3 * plane + (line * _SIDE + below) * width + column * _SIDE + along
    return where, plane, along - _MIDDLE, below - _MIDDLE


@triton.jit
def _depth(row: tl.tensor, u: tl.tensor, v: tl.tensor) -> tl.tensor:
    """Optical depth over ln 2 at the pixels."""
    power = tl.load(row) * u * u + tl.load(row + 1) * u * v + tl.load(row + 2) * v * v
    power += tl.load(row + 3) * u + tl.load(row + 4) * v + tl.load(row + 5)
    return tl.exp2(tl.minimum(tl.maximum(power, _LEAST), _MOST))


@triton.jit
def _forward(
    rows: tl.tensor,
    colours: tl.tensor,
    tiles: tl.tensor,
    start: tl.tensor,
    count: tl.tensor,
    image: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
) -> None:
    where, plane, u, v = _pixels(tl.load(tiles + tl.program_id(0)), down, across)
    first = tl.load(start + tl.program_id(0))
    length = tl.load(count + tl.program_id(0))
    total = tl.zeros_like(u)
    before = total + 1.0
    red, green, blue = tl.zeros_like(u), tl.zeros_like(u), tl.zeros_like(u)
    for k in range(length):
        total += _depth(rows + (first + k) * 6, u, v)
        after = tl.exp2(-total)
        colour = colours + (first + k) * 3
        red += (before - after) * tl.load(colour)
        green += (before - after) * tl.load(colour + 1)
        blue += (before - after) * tl.load(colour + 2)
        before = after
    tl.store(image + where, red)
    tl.store(image + where + plane, green)
    tl.store(image + where + 2 * plane, blue)


@triton.jit
def _backward(
    rows: tl.tensor,
    colours: tl.tensor,
    tiles: tl.tensor,
    start: tl.tensor,
    count: tl.tensor,
    image: tl.tensor,
    grad: tl.tensor,
    result: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
) -> None:
    where, plane, u, v = _pixels(tl.load(tiles + tl.program_id(0)), down, across)
    first = tl.load(start + tl.program_id(0))
    length = tl.load(count + tl.program_id(0))
    g_red, g_green = tl.load(grad + where), tl.load(grad + where + plane)
    g_blue = tl.load(grad + where + 2 * plane)
    # gradient times the light still to come from behind
    behind = g_red * tl.load(image + where) + g_green * tl.load(image + where + plane)
    behind += g_blue * tl.load(image + where + 2 * plane)
    total = tl.zeros_like(u)
    before = total + 1.0
    for k in range(length):
        depth = _depth(rows + (first + k) * 6, u, v)
        total += depth
        after = tl.exp2(-total)
        share = before - after
        colour = colours + (first + k) * 3
        seen = g_red * tl.load(colour) + g_green * tl.load(colour + 1) + g_blue * tl.load(colour + 2)
        behind -= share * seen
        to_log = (after * seen - behind) * depth * _LN2
        row = result + (first + k) * 9
        tl.store(row, tl.sum(to_log * u * u))
        tl.store(row + 1, tl.sum(to_log * u * v))
        tl.store(row + 2, tl.sum(to_log * v * v))
        tl.store(row + 3, tl.sum(to_log * u))
        tl.store(row + 4, tl.sum(to_log * v))
        tl.store(row + 5, tl.sum(to_log))
        tl.store(row + 6, tl.sum(share * g_red))
        tl.store(row + 7, tl.sum(share * g_green))
        tl.store(row + 8, tl.sum(share * g_blue))
        before = after
