"""Which frames of a clip are drawn, and the velocity taken before that choice. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def select_frames(num_frames: int, frames: int, rng: np.random.Generator | None) -> NDArray[np.int64]:
    """One frame from each of `frames` equal segments of a clip; a shorter clip repeats frames in order.

    Args:
        num_frames: T, at least 1.
        frames: F, how many are drawn.
        rng: draws within each segment (training); None takes the middle (evaluation).

    Returns:
        (F,) ascending indices into the clip.

    Raises:
        ValueError: either number is below 1.
    """
    if num_frames < 1 or frames < 1:
        raise ValueError(f"select_frames: expected at least one frame, found {num_frames} to draw {frames} from")
    edges = np.arange(frames + 1, dtype=np.int64) * num_frames // frames
    low, high = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    return (low + high - 1) // 2 if rng is None else rng.integers(low, high)


def velocity(
    positions: NDArray[np.float32], fps: float, stride_s: float, times: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Displacement over a fixed time, on the original frames: v_t = x_min(t+s, T-1) - x_t.

    s = stride_s * fps rounded to whole frames, at least 1; the rounding is divided out, so that the value means the
    displacement over `stride_s` seconds at every frame rate. The last s frames see a shorter time, as in the paper.
    Where capture was irregular, the later frame is the one nearest to t + stride_s.

    Args:
        positions: (T, P, J, C), NaN = missing.
        fps: frames per second.
        stride_s: seconds.
        times: (T,) ascending seconds of the frames; None: even, at `fps`.

    Returns:
        (T, P, J, C) in the unit of the positions, 0 where either end is missing.
    """
    if times is None or not (np.diff(times) > 0).all():
        stride = max(1, round(stride_s * fps))
        later = np.minimum(np.arange(len(positions)) + stride, len(positions) - 1)
        scale = np.float32(stride_s * fps / stride)
    else:
        later, scale = _irregular(times, stride_s)
    moved = (positions[later] - positions) * scale
    missing = ~np.isfinite(moved).all(axis=-1, keepdims=True)
    return np.where(missing, np.float32(0), moved).astype(np.float32)


def _irregular(times: NDArray[np.float64], stride_s: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(T,) later frames, and (T, 1, 1, 1) what brings each displacement to `stride_s` seconds (1 at the clip's end)."""
    last = len(times) - 1
    wanted = times + stride_s
    after = np.minimum(np.searchsorted(times, wanted), last)
    before = np.maximum(after - 1, 0)
    nearest = np.where(wanted - times[before] <= times[after] - wanted, before, after)
    later = np.minimum(np.maximum(nearest, np.arange(last + 1) + 1), last)
    passed = times[later] - times
    reached = (wanted <= times[last]) & (passed > 0)
    scale = np.divide(stride_s, passed, out=np.ones_like(passed), where=reached)
    return later.astype(np.int64), scale.astype(np.float32)[:, None, None, None]
