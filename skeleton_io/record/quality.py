"""A clip -> numbers that say how good its capture is, and which of them are bad. Drops and mends nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import SkeletonSequence

JUMP_SIZES_PER_SECOND = 8.0
"""A joint faster than this many body sizes per second jumped: about 14 m/s, above the hand of a fast throw."""

GAP_STEPS = 1.5
"""Usual frame steps beyond which the time between two frames that show somebody counts as a gap."""
FLAG_ABOVE: Mapping[str, float] = {
    "missing_share": 0.05,
    "frozen_share": 0.05,
    "bone_variation": 0.15,
    "jump_share": 0.01,
    "time_gap_share": 0.05,
}
"""A measure above this value flags its clip. Round figures that most clips of the public sets stay below."""


def flags(measures: Mapping[str, float]) -> tuple[str, ...]:
    """Names of the measures that are above `FLAG_ABOVE`, in its order."""
    return tuple(name for name, limit in FLAG_ABOVE.items() if name in measures and measures[name] > limit)


def measure(seq: SkeletonSequence) -> dict[str, float]:
    """Five numbers per clip, all 0 for a perfect capture.

    Returns:
        missing_share: share of (frame, person, joint) without coordinates.
        frozen_share: share of frame pairs in which a person who is present in both does not change at all, to the
            last bit: the capture repeated a frame.
        bone_variation: median over persons and bones of the length's standard deviation over its mean. Only for 3D,
            0 otherwise (a projected bone changes its length anyway).
        jump_share: share of joint steps faster than `JUMP_SIZES_PER_SECOND`; the size is the median diagonal of the
            person's bounding box.
        time_gap_share: share of the clip's time for which nobody was seen: what the steps between frames that show
            somebody exceed the usual step by, where they exceed it by half or more. Empty frames at either end count.
    """
    positions, present = seq.positions.astype(np.float64), seq.present
    both = present[1:] & present[:-1]
    step = np.linalg.norm(np.diff(positions, axis=0), axis=-1)
    pairs = both.any(-1)
    still = np.where(both, step, 0.0).max(-1, initial=0.0) == 0
    size = _size(positions, present)
    # An infinite size (a person of one joint) makes no jump.
    limit = JUMP_SIZES_PER_SECOND * size / seq.fps
    jumps = both & (np.where(both, step, 0.0) > limit[None, :, None])
    return {
        "missing_share": float(1 - present.mean()),
        "frozen_share": _share((still & pairs).sum(), pairs.sum()),
        "bone_variation": _bone_variation(positions, present, seq.topology.bones),
        "jump_share": _share(jumps.sum(), both.sum()),
        "time_gap_share": _time_gaps(seq, present),
    }


def _share(part: np.integer, whole: np.integer) -> float:
    return float(part / whole) if whole else 0.0


def _time_gaps(seq: SkeletonSequence, present: NDArray[np.bool_]) -> float:
    """Gaps over the clip's duration; 0 for a clip of one frame."""
    if seq.frames < 2:
        return 0.0
    times = np.arange(seq.frames) / seq.fps if seq.timestamps is None else seq.timestamps
    steps = np.diff(times)
    usual = float(np.median(steps))
    whole = float(times[-1] - times[0])
    if not (np.isfinite(whole) and whole > 0 and usual > 0):
        return 0.0
    occupied = np.array(present.any((1, 2)))
    occupied[[0, -1]] = True  # what the ends lack is measured from them
    between = np.diff(times[occupied])
    lost = float(np.where(between > GAP_STEPS * usual, between - usual, 0.0).sum())
    lost += usual * (int(not present[0].any()) + int(not present[-1].any()))
    return min(1.0, lost / whole)


def _size(positions: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(P,) median over frames of the bounding box's diagonal; infinite for a person without two joints."""
    sizes = np.full(positions.shape[1], np.inf)
    mask = present[..., None]
    low = np.where(mask, positions, np.inf).min(2)
    high = np.where(mask, positions, -np.inf).max(2)
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
    if not bones:
        return 0.0
    parents, children = np.array(bones).T
    # (P, B, T), one bone's lengths side by side: a mean over the last axis adds in the order of a bone's own mean.
    lengths = np.linalg.norm(positions[:, :, children] - positions[:, :, parents], axis=-1)
    lengths = np.ascontiguousarray(lengths.transpose(1, 2, 0))
    mask = (present[:, :, parents] & present[:, :, children]).transpose(1, 2, 0)
    whole = np.asarray(mask.all(-1))
    rows = [lengths[whole]] if len(positions) > 1 and whole.any() else []
    for person, bone in np.argwhere(~whole & (mask.sum(-1) > 1)):
        rows.append(lengths[person, bone, mask[person, bone]][None])
    variations: list[float] = []
    for values in rows:
        mean, deviation = values.mean(-1), values.std(-1)
        variations += (deviation[mean > 0] / mean[mean > 0]).tolist()
    return float(np.median(variations)) if variations else 0.0
