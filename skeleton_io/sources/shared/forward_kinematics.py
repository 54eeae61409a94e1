"""Forward kinematics for all formats: a tree of joints, offsets, local rotations -> positions and orientations.

Works through the frames in blocks, so that memory follows what is kept. Knows no format, no unit and no axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.rotations import quaternions
from skeleton_io.sources.shared.files import SourceFile

MOST_JOINT_FRAMES = 8_000_000
"""Joints times frames of one clip: 28 minutes of 40 joints at 120 frames per second, half a GiB while it is read."""
_BLOCK = 200_000  # joints times frames: 14 MB of matrices at a time, whatever the clip's length

Local = Callable[[slice], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Frames -> offsets from the parent (t or 1, J, 3) and local rotations (t, J, 3, 3). A root's is its position."""


def check_size(file: SourceFile, frames: int, joints: int) -> None:
    """Refuses what would not fit into memory: a few bytes of a file can ask for thousands of joints per frame.

    Raises:
        SkeletonFormatError: more than `MOST_JOINT_FRAMES`.
    """
    if frames * joints > MOST_JOINT_FRAMES:
        raise file.error("whole file", f"at most {MOST_JOINT_FRAMES} joints times frames", f"{frames} x {joints}")


def forward_kinematics(
    parents: Sequence[int], frames: int, local: Local
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """World positions and orientations.

    Args:
        parents: index of each joint's parent, below the joint's own; -1 for a root.
        frames: T.
        local: what the file says of some frames.

    Returns:
        Positions (T, J, 3) in the offsets' unit and unit quaternions wxyz (T, J, 4).
    """
    count = len(parents)
    positions = np.empty((frames, count, 3))
    turns = np.empty((frames, count, 4), np.float32)
    block = max(1, _BLOCK // count)
    for start in range(0, frames, block):
        here = slice(start, min(start + block, frames))
        offsets, rotations = local(here)
        world = np.empty((here.stop - start, count, 3, 3))
        for place, parent in enumerate(parents):
            if parent < 0:
                positions[here, place], world[:, place] = offsets[:, place], rotations[:, place]
                continue
            above = world[:, parent]
            shift = (above @ offsets[:, place, :, None])[..., 0]
            positions[here, place] = positions[here, parent] + shift
            world[:, place] = above @ rotations[:, place]
        turns[here] = quaternions(world)
    return positions, turns


def y_up(
    positions: NDArray[np.float64], turns: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
    """Turns a world with z up into one with y up: (x, y, z) -> (x, z, -y), a quarter turn about x.

    Args:
        positions: (..., 3).
        turns: quaternions wxyz (..., 4) of the same world.
    """
    upright = np.stack([positions[..., 0], positions[..., 2], -positions[..., 1]], -1)
    if turns is None:
        return upright, None
    w, x, y, z = np.moveaxis(turns, -1, 0)
    # Multiplied by (1 - i) / sqrt(2) from the left.
    return upright, np.stack([w + x, x - w, y + z, z - y], -1) * np.float32(np.sqrt(0.5))
