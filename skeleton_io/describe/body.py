"""Coordinates of unknown joints -> topology, what the numbers of a joint are, units, axes: guesses with reasons.

Knows no files and no YAML. Each guess is (value, reason); a reason that begins with "CHECK" is weak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io.describe.geometry import measure_distances
from skeleton_io.record.topologies import TOPOLOGIES
from skeleton_io.record.topology import Topology

CHECK = "CHECK: "
_FITS = 1.35
"""A topology fits if its bones are on average at most this many times as long as those of the shortest tree ..."""
_HAND_SIZE = 0.5
"""Cost of a hand as large as a body, or the other way round."""
_CLEAR = 1.25
"""... and at most this many times, where another one fits about as well."""
_FRAMES = 200
"""Frames looked at: bones, units and axes show in few, and a clip may have any number."""


@dataclass(frozen=True)
class Guess:
    """A value for the definition and why."""

    value: Any
    reason: str


def present_frames(clips: Sequence[NDArray[np.float64]], numbers: int) -> NDArray[np.float64]:
    """(F, J, numbers) frames of first persons in which all joints are there (or most, where no frame is whole)."""
    first_persons = np.concatenate([clip[:, 0] for clip in clips])
    points = first_persons[..., : min(numbers, 3)]
    present = np.isfinite(points).all(-1) & (points[..., :2] != 0).any(-1)
    whole = first_persons[present.all(-1)]
    if not len(whole):
        whole = np.nan_to_num(first_persons[present.mean(-1) >= min(0.5, float(present.mean(-1).max()))])
    return whole[:: max(1, len(whole) // _FRAMES)]


def guess_coordinates(clips: Sequence[NDArray[np.float64]], numbers: int) -> Guess:
    """What the numbers of a joint are."""
    frames = present_frames(clips, numbers)
    if numbers == 2:
        return Guess(("x", "y"), "two numbers per joint")
    last = frames[..., -1]
    # Quaternions are often written with two or three digits.
    if numbers == 7 and np.allclose(np.linalg.norm(frames[..., 3:], axis=-1), 1, atol=0.02):
        return Guess(("x", "y", "z", "_", "_", "_", "_"), "the last four have length 1: a quaternion, not read")
    if numbers == 3:
        first = np.abs(frames[..., :2])
        # Scores of some detectors run a little above 1.
        bounded = last.min() >= 0 and last.max() <= 1.2
        if bounded and (first.max() > 10 or not _spatial(frames)):
            return Guess(("x", "y", "confidence"), f"the third number lies in {last.min():.2g} to {last.max():.2g}")
        return Guess(("x", "y", "z"), "three numbers per joint, alike in their ranges")
    extra = numbers - 3
    # Up to 2: the tracking states of a Kinect.
    certain = last.min() >= 0 and last.max() <= 2 and extra == 1
    if certain:
        return Guess(("x", "y", "z", "confidence"), f"the fourth number lies in {last.min():.2g} to {last.max():.2g}")
    return Guess(("x", "y", "z", *["_"] * extra), f"{CHECK}what the last {extra} numbers mean is not known")


def guess_tracking_states(clips: Sequence[NDArray[np.float64]], values: tuple[str, ...]) -> Guess | None:
    """Field `confidence` for a Kinect's states; None where confidences are shares."""
    if "confidence" not in values:
        return None
    levels = np.unique(np.concatenate([clip[..., values.index("confidence")].reshape(-1) for clip in clips]))
    if not set(levels.tolist()) <= {0.0, 1.0, 2.0} or levels.max() < 2:
        return None
    return Guess({"levels": {0: 0.0, 1: 0.5, 2: 1.0}}, "only 0, 1 and 2: a Kinect's not tracked, inferred, tracked")


def _spatial(frames: NDArray[np.float64]) -> bool:
    """Whether joint distances are steadier with the third number than without."""
    # A depth completes the distances between joints; a score, which follows its own course, disturbs them.
    flat = np.median(np.sort(_rigid(frames[..., :2])))
    return bool(np.median(np.sort(_rigid(frames))) <= 1.1 * flat)


def _rigid(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    variation = measure_distances(frames)[1]
    np.fill_diagonal(variation, np.inf)
    return variation.min(1)


def link_joints(frames: NDArray[np.float64]) -> tuple[list[tuple[int, int]], float]:
    """Bones that join all joints with the steadiest, shortest links (Prim), and their mean length together."""
    mean, variation = measure_distances(frames)
    # Steady counts more than short: a hand passes close to a hip, but at no constant distance.
    weight = mean * (1 + 4 * variation)
    joints = len(mean)
    root = int(weight.sum(1).argmin())
    inside, bones = [root], []
    while len(inside) < joints:
        outside = [j for j in range(joints) if j not in inside]
        part = weight[np.ix_(inside, outside)]
        a, b = np.unravel_index(int(part.argmin()), part.shape)
        bones.append((inside[int(a)], outside[int(b)]))
        inside.append(outside[int(b)])
    return bones, float(sum(mean[a, b] for a, b in bones))


def guess_topology(frames: NDArray[np.float64], size: int) -> tuple[Guess, Topology | None]:
    """A named topology, or joints by number with bones where distances stay the same.

    Args:
        frames: (F, J, C).
        size: 2 or 3 spatial coordinates.
    """
    points = frames[..., :size]
    joints = points.shape[1]
    bones, shortest = link_joints(points)
    mean, variation = measure_distances(points)
    small = size == 3 and float(mean.max()) < 0.35  # metres, most likely
    ranking = []
    for topology in TOPOLOGIES.values():
        if len(topology.joints) != joints or not topology.bones:
            continue
        links = np.array(topology.bones)
        lengths = mean[links[:, 0], links[:, 1]]
        spread = float(np.median(variation[links[:, 0], links[:, 1]]))
        # Rings such as a trunk have more bones than a tree: compare the mean bone.
        cost = float(lengths.mean() / (shortest / (joints - 1)))
        odd = _HAND_SIZE if _is_hand(topology) != small else 0.0
        ranking.append((cost + spread + _lopsided(topology, mean) + odd, cost, topology))
    ranking.sort(key=lambda entry: entry[0])
    # Topologies of one size often differ in a few bones only: within a tenth, the figure must fit all the better.
    close = len(ranking) > 1 and ranking[1][0] < ranking[0][0] * 1.1
    if ranking and ranking[0][1] < (_CLEAR if close else _FITS):
        cost, topology = ranking[0][1], ranking[0][2]
        others = f"; next {ranking[1][2].name} with {ranking[1][1]:.2f}" if len(ranking) > 1 else ""
        weak = CHECK if close else ""
        reason = f"{weak}{joints} joints, and its bones are {cost:.2f} times the shortest links{others}"
        return Guess(topology.name, reason), topology
    own = {"joints": [f"joint_{i}" for i in range(joints)], "bones": [list(bone) for bone in bones]}
    no = "no known topology has" if not ranking else "the known topologies do not fit"
    return Guess(own, f"{CHECK}{no} these {joints} joints: bones link what stays close; put the names in, by the picture"), None  # fmt: skip  # noqa: E501


def _is_hand(topology: Topology) -> bool:
    return all(meaning.limb in ("hand", "arm", "other") for meaning in topology.meanings)


def _lopsided(topology: Topology, mean: NDArray[np.float64]) -> float:
    """How much left bones differ in length from right ones, as a share."""
    shares = []
    for parent, child in topology.bones:
        a, b = topology.mirror[parent], topology.mirror[child]
        if child != b:
            one, two = mean[parent, child], mean[a, b]
            shares.append(abs(one - two) / max(one + two, 1e-9))
    return float(np.mean(shares)) if shares else 0.0


def guess_up(frames: NDArray[np.float64], topology: Topology | None, size: int) -> Guess:
    """The file's axis that points up: "y", "-y", "z", ..."""
    points = frames[..., :size]
    if topology is not None:
        tops = [i for n, i in topology.index.items() if n in ("head", "head_top", "nose", "neck")]
        lows = [i for n, i in topology.index.items() if n.endswith(("_ankle", "_foot", "_toes", "_knee"))]
        if tops and lows:
            body = np.median(points[:, tops].mean(1) - points[:, lows].mean(1), axis=0)
            axis = int(np.abs(body).argmax())
            return Guess(_signed(axis, body[axis]), "from the feet to the head")
    extent = np.median(points.max(1) - points.min(1), axis=0)
    axis = int(extent.argmax())
    if size == 2:
        return Guess("-y", f"{CHECK}images count downwards")
    # Feet keep to the floor: the end of the figure that moves less is below.
    low, high = points[:, :, axis].min(1).std(), points[:, :, axis].max(1).std()
    return Guess(_signed(axis, 1 if low <= high else -1), f"{CHECK}the figure is longest along it, and its lower end moves least")  # fmt: skip  # noqa: E501


def _signed(axis: int, value: float) -> str:
    return ("" if value > 0 else "-") + "xyz"[axis]


def guess_handedness(frames: NDArray[np.float64], topology: Topology | None, up: str) -> Guess:
    """Whether feet and face point where left and right say that the front is."""
    if topology is None:
        return Guess("right", f"{CHECK}needs joint names to tell")
    index = topology.index
    axis = np.zeros(3)
    axis["xyz".index(up[-1])] = -1.0 if up.startswith("-") else 1.0
    across = [
        frames[:, index[f"right_{part}"], :3] - frames[:, index[f"left_{part}"], :3]
        for part in ("hip", "shoulder")
        if f"right_{part}" in index and f"left_{part}" in index
    ]
    pairs = [(f"{side}_ankle", f"{side}_{end}") for side in ("left", "right") for end in ("foot", "toes")]
    pairs += [("left_ear", "nose"), ("right_ear", "nose")]
    ahead = [frames[:, index[b], :3] - frames[:, index[a], :3] for a, b in pairs if a in index and b in index]
    if not ahead and "left_knee" in index and "left_hip" in index:
        low = next((e for e in ("ankle", "foot") if f"left_{e}" in index), "")
        for side in ("left", "right") if low else ():
            ends = frames[:, index[f"{side}_hip"], :3] + frames[:, index[f"{side}_{low}"], :3]
            ahead.append(frames[:, index[f"{side}_knee"], :3] - ends / 2)  # knees bend forwards
    if not across or not ahead:
        return Guess("right", f"{CHECK}no joints that tell front from back")
    front = np.cross(axis, np.mean(across, axis=0))
    share = float((np.sum(front * np.mean(ahead, axis=0), axis=-1) > 0).mean())
    # About as many frames one way as the other: nothing has shown.
    sure = "" if abs(share - 0.5) > 0.2 else CHECK
    where = f"{max(share, 1 - share):.0%} of the frames"
    if share >= 0.5:
        return Guess("right", f"{sure}feet or face point to the front in {where}")
    return Guess("left", f"{sure}feet or face point backwards in {where} if the axes are right-handed")


def guess_units(frames: NDArray[np.float64], up: str, size: int) -> tuple[Guess, Guess | None]:
    """Units, and the image's size where they are pixels."""
    points = frames[..., :size]
    lowest, highest = float(points.min()), float(points.max())
    if size == 2:
        if lowest > -0.5 and highest <= 1.5:
            return Guess("normalised", f"two coordinates from {lowest:.2g} to {highest:.2g}: shares of the image"), None
        if highest <= 10:
            return Guess("normalised", f"{CHECK}two coordinates from {lowest:.2g} to {highest:.2g}"), None
        width, height = (float(points[..., i].max()) for i in (0, 1))
        usual = [(320, 240), (640, 480), (1280, 720), (1920, 1080), (1080, 1920), (3840, 2160)]
        fit = next(([w, h] for w, h in usual if width <= w and height <= h), [int(width) + 1, int(height) + 1])
        reason = f"{CHECK}not stated; the coordinates reach {width:.0f} and {height:.0f}"
        return Guess("pixels", f"two coordinates from {lowest:.4g} to {highest:.4g}"), Guess(fit, reason)
    axis = "xyz".index(up[-1])
    tall = float(np.median(points[..., axis].max(1) - points[..., axis].min(1)))
    # From a crouching person to one with raised arms.
    steps = (("m", 0.9, 2.6), ("cm", 90, 260), ("mm", 900, 2600), ("inch", 35, 90))
    for unit, low, high in steps:
        if low <= tall <= high:
            return Guess(unit, f"the figure is {tall:.4g} tall"), None
    if 0.05 <= tall <= 0.3 and not (lowest >= -1.01 and highest <= 1.01):
        return Guess("m", f"{CHECK}{tall:.2g} is too small for a body in any unit, but fits a hand in metres"), None
    return Guess("normalised", f"{CHECK}the figure is {tall:.4g} tall, which fits no unit"), None


def guess_missing(clips: Sequence[NDArray[np.float64]], numbers: int) -> Guess:
    """Fields of `missing`."""
    points = np.concatenate([clip.reshape(-1, clip.shape[-1])[:, : min(numbers, 3)] for clip in clips])
    zeros = float((points == 0).all(-1).mean())
    if zeros:
        return Guess({"zero_joint": True}, f"{zeros:.1%} of the joints are exactly 0")
    values, counts = np.unique(points[(points == points[:, :1]).all(-1)], return_counts=True)
    # A number that fills more than three whole joints is a mark, no coincidence.
    if len(counts) and counts.max() > 3 * points.shape[-1]:
        value = float(values[counts.argmax()])
        return Guess({"values": [value]}, f"{value:g} stands in all coordinates of {counts.max() // points.shape[-1]} joints")  # fmt: skip  # noqa: E501
    if np.isnan(points).any():
        return Guess({}, f"NaN in {float(np.isnan(points).any(-1).mean()):.1%} of the joints")
    return Guess({"zero_joint": True}, f"{CHECK}none seen in the files looked at; most sensors write zeros")
