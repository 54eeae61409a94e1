"""Arrays of unknown layout -> which axes are frames, persons, joints and numbers per joint, with what speaks for it.

Two facts hold for any skeleton: a joint moves little from frame to frame, and it keeps its distance to a neighbour.
Every layout that the sizes allow is tried; the one with the smoothest, most rigid figure wins. Knows no files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from skeleton_io.describe.body import guess_topology, present_frames
from skeleton_io.describe.geometry import measure_distances
from skeleton_io.record.topologies import TOPOLOGIES
from skeleton_io.sources.arrays.layout import parse_layout, unfold

_JOINTS = range(5, 151)
"""From a coarse figure to body, hands and face together (137 in OpenPose)."""
_NUMBERS = (3, 2, 4, 7)
"""Numbers per joint: x y z, x y, one more for confidence, seven with a quaternion."""
_PERSONS = range(2, 7)
"""One person needs no axis; a Kinect tracks six."""
_FRAMES = 120
"""Frames measured per clip; more say the same and cost more."""
_JUMPY, _LOOSE = 1.0, 0.5
"""Above these no layout is one of a body."""
_BONUS = 1.5
"""What a topology that fits is worth in `cost`."""
_ALIKE = 0.85
"""Correlation of the two halves' joint distances above which they are two persons."""
_SHAPES = {
    2: (("T", "J*C"), ("T", "C*J"), ("T*J", "C"), ("J*C", "T"), ("T", "P*J*C")),
    3: (("T", "J", "C"), ("T", "P", "J*C"), ("N", "T", "J*C")),
    4: (("T", "P", "J", "C"), ("N", "T", "J", "C")),
    5: (("N", "T", "P", "J", "C"),),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A reading of arrays. `clips` are (T, P, J, C) of some clips; `cost` is lower for what looks more like a body."""

    text: str
    joints: int
    numbers: int
    persons: int
    clips: tuple[NDArray[np.float64], ...]
    smooth: float
    """Step of a joint between frames, as a share of the figure."""
    rigid: float
    """Variation of the distance to the most rigid neighbour, as a share of it."""
    ordered: float
    """Variance of a coordinate over the joints, as a share of that of all numbers: small if x, y and z are apart."""

    bonus: float = 0.0
    """For a named topology that fits."""

    @property
    def cost(self) -> float:
        # Ratios count, so logarithms; what is added keeps one perfect measure from deciding alone.
        return float(np.log([self.smooth + 0.01, self.rigid + 0.01, self.ordered + 0.05]).sum()) - self.bonus


def guess_layouts(arrays: Sequence[NDArray[np.float64]], joints: int = 0, numbers: int = 0) -> list[Layout]:
    """Possible layouts, the likeliest first.

    Args:
        arrays: the same array of several files.
        joints: their number, where names tell it; 0: open.
        numbers: per joint, where names tell it; 0: open.
    """
    layouts = [
        layout
        for text, sizes in _list_layouts(arrays, joints, numbers)
        if (layout := _measure_layout(arrays, text, sizes)) is not None
    ]
    layouts = [layout for layout in layouts if layout.smooth < _JUMPY and layout.rigid < _LOOSE]
    layouts = [replace(layout, bonus=_BONUS) if _fits_known_body(layout) else layout for layout in layouts]
    return sorted(layouts, key=lambda layout: layout.cost)


def _fits_known_body(layout: Layout) -> bool:
    """Whether a named topology fits."""
    if layout.joints not in {len(topology.joints) for topology in TOPOLOGIES.values()}:
        return False
    frames = present_frames(layout.clips, layout.numbers)
    return len(frames) > 0 and guess_topology(frames, min(layout.numbers, 3))[1] is not None


def _list_layouts(arrays: Sequence[NDArray], joints: int, numbers: int) -> Iterator[tuple[str, dict[str, int]]]:
    """(layout, sizes of J, C and P) that the arrays' sizes allow."""
    shapes = np.array([array.shape for array in arrays])
    same = (shapes == shapes[0]).all(0)
    for groups in _SHAPES.get(shapes.shape[1], ()):
        orders = {groups} if shapes.shape[1] == 2 else set(permutations(groups))
        for order in sorted(orders):
            for sizes in _sizes(order, shapes, same, joints, numbers):
                yield ", ".join(order), sizes


def _sizes(
    order: tuple[str, ...], shapes: NDArray[np.int64], same: NDArray[np.bool_], joints: int, numbers: int
) -> Iterator[dict[str, int]]:
    """Sizes of J, C and, within a product, P."""
    place = {axis: i for i, group in enumerate(order) for axis in group.split("*")}
    size = {axis: int(shapes[0, i]) for axis, i in place.items()}
    fixed = [axis for axis in place if axis in "PJC" and "T" not in order[place[axis]]]
    if not all(same[place[axis]] for axis in fixed) or ("N" in place and len(shapes) > 4):
        return
    wide = next((group for group in order if "J*C" in group or "C*J" in group), "")
    choices_c = [numbers] if numbers else _NUMBERS
    for c in choices_c:
        if wide:
            product = size["J"]
            for p in _PERSONS if "P" in wide else (1,):
                j, rest = divmod(product, c * p)
                if rest == 0 and j in _JOINTS and joints in (0, j):
                    yield {"J": j, "C": c} | ({"P": p} if "P" in wide else {})
        elif size["C"] == c and not ("P" in place and size["P"] > 10):
            if "T*J" in order:
                rows = shapes[:, place["J"]]
                yield from ({"J": j, "C": c} for j in _JOINTS if (rows % j == 0).all() and joints in (0, j))
            elif size["J"] in _JOINTS and joints in (0, size["J"]):
                yield {"J": size["J"], "C": c}


def _measure_layout(arrays: Sequence[NDArray], text: str, sizes: dict[str, int]) -> Layout | None:
    clips = []
    for array in arrays:
        whole = unfold(array, text, sizes)
        clips += list(whole[:4]) if len(whole) > 1 else [whole[0]]
    measures = [measure(clip[:_FRAMES, person, :, : min(3, sizes["C"])]) for clip in clips[:8] for person in (0,)]
    values = [m for m in measures if m is not None]
    if not values:
        return None
    persons = clips[0].shape[1]
    if "P*J" in text and not _twins(clips, sizes["J"]):
        return None
    smooth, rigid, ordered = np.median(np.array(values), axis=0)
    axes = [axis for group in parse_layout(text) for axis in group]
    # Two persons read as one figure are as smooth and as rigid: halves that are alike speak for two.
    if "P" not in axes and _looks_like_two(clips, sizes["J"]):
        smooth *= 2
    return Layout(
        text=text,
        joints=sizes["J"],
        numbers=sizes["C"],
        persons=persons,
        clips=tuple(clips),
        smooth=float(smooth),
        rigid=float(rigid),
        ordered=float(ordered),
    )


def measure(points: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """(smooth, rigid, ordered) of one person's (T, J, C) frames; None where there is too little to tell."""
    present = np.isfinite(points).all(-1) & (points != 0).any(-1)
    frames = points[present.all(-1)] if present.all(-1).sum() >= 2 else points[present.mean(-1) > 0.5]
    if len(frames) < 2:
        return None
    frames = np.nan_to_num(frames)
    size = float(np.median(np.linalg.norm(frames - frames.mean(1, keepdims=True), axis=-1)))
    if not size > 0:
        return None
    steps = np.linalg.norm(np.diff(frames, axis=0), axis=-1)
    mean, variation = measure_distances(frames)
    np.fill_diagonal(variation, np.inf)
    # Joints at one place (padding, doubles) keep their distance in every layout: they say nothing.
    variation[mean < 0.02 * size] = np.inf
    best = variation.min(1)
    best = best[np.isfinite(best)]
    every = frames.reshape(len(frames), -1).var(1)
    ordered = float(np.median(frames.var(1).mean(-1) / np.maximum(every, 1e-12)))
    return float(np.mean(steps) / size), float(np.median(best)) if len(best) else 1.0, ordered


def _looks_like_two(clips: Sequence[NDArray[np.float64]], joints: int) -> bool:
    """Whether the first and the second half of the joints look like the same figure."""
    if joints % 2 or joints < 20:
        return False
    halves = [clip.reshape(clip.shape[0], 2, joints // 2, clip.shape[-1]) for clip in clips if clip.shape[1] == 1]
    return _twins(halves, joints // 2)


def _twins(clips: Sequence[NDArray[np.float64]], joints: int) -> bool:
    """Whether persons 0 and 1 have the same distances between joints; a person who is absent speaks for it too."""
    alike = []
    for clip in clips:
        one, two = (_figure(clip[:_FRAMES, person, :, :3]) for person in (0, 1))
        if one is None or two is None:
            continue
        upper = np.triu_indices(joints, 1)
        alike.append(float(np.corrcoef(one[upper], two[upper])[0, 1]))
    return bool(alike) and float(np.median(alike)) > _ALIKE


def _figure(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    frames = points[(np.isfinite(points).all(-1) & (points != 0).any(-1)).all(-1)]
    return measure_distances(frames)[0] if len(frames) else None
