"""DeepMimic motion JSON (Peng et al., SIGGRAPH 2018) -> clips: joints of its humanoid through forward kinematics.

A frame is 44 numbers: seconds, root position, root quaternion, then quaternions (wxyz) of the ball joints and angles of
knees and elbows about z. The humanoid's measures are those of the authors' character file, which faces +x; the
head, which has no joint there, is the centre of its sphere. World: metres, y up, as in the file.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.rotations import axis_matrices, matrices_of_quaternions
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import DEEPMIMIC16
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present
from skeleton_io.sources.shared.forward_kinematics import check_size, forward_kinematics
from skeleton_io.sources.shared.side_files import plain_label

WIDTH = 44
"""Numbers of a frame: duration, root position and rotation, then `_VALUES`."""
_SIDE = (("hip", 0.0, 0.0, 0.084887), ("shoulder", -0.02405, 0.2435, 0.18311))
_THIGH, _SHIN, _UPPER_ARM, _FOREARM = 0.421546, 0.40987, 0.274788, 0.258947
_OFFSETS: dict[str, tuple[float, float, float]] = {
    "pelvis": (0.0, 0.0, 0.0),
    "chest": (0.0, 0.236151, 0.0),
    "neck": (0.0, 0.223894, 0.0),
    "head": (0.0, 0.175, 0.0),
    **{
        f"{side}_{part}": (x, y, sign * z)
        for side, sign in (("right", 1), ("left", -1))
        for part, x, y, z in (
            *_SIDE,
            ("knee", 0.0, -_THIGH, 0.0),
            ("ankle", 0.0, -_SHIN, 0.0),
            ("elbow", 0.0, -_UPPER_ARM, 0.0),
            ("wrist", 0.0, -_FOREARM, 0.0),
        )
    },
}
_VALUES = (("chest", 4), ("neck", 4))
_VALUES += tuple(
    (f"{side}_{part}", width)
    for side in ("right", "left")
    for part, width in (("hip", 4), ("knee", 1), ("ankle", 4), ("shoulder", 4), ("elbow", 1))
)
"""What follows the root, in order."""


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file; the label is the file's name without "humanoid3d_"."""
    try:
        content = json.loads(file.text())
    except (ValueError, RecursionError) as error:
        raise file.error("whole file", "JSON", f"{type(error).__name__}: {error}"[:80]) from None
    values = _values(file, content)
    seconds = values[:, 0]
    joints = DEEPMIMIC16.joints
    parents = [-1] * len(joints)
    for parent, child in DEEPMIMIC16.bones:
        parents[child] = parent
    check_size(file, len(values), len(joints))
    offsets = np.array([_OFFSETS[name] for name in joints])

    def local(here: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        some = values[here]
        turns = np.tile(np.eye(3), (len(some), len(joints), 1, 1))
        turns[:, 0] = matrices_of_quaternions(some[:, 4:8])
        at = 8
        for name, width in _VALUES:
            part = some[:, at : at + width]
            turns[:, joints.index(name)] = (
                matrices_of_quaternions(part) if width == 4 else axis_matrices("Z", part[:, 0])
            )
            at += width
        frame_offsets = np.tile(offsets, (len(some), 1, 1))
        frame_offsets[:, 0] = some[:, 1:4]
        return frame_offsets, turns

    try:
        positions, turns = forward_kinematics(parents, len(values), local)
    except ValueError as error:
        raise file.error("Frames", "quaternions", str(error)) from None
    check_present(file, positions)
    fps, times = _times(file, seconds)
    loop = content["Loop"] if isinstance(content, dict) and isinstance(content.get("Loop"), str) else ""
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=DEEPMIMIC16,
            positions=positions[:, None].astype(np.float32),
            orientations=turns[:, None],
            fps=file.fields.get("fps", fps),
            timestamps=times,
            source=file.source,
            label=plain_label(file.stem.removeprefix("amp_").removeprefix("humanoid3d_")),
            licence=file.licence,
            notes=(f"Loop: {loop[:20]}",) if loop else (),
        )
    ]


def _values(file: SourceFile, content: Any) -> NDArray[np.float64]:
    """(T, 44), finite."""
    frames = content.get("Frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames:
        raise file.error("whole file", '{"Loop": ..., "Frames": [[44 numbers], ...]}', type(content).__name__)
    for place, frame in enumerate(frames):
        if not isinstance(frame, list) or len(frame) != WIDTH:
            raise file.error(
                f"frame {place}", f"{WIDTH} numbers", f"{len(frame)}" if isinstance(frame, list) else "none"
            )
    try:
        values = np.array(frames, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise file.error("Frames", "numbers", str(error)[:80]) from None
    if not (np.isfinite(values).all() and np.abs(values).max() < 1e6):
        raise file.error("Frames", "finite numbers", "NaN, infinity or above 1e6")
    return values


def _times(file: SourceFile, seconds: NDArray[np.float64]) -> tuple[float, NDArray[np.float64] | None]:
    """Rate, and times where the frames last differently long. The last frame's duration decides nothing."""
    lasting = seconds[:-1]
    if not len(lasting):
        lasting = seconds
    step = float(np.median(lasting))
    if (lasting < 0).any() or not 1e-5 < step < 1e3:
        raise file.error("Frames", "durations in seconds as first numbers", f"{step:g} in the middle")
    rate = 1 / step
    # 0.033332 and the like are written for 30 frames per second.
    fps = float(round(rate)) if abs(rate - round(rate)) < 1e-3 * rate else rate
    even = np.abs(lasting - step).max() < 0.02 * step
    return fps, None if even else np.concatenate([[0.0], np.cumsum(lasting)])


def _sniff(path: str, head: bytes) -> bool:
    return b'"Frames"' in head


SOURCE = FileSource(
    name="deepmimic",
    version=1,
    pattern=r"(?:.*/)?((?:amp_)?humanoid3d_[^/]+)\.(?:txt|json)",
    parse=parse,
    sniff=_sniff,
    listing=Listing(title="DeepMimic JSON", files="humanoid3d_*.txt", joints="16", dims="3", persons="1"),
)
