"""SkeletonSequence -> smooth tracks of body parts in the person's own axes, in torso lengths.

Everything goes through anatomical names, so any topology works as far as it has the joints. Finds no events: that is
`strokes` and `motion`. Missing stretches are bridged linearly; a joint that is missing in more than 70 %
of the frames counts as absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import SkeletonSequence

Array = NDArray[np.float64]

# Part -> joints that stand for it, the best first.
PART_JOINTS: dict[str, tuple[str, ...]] = {
    "left_hand": ("left_wrist", "left_hand", "left_hand_tip", "left_middle_1"),
    "right_hand": ("right_wrist", "right_hand", "right_hand_tip", "right_middle_1"),
    "left_arm": ("left_elbow",),
    "right_arm": ("right_elbow",),
    "left_foot": ("left_ankle", "left_foot", "left_toes"),
    "right_foot": ("right_ankle", "right_foot", "right_toes"),
    "left_leg": ("left_knee",),
    "right_leg": ("right_knee",),
    "torso": ("chest", "neck", "spine2", "spine3"),
    "head": ("head", "nose", "head_top"),
}
_LEAST_PRESENT = 0.3  # share of frames that must show a joint
_SMOOTH_SECONDS = 0.1  # three frames at 30 per second: removes jitter, keeps a clap
_TURN_SECONDS = 0.25  # a trunk turns slower than its joints jitter
# Shoulder width of an adult over torso length, seen from the front; used to tell front views from side views in 2D.
_FRONT_WIDTH = 0.78

View = Literal["space", "front", "side", "oblique"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PersonTracks:
    """One person of a clip, in torso lengths.

    Attributes:
        joints: joint name -> (T, 3) bridged position in the record's axes; 2D clips have z = 0.
        body: (T, 3) the pelvis, in the record's axes.
        axes: (T, 3, 3) rows: the person's left, up and forward in the record's axes. A 2D clip knows only some of
            them; rows that it does not know are zero.
        heading: (T,) radians, unwrapped, positive turns to the person's left; zeros in 2D.
        view: "space" for 3D; otherwise how the camera sees the person.
        unit: one torso length in the record's unit (metres or pixels).
        growth: (T,) size of the person in the picture relative to its median; ones in 3D.
    """

    joints: dict[str, Array]
    body: Array
    axes: Array
    heading: Array
    view: View
    unit: float
    growth: Array

    def joint(self, *names: str) -> Array | None:
        """(T, 3) the first of these joints that the person has."""
        return next((self.joints[name] for name in names if name in self.joints), None)

    def part(self, part: str) -> Array | None:
        """(T, 3) track of a part: hands and arms, torso and head in the person's axes relative to the pelvis (head:
        to the torso); feet, legs and "body" in the record's axes, since the floor is what they act against."""
        if part == "body":
            return self.body
        place = self.joint(*PART_JOINTS[part])
        if place is None or part.endswith(("foot", "leg")):
            return place
        origin = self.body
        if part == "head":
            torso = self.joint("neck", "chest", "spine2", "spine3")
            origin = self.body if torso is None else torso
        return self.to_own_axes((place - origin) / self.growth[:, None])

    def to_own_axes(self, vectors: Array) -> Array:
        """(T, 3) vectors from the record's axes to left, up, forward; 2D clips are left as they are."""
        return np.einsum("tij,tj->ti", self.axes, vectors) if self.view == "space" else vectors

    def direction(self, part: str, change: Array, frame: int) -> Array:
        """(4,) a displacement of `part` around `frame` as left, up, forward and, where a picture does not tell,
        sideways (without a sign)."""
        if self.view == "space":
            local = change if not is_fixed_to_floor(part) else self.axes[frame] @ change
            return np.append(local, 0.0)
        local = self.axes[frame] @ change
        return np.append(local, abs(change[0]) if self.view == "oblique" else 0.0)


def is_fixed_to_floor(part: str) -> bool:
    """Whether a part's track is kept in the record's axes."""
    return part == "body" or part.endswith(("foot", "leg"))


def smooth(values: Array, fps: float, seconds: float = _SMOOTH_SECONDS) -> Array:
    """Centred moving average over time (axis 0); the ends repeat the first and last frame."""
    half = max(0, min(int(seconds * fps / 2), (len(values) - 1) // 2))
    if half == 0:
        return values
    padded = np.concatenate([values[:1].repeat(half, 0), values, values[-1:].repeat(half, 0)])
    total = np.cumsum(np.concatenate([np.zeros_like(padded[:1]), padded]), axis=0)
    width = 2 * half + 1
    return (total[width:] - total[:-width]) / width


def person_tracks(sequence: SkeletonSequence, person: int) -> PersonTracks | None:
    """Tracks of one person; None where too little of the body is seen."""
    joints = bridge_gaps(sequence, person)
    trunk = _trunk(joints)
    if trunk is None:
        return None
    low, unit = trunk
    joints = {name: smooth(place, sequence.fps) / unit for name, place in joints.items()}
    body = smooth(low, sequence.fps) / unit
    across = _across(joints, body)
    frames = len(body)
    if sequence.positions.shape[3] == 3:
        left = smooth(across * [1, 0, 1], sequence.fps, _TURN_SECONDS)
        # A lying or badly seen person has no heading of its own for a while: keep the direction of the clip.
        weak = np.linalg.norm(left, axis=-1) < 0.05
        left[weak] = np.median(left, axis=0) if (~weak).any() else [1.0, 0.0, 0.0]
        left /= np.maximum(np.linalg.norm(left, axis=-1, keepdims=True), 1e-9)
        up = np.tile([0.0, 1.0, 0.0], (frames, 1))
        ahead = np.cross(left, up)
        heading = np.unwrap(np.arctan2(ahead[:, 0], ahead[:, 2]))
        axes = np.stack([left, up, ahead], axis=1)
        still = np.ones(frames)
        return PersonTracks(joints=joints, body=body, axes=axes, heading=heading, view="space", unit=unit, growth=still)
    axes, view = _flat_axes(joints, across)
    growth = _growth(joints, sequence)
    heading = np.zeros(frames)
    return PersonTracks(joints=joints, body=body, axes=axes, heading=heading, view=view, unit=unit, growth=growth)


def _growth(joints: dict[str, Array], sequence: SkeletonSequence) -> Array:
    """(T,) a person who comes nearer grows: what all bones have in common, since a posture shortens only some."""
    names = sequence.topology.joints
    pairs = [(names[a], names[b]) for a, b in sequence.topology.bones if names[a] in joints and names[b] in joints]
    lengths = [np.linalg.norm(joints[a] - joints[b], axis=-1) for a, b in pairs]
    ratios = [length / np.median(length) for length in lengths if np.median(length) > 0.1]
    if not ratios:
        return np.ones(sequence.frames)
    growth = smooth(np.median(ratios, axis=0), sequence.fps, 0.5)
    # Small changes are noise and posture.
    return growth if growth.max() / growth.min() > 1.15 else np.ones(sequence.frames)


def bridge_gaps(sequence: SkeletonSequence, person: int) -> dict[str, Array]:
    """Joint -> (T, 3) with gaps interpolated; joints that are mostly missing are left out."""
    places = sequence.positions[:, person].astype(np.float64)
    frames, _, channels = places.shape
    time = np.arange(frames)
    out = {}
    for name, j in sequence.topology.index.items():
        present = np.isfinite(places[:, j]).all(-1)
        if present.mean() < _LEAST_PRESENT:
            continue
        track = np.zeros((frames, 3))
        for c in range(channels):
            track[:, c] = np.interp(time, time[present], places[present, j, c])
        out[name] = track
    # COCO has no trunk between hips and shoulders.
    shoulders = _middle(out, "shoulder")
    if shoulders is not None and "neck" not in out and "chest" not in out:
        out["neck"] = shoulders
    return out


def _middle(joints: dict[str, Array], part: str) -> Array | None:
    """Half-way between the left and the right joint of that name."""
    left, right = joints.get(f"left_{part}"), joints.get(f"right_{part}")
    return None if left is None or right is None else (left + right) / 2


def _trunk(joints: dict[str, Array]) -> tuple[Array, float] | None:
    """The pelvis (T, 3) and the length of the torso; falls back on what there is."""
    low = _middle(joints, "hip")
    low = joints.get("pelvis", joints.get("root")) if low is None else low
    high = _middle(joints, "shoulder")
    high = next((joints[n] for n in ("chest", "neck", "spine2") if n in joints), None) if high is None else high
    if low is not None and high is not None:
        unit = float(np.median(np.linalg.norm(high - low, axis=-1)))
    elif high is not None and "left_shoulder" in joints and "right_shoulder" in joints:
        # Upper body only: shoulder width stands in for the torso.
        unit = float(np.median(np.linalg.norm(joints["left_shoulder"] - joints["right_shoulder"], axis=-1))) * 1.4
        low = high - [0, unit, 0]
    else:
        return None
    return None if low is None or unit < 1e-6 else (low, unit)


def _across(joints: dict[str, Array], like: Array) -> Array:
    """(T, 3) from the person's right to the left. Hips count double: shoulders also twist without a turn."""
    total = np.zeros_like(like)
    for part, weight in (("hip", 2.0), ("shoulder", 1.0)):
        left, right = joints.get(f"left_{part}"), joints.get(f"right_{part}")
        if left is not None and right is not None:
            total += weight * (left - right)
    return total


def _flat_axes(joints: dict[str, Array], across: Array) -> tuple[Array, View]:
    """Axes of a 2D clip: a front view knows left and right, a side view forward and back, else neither."""
    axes = np.zeros((len(across), 3, 3))
    axes[:, 1, 1] = 1.0
    shoulders = [joints.get(f"{side}_shoulder") for side in ("left", "right")]
    if shoulders[0] is None or shoulders[1] is None:
        return axes, "oblique"
    width = float(np.median(np.abs(shoulders[0] - shoulders[1])[:, 0])) / _FRONT_WIDTH
    # Between the two limits a picture may be of either view: nothing is claimed.
    if width > 0.8:
        axes[:, 0, 0] = np.where(across[:, 0] >= 0, 1.0, -1.0)
        return axes, "front"
    ears = [joints[name] for name in ("left_ear", "right_ear", "left_shoulder", "right_shoulder") if name in joints]
    nose = joints.get("nose")
    if width < 0.45 and nose is not None:
        ahead = float(np.median(nose[:, 0] - np.mean(ears[:2], axis=0)[:, 0]))
        axes[:, 2, 0] = 1.0 if ahead >= 0 else -1.0
        return axes, "side"
    return axes, "oblique"
