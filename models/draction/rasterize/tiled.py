"""Fast rasteriser: the image of `reference`, with work proportional to the pixels that the Gaussians touch.

`tiles.bin_gaussians` lists which Gaussians touch each 8 x 8 tile; here each list is composited from a running sum of
optical depth, and the backward pass computes all of it anew, so that nothing of the size of pixels x Gaussians is ever
kept. Three cores do the compositing: plain PyTorch on padded lists (this file, any device and type), C++
(`native`, CPU) and a Triton kernel (`triton`, CUDA). No Python loop runs over Gaussians, frames or
persons.

With C_k the optical depth up to and including the k-th Gaussian, the sum sum_k (e^-C_(k-1) - e^-C_k) c_k over a tile's
list equals sum_k (1 - e^-C_k) (c_k - c_(k+1)), where black follows the last: one exponential for each pair, and an
untouched pixel is exactly 0 in float32. Optical depths are held in units of ln 2, since exp2 is the cheaper one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.draction.rasterize.projection import Raster, project
from models.draction.rasterize.tiles import CENTRE, TILE, Tiles, bin_gaussians

Core = Literal["torch", "native", "triton"]

_LOG2E = 1 / math.log(2)
_OFF = -40.0
"""Least exponent of 2, and that of padding rows: 1e-12 vanishes beside 1, and exp is slow where its result is tiny."""
_CAPACITIES = (2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256)
_LARGEST_STEP = 128  # between capacities beyond the table
_PAIRS_CPU = 1 << 17  # pixel-Gaussian pairs in one step: what a core's cache holds
_PAIRS_GPU = 1 << 24  # what fills a GPU


def rasterize_tiled(
    means_cam: Tensor,
    radius: Tensor,
    opacity: Tensor,
    colour: Tensor,
    image_index: Tensor,
    raster: Raster,
    core: Core | None = None,
) -> Tensor:
    """Draw flat lists of Gaussians; arguments and result as in `reference.rasterize`.

    Exact but for the cut: a Gaussian contributes nothing where its optical depth is below `tiles.cut_of`, which changes
    no pixel by more than `tiles.ERROR`. Differentiable once, in everything but the depth order and the cut; a Gaussian
    that is nowhere above the cut (opacity 0, say) has no gradient.

    Args:
        means_cam: (G, 3) camera space, metres.
        radius: (G,) metres.
        opacity: (G,) peak optical depth o, at least 0.
        colour: (G, 3) in [0, 1].
        image_index: (G,) int64.
        raster: sizes and intrinsics of I images.
        core: what composites; None takes the fastest that the device, the type and the machine allow.

    Raises:
        ModuleNotFoundError: Triton was asked for and is not installed.
    """
    splats = project(means_cam, radius, image_index, raster)
    core = core or core_for(splats.conic)
    lister = _kernels(core).list_rows if core == "native" else None
    tiles = bin_gaussians(splats, means_cam.detach()[:, 2], opacity.detach(), image_index, raster, lister)
    if tiles.gaussian.numel() == 0:
        # A sum of nothing, so that a batch without a single visible Gaussian still has a graph to go back through.
        return colour.new_zeros(raster.images, 3, raster.height, raster.width) + 0 * (colour.sum() + opacity.sum())
    shape = torch.cat([splats.conic, opacity.clamp_min(1e-30).log()[:, None]], dim=1)
    image = _Composite.apply(shape, colour, tiles, core)
    assert isinstance(image, Tensor)
    if image.shape[2:] == (raster.height, raster.width):
        return image  # a slice, even of everything, would cost its backward pass another image
    return image[:, :, : raster.height, : raster.width]


def core_for(like: Tensor) -> Core:
    """The fastest core for a tensor's device and type: Triton on CUDA, C++ on the CPU where it can be built."""
    if like.dtype != torch.float32:
        return "torch"
    if like.is_cuda:
        return "triton" if _is_here("triton") and find_spec("triton") is not None else "torch"
    if like.device.type != "cpu" or not _is_here("native"):
        return "torch"
    return "native" if _kernels("native").available() else "torch"


@cache
def _is_here(core: Core) -> bool:
    """Whether a fused core's module lies beside this one: an exported model goes without."""
    return find_spec(f"{__package__}.{core}") is not None


def _kernels(core: Core) -> ModuleType:
    """The module that holds a fused core's `composite` and `composite_backward`."""
    # Inside: Triton is an optional dependency, and what is imported at the top goes along with an exported model.
    if core == "native":
        from models.draction.rasterize import native

        return native
    from models.draction.rasterize import triton

    return triton


class _Composite(torch.autograd.Function):
    """(G, 6) u, v, Q_uu, Q_uv, Q_vv, log o and (G, 3) colours -> (I, 3, down * 8, across * 8)."""

    @staticmethod
    def forward(ctx: Any, shape: Tensor, colour: Tensor, tiles: Tiles, core: Core) -> Tensor:
        rows = (_kernels(core).polynomial if core == "native" else _polynomial)(shape, tiles)
        colours = colour.index_select(0, tiles.gaussian)
        image = shape.new_zeros(tiles.images, 3, tiles.down * TILE, tiles.across * TILE)
        if core == "torch":
            _composite(rows, colours, tiles, image)
            ctx.save_for_backward(shape, rows, colours)
        else:
            _kernels(core).composite(rows, colours, tiles, image)
            ctx.save_for_backward(shape, rows, colours, image)
        ctx.tiles, ctx.core = tiles, core
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        shape, rows, colours, *image = ctx.saved_tensors
        tiles: Tiles = ctx.tiles
        if ctx.core == "torch":
            to_rows = _composite_backward(rows, colours, tiles, grad)
        else:
            to_rows = _kernels(ctx.core).composite_backward(rows, colours, tiles, *image, grad.contiguous())
        if ctx.core == "native":
            return (*_kernels("native").gather(shape, to_rows, tiles), None, None)
        return (*_gather_gradient(shape, to_rows, tiles), None, None)


def _polynomial(shape: Tensor, tiles: Tiles) -> Tensor:
    """(E, 6) coefficients of log2(o w / ln 2) in u^2, u v, v^2, u, v, 1, with u, v from each row's tile's centre."""
    u, v, q_uu, q_uv, q_vv, log_o = shape.index_select(0, tiles.gaussian).unbind(1)
    centre = tiles.centre
    du, dv = u - centre[:, 0], v - centre[:, 1]
    along_u, along_v = q_uu * du + q_uv * dv, q_uv * du + q_vv * dv
    constant = log_o - 0.5 * (along_u * du + along_v * dv) + math.log(_LOG2E)
    return torch.stack([-0.5 * q_uu, -q_uv, -0.5 * q_vv, along_u, along_v, constant], dim=1) * _LOG2E


def _gather_gradient(shape: Tensor, to_rows: Tensor, tiles: Tiles) -> tuple[Tensor, Tensor]:
    """Chain rule of `_polynomial`, then the sum over each Gaussian's tiles.

    Args:
        shape: (G, 6).
        to_rows: (E, 9) gradients of the natural logarithm's six coefficients and of the three colours.
        tiles: which rows belong to which Gaussian.

    Returns:
        (G, 6) and (G, 3).
    """
    u, v, q_uu, q_uv, q_vv, _ = shape.index_select(0, tiles.gaussian).unbind(1)
    centre = tiles.centre
    du, dv = u - centre[:, 0], v - centre[:, 1]
    g_uu, g_uv, g_vv, g_u, g_v, g_one = to_rows[:, :6].unbind(1)
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
    summed.index_add_(0, tiles.gaussian, torch.cat([rows, to_rows[:, 6:]], dim=1))
    return summed[:, :6], summed[:, 6:]


# --- the PyTorch core -------------------------------------------------------------------------------------------------


def _composite(rows: Tensor, colours: Tensor, tiles: Tiles, image: Tensor) -> None:
    """(E, 6), (E, 3) -> the touched tiles of `image`."""
    padded, basis = _padded(rows), _basis(rows)
    colours = torch.cat([colours, colours.new_zeros(1, 3)])
    done = image.new_empty(len(tiles.tiles), 3, TILE * TILE)
    for members, lists in _steps(tiles):
        _, left = _depths(padded, basis, lists)
        # Colour differences, back minus front: the sign of left - 1 = -(1 - e^-C).
        done[members] = _behind_less_front(colours, lists) @ left.sub_(1).transpose(1, 2)
    i, y, x = tiles.place()
    view = image.unflatten(3, (tiles.across, TILE)).unflatten(2, (tiles.down, TILE))
    view[i, :, y, :, x] = done.unflatten(2, (TILE, TILE))


def _composite_backward(rows: Tensor, colours: Tensor, tiles: Tiles, grad: Tensor) -> Tensor:
    """(E, 6), (E, 3), (I, 3, rows, columns) -> (E, 9): see `_gather_gradient`."""
    padded, basis = _padded(rows), _basis(rows)
    colours = torch.cat([colours, colours.new_zeros(1, 3)])
    i, y, x = tiles.place()
    view = grad.unflatten(3, (tiles.across, TILE)).unflatten(2, (tiles.down, TILE))
    grad_tiles = view[i, :, y, :, x].flatten(2)  # (T, 3, 64)
    result = rows.new_empty(len(padded), 9)  # the last row, the padding's, is never read
    for members, lists in _steps(tiles):
        optical, left = _depths(padded, basis, lists)
        back = grad_tiles.index_select(0, members)
        # dL/dC_k = e^-C_k g.(c_k - c_k+1), and a depth enters C from its own place on: a reversed running sum.
        through = _product(back.transpose(1, 2), _behind_less_front(colours, lists)).mul_(left)
        running = through.cumsum(2)
        through.sub_(running).add_(running[:, :, -1:]).mul_(optical)
        to_steps = back @ left.sub_(1)  # (T, 3, K)
        to_colour = to_steps.neg()
        to_colour[:, :, 1:] += to_steps[:, :, :-1]
        # The last factor: the row's sign above, and optical depth in units of ln 2.
        to_rows = (basis.t() @ through).mul_(-math.log(2))
        both = torch.cat([to_rows, to_colour], dim=1).transpose(1, 2)
        result.index_copy_(0, lists.flatten(), both.reshape(-1, 9))
    return result[:-1]


def _steps(tiles: Tiles) -> Iterator[tuple[Tensor, Tensor]]:
    """Tiles (t,) and their lists (t, K) of rows, padded with E: tiles of similar length share a step."""
    device = tiles.count.device
    longest = int(tiles.count.max())
    bounds = [*_CAPACITIES, *range(_CAPACITIES[-1] + _LARGEST_STEP, longest + _LARGEST_STEP, _LARGEST_STEP)]
    group = torch.bucketize(tiles.count, torch.tensor(bounds, device=device))
    by_group = torch.sort(group, stable=True).indices
    sizes = torch.bincount(group, minlength=len(bounds)).tolist()
    pairs = _PAIRS_GPU if tiles.count.is_cuda else _PAIRS_CPU
    for of_group, capacity in zip(by_group.split(sizes), bounds, strict=False):
        slot = torch.arange(min(capacity, longest), device=device)
        for members in of_group.split(max(1, pairs // (TILE * TILE * len(slot)))) if len(of_group) else ():
            inside = slot < tiles.count[members, None]
            yield members, torch.where(inside, tiles.start[members, None] + slot, len(tiles.gaussian))


def _depths(padded: Tensor, basis: Tensor, lists: Tensor) -> tuple[Tensor, Tensor]:
    """Optical depth over ln 2 of each pair, and the light left behind it, e^-C: (t, 64, K) both."""
    chosen = padded.index_select(0, lists.flatten()).view(*lists.shape, 6)
    optical = _product(basis, chosen.transpose(1, 2)).clamp_min_(_OFF).exp2_()
    return optical, optical.cumsum(2).neg_().exp2_()


def _padded(rows: Tensor) -> Tensor:
    """(E, 6) -> (E + 1, 6): the last row is next to nothing everywhere."""
    padding = rows.new_zeros(1, 6)
    padding[0, 5] = _OFF
    return torch.cat([rows, padding])


def _basis(like: Tensor) -> Tensor:
    """(64, 6): u^2, u v, v^2, u, v, 1 at a tile's pixels, from its centre."""
    at = torch.arange(TILE, dtype=like.dtype, device=like.device) - CENTRE
    v, u = (grid.flatten() for grid in torch.meshgrid(at, at, indexing="ij"))
    return torch.stack([u * u, u * v, v * v, u, v, torch.ones_like(u)], dim=1)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """left (.., P, n) @ right (T, n, K) for small n. On a GPU term by term: TF32 would spoil the exponents."""
    if not left.is_cuda:
        return left @ right
    total = left[..., :, :1] * right[:, :1]
    for i in range(1, left.shape[-1]):
        total = total.addcmul_(left[..., :, i : i + 1], right[:, i : i + 1])
    return total


def _behind_less_front(colours: Tensor, lists: Tensor) -> Tensor:
    """(t, 3, K): the colour behind each Gaussian (black behind the last) less its own."""
    front = colours.index_select(0, lists.flatten()).view(*lists.shape, 3).transpose(1, 2)
    steps = -front
    steps[:, :, :-1] += front[:, :, 1:]
    return steps
