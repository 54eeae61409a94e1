"""A clip -> numbers that say how good its capture is. Measures only: drops and mends nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skeleton_io.sequence import SkeletonSequence

JUMP_SIZES_PER_SECOND = 8.0
"""A joint faster than this many body sizes per second jumped: about 14 m/s, above the hand of a fast throw."""


def measure(seq: SkeletonSequence) -> dict[str, float]:
    """Four numbers per clip, all 0 for a perfect capture.

    Returns:
        missing_share: share of (frame, person, joint) without coordinates.
        frozen_share: share of frame pairs in which a person who is present in both does not change at all, to the
            last bit: the capture repeated a frame.
        bone_variation: median over persons and bones of the length's standard deviation over its mean. Only for 3D,
            0 otherwise (a projected bone changes its length anyway).
        jump_share: share of joint steps faster than `JUMP_SIZES_PER_SECOND`; the size is the median diagonal of the
            person's bounding box.
    """
    positions, present = seq.positions.astype(np.float64), seq.present
    both = present[1:] & present[:-1]
    step = np.linalg.norm(np.diff(positions, axis=0), axis=-1)
    pairs = both.any(-1)
    still = np.where(both, step, 0.0).max(-1, initial=0.0) == 0
    size = _size(positions, present)
    limit = JUMP_SIZES_PER_SECOND * size / seq.fps
    jumps = both & (np.where(both, step, 0.0) > limit[None, :, None])
    return {
        "missing_share": float(1 - present.mean()),
        "frozen_share": _share((still & pairs).sum(), pairs.sum()),
        "bone_variation": _bone_variation(positions, present, seq.topology.bones),
        "jump_share": _share(jumps.sum(), both.sum()),
    }


def _share(part: np.integer, whole: np.integer) -> float:
    return float(part / whole) if whole else 0.0


def _size(positions: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(P,) median over frames of the bounding box's diagonal; infinite for a person without two joints."""
    sizes = np.full(positions.shape[1], np.inf)
    known = present[..., None]
    low = np.where(known, positions, np.inf).min(2)
    high = np.where(known, positions, -np.inf).max(2)
    enough = present.sum(-1) >= 2
    for person in range(positions.shape[1]):
        frames = enough[:, person]
        if frames.any():
            extent = high[frames, person] - low[frames, person]
            sizes[person] = float(np.median(np.linalg.norm(extent, axis=-1)))
    return sizes


def _bone_variation(
    positions: NDArray[np.float64], present: NDArray[np.bool_], bones: tuple[tuple[int, int], ...]
) -> float:
    if positions.shape[-1] != 3:
        return 0.0
    found = []
    for parent, child in bones:
        known = present[:, :, parent] & present[:, :, child]
        lengths = np.linalg.norm(positions[:, :, child] - positions[:, :, parent], axis=-1)
        for person in range(positions.shape[1]):
            values = lengths[known[:, person], person]
            if len(values) > 1 and values.mean() > 0:
                found.append(float(values.std() / values.mean()))
    return float(np.median(found)) if found else 0.0
