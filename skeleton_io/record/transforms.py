"""Changes to a clip that keep it a valid record: resample, fill gaps, centre, scale, mirror, turn about the vertical.

Each returns a new sequence and appends what it did to `source_transform`. Labels and captions are not touched: who
mirrors "wave with the right hand" has to change the words as well. Nothing calls `fill_gaps` but who names it: no
reader and no stage invents coordinates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import SkeletonSequence

Method = Literal["linear", "nearest"]


def resample(seq: SkeletonSequence, fps: float, method: Method = "linear") -> SkeletonSequence:
    """The clip at another frame rate, from its first to its last moment; irregular capture becomes regular.

    A joint is known at a moment if it is known in both frames around it (in the one it falls on, where it falls on
    one): gaps stay gaps. Orientations take the nearest frame.

    Raises:
        ValueError: fps is not positive, or the method is unknown.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be positive, found {fps}")
    if method not in ("linear", "nearest"):
        raise ValueError(f"method must be linear or nearest, found {method!r}")
    times = np.arange(seq.frames) / seq.fps if seq.timestamps is None else seq.timestamps - seq.timestamps[0]
    # The addition keeps a last frame that rounding puts a little late.
    moments = np.arange(int(np.floor(times[-1] * fps + 1e-6)) + 1) / fps
    places = np.interp(moments, times, np.arange(seq.frames))
    nearest = np.rint(places).astype(int)
    positions, confidence = seq.positions[nearest], None if seq.confidence is None else seq.confidence[nearest]
    if method == "linear":
        positions = _between(seq.positions, places)
        confidence = None if seq.confidence is None else _between(seq.confidence, places)
    return _with_note(
        seq,
        f"resampled from {seq.fps:g} to {fps:g} frames per second, {method}",
        positions=positions,
        confidence=confidence,
        orientations=None if seq.orientations is None else seq.orientations[nearest],
        timestamps=None,
        fps=float(fps),
    )


def fill_gaps(seq: SkeletonSequence, longest: float) -> tuple[SkeletonSequence, NDArray[np.bool_]]:
    """Joints that are missing for a short while, put on the straight line between where they were last and next seen.

    Gaps at the ends of a clip stay, and so do longer ones. The invented values are marked twice: in the mask, and in
    the record by a confidence of 0 (a clip without confidence gets one, 1 where a joint was captured).

    Args:
        seq: the clip; of 2D or 3D.
        longest: seconds between the two frames around a gap, at most.

    Returns:
        The clip, and the mask (T, P, J) of the joints that were filled.

    Raises:
        ValueError: `longest` is not positive.
    """
    if not (np.isfinite(longest) and longest > 0):
        raise ValueError(f"longest must be positive seconds, found {longest}")
    times = np.arange(seq.frames) / seq.fps if seq.timestamps is None else seq.timestamps
    positions, mask = seq.positions.copy(), np.zeros(seq.present.shape, bool)
    for person, joint in np.argwhere(~seq.present.all(0)):
        present_frames = np.flatnonzero(seq.present[:, person, joint])
        # The addition lets a gap of exactly `longest` pass in spite of rounded times.
        at = np.flatnonzero((np.diff(present_frames) > 1) & (np.diff(times[present_frames]) <= longest + 1e-9))
        for before, after in zip(present_frames[at], present_frames[at + 1], strict=True):
            gap = slice(before + 1, after)
            weight = ((times[gap] - times[before]) / (times[after] - times[before]))[:, None]
            first, last = (seq.positions[frame, person, joint].astype(np.float64) for frame in (before, after))
            positions[gap, person, joint] = first + (last - first) * weight
            mask[gap, person, joint] = True
    confidence = seq.present.astype(np.float32) if seq.confidence is None else seq.confidence.copy()
    confidence[mask] = 0.0
    note = f"{int(mask.sum())} joints in gaps of up to {longest:g} s interpolated, confidence 0"
    return _with_note(seq, note, positions=positions, confidence=confidence), mask


def centre(seq: SkeletonSequence, joint: str = "pelvis") -> SkeletonSequence:
    """The clip moved so that this joint of the first person starts at the origin (at the image's centre for pixels).

    Takes the first frame that shows the joint; where the topology lacks it or no frame shows it, the mean of all
    joints of the first frame that shows any.
    """
    places = seq.positions[:, 0]
    if joint in seq.topology.index:
        places = places[:, [seq.topology.index[joint]]]
    if not np.isfinite(places).all(-1).any():
        places = seq.positions[:, 0] if seq.present[:, 0].any() else seq.positions.reshape(seq.frames, -1, _axes(seq))
    present = np.asarray(np.isfinite(places).all(-1))
    first = int(np.argmax(present.any(-1)))
    origin = places[first][present[first]].mean(0, dtype=np.float64)
    target = np.array(seq.image_size or (0, 0), np.float64) / 2 if seq.scale == "pixels" else np.zeros(_axes(seq))
    shift = target - origin
    positions = (seq.positions + shift).astype(np.float32)
    return _with_note(seq, f"moved by {np.round(shift, 6).tolist()}", positions=positions)


def scale(seq: SkeletonSequence, factor: float) -> SkeletonSequence:
    """All coordinates times a factor, about the origin.

    Raises:
        ValueError: the factor is not positive.
    """
    if not (np.isfinite(factor) and factor > 0):
        raise ValueError(f"factor must be positive, found {factor}")
    return _with_note(seq, f"times {factor:g}", positions=(seq.positions * factor).astype(np.float32))


def mirror(seq: SkeletonSequence) -> SkeletonSequence:
    """Left and right exchanged: x turned round and each joint swapped with its partner of the other side."""
    partner = list(seq.topology.mirror)
    positions = seq.positions[:, :, partner].copy()
    width = seq.image_size[0] if seq.scale == "pixels" and seq.image_size else 0
    positions[..., 0] = width - positions[..., 0]
    orientations = seq.orientations
    if orientations is not None:  # a reflection in x keeps the turn about x and reverses those about y and z
        orientations = orientations[:, :, partner] * np.array([1, 1, -1, -1], np.float32)
    confidence = None if seq.confidence is None else seq.confidence[:, :, partner]
    return _with_note(seq, "mirrored", positions=positions, orientations=orientations, confidence=confidence)


def yaw(seq: SkeletonSequence, radians: float) -> SkeletonSequence:
    """The clip turned about the vertical axis through the origin, counter-clockwise seen from above (z towards x).

    Raises:
        ValueError: a 2D clip has no vertical axis to turn about.
    """
    if _axes(seq) != 3:
        raise ValueError(f"{seq.id}: only 3D clips can be turned")
    cos, sin = np.cos(radians), np.sin(radians)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    orientations = seq.orientations
    if orientations is not None:
        w, x, y, z = np.moveaxis(orientations.astype(np.float64), -1, 0)
        c, s = np.cos(radians / 2), np.sin(radians / 2)
        orientations = np.stack([c * w - s * y, c * x + s * z, c * y + s * w, c * z - s * x], -1).astype(np.float32)
    positions = (seq.positions.astype(np.float64) @ turn.T).astype(np.float32)
    return _with_note(seq, f"turned by {radians:g} rad about y", positions=positions, orientations=orientations)


def _axes(seq: SkeletonSequence) -> int:
    return seq.positions.shape[-1]


def _between(values: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Linear interpolation along axis 0 at fractional indices. A weight of 0 takes nothing, not even a NaN."""
    # A moment on a frame, but for rounding, takes that frame alone and no gap beside it.
    places = np.where(np.abs(places - np.rint(places)) < 1e-9, np.rint(places), places)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    weight = (places - low).reshape(-1, *[1] * (values.ndim - 1))
    mixed = values[low] * (1 - weight) + np.where(weight > 0, values[high], 0.0) * weight
    return mixed.astype(np.float32)


def _with_note(seq: SkeletonSequence, what: str, **fields: Any) -> SkeletonSequence:
    note = f"{seq.source_transform}; {what}" if seq.source_transform else what
    return replace(seq, source_transform=note, **fields)
