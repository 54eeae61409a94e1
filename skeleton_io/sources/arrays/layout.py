"""An array with axes in any order, some of them multiplied together -> (N, T, P, J, C). Numpy only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

AXES = "NTPJC"
"""Clips, frames, persons, joints, numbers per joint."""
Layout = tuple[tuple[str, ...], ...]


def parse_layout(text: str) -> Layout:
    """ "T*J, C" -> (("T", "J"), ("C",)).

    Raises:
        ValueError: an unknown axis, or one twice.
    """
    layout = tuple(tuple(axis.strip() for axis in group.split("*")) for group in text.split(","))
    axes = [axis for group in layout for axis in group]
    for axis in axes:
        if axis not in AXES or len(axis) != 1:
            raise ValueError(f"no axis {axis!r}; there are {', '.join(AXES)}")
        if axes.count(axis) > 1:
            raise ValueError(f"axis {axis} twice")
    return layout


def unfold(array: NDArray, text: str, sizes: Mapping[str, int]) -> NDArray:
    """(N, T, P, J, C) view or copy; an axis that the layout does not name has size 1.

    Args:
        array: as the file holds it.
        text: its layout.
        sizes: axis -> size, for those that are known (J, C, often P).

    Raises:
        ValueError: says which axis does not fit, with its size.
    """
    layout = parse_layout(text)
    if array.ndim != len(layout):
        raise ValueError(f"{len(layout)} axes ({text}), found {array.ndim} of sizes {array.shape}")
    shape: list[int] = []
    for group, size in zip(layout, array.shape, strict=True):
        shape += _split(group, int(size), sizes)
    order = [axis for group in layout for axis in group]
    whole = array.reshape(shape)
    for axis in AXES:
        if axis not in order:
            whole, order = whole[..., None], [*order, axis]
    return whole.transpose([order.index(axis) for axis in AXES])


def _split(group: tuple[str, ...], size: int, sizes: Mapping[str, int]) -> list[int]:
    """Sizes of the axes that one axis of the file holds."""
    name = "*".join(group)
    axis_sizes = [sizes.get(axis, 0) for axis in group]  # 0: free
    product = int(np.prod([n for n in axis_sizes if n], dtype=np.int64))
    free = axis_sizes.count(0)
    if free > 1:
        raise ValueError(f"sizes for {name}: only one may be open (say persons), found {free}")
    if free == 0 and product != size:
        raise ValueError(f"{' x '.join(map(str, axis_sizes))} = {product} along {name}, found {size}")
    if free and (size % product or size == 0):
        raise ValueError(f"a multiple of {product} along {name}, found {size}")
    return [n or size // product for n in axis_sizes]
