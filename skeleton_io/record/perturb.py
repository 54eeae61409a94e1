"""SkeletonSequence -> the same clip with worse data: joints, limbs, frames or a person lost, noise, another rate.

Pure functions: whatever is random comes from the generator that is handed in, NaN marks what is lost, nothing is
invented. At least one joint of one frame always stays, since a clip without any is no record. Labels and captions are
not touched. What keeps the data whole (resampling, turning, mirroring) is `transforms`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record import transforms
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topology import Topology

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
ARM = ("elbow", "arm_roll", "fore_arm_roll", "wrist", "hand", *FINGERS)
LEG = ("up_leg_roll", "knee", "leg_roll", "ankle", "heel", "foot", "small_toe", "toes")
TORSO_M = 0.5
"""Hips to shoulders of an adult: what a metre is in a clip without a scale."""
# Bones between standard names. Twenty joints: Kinect v1. Seventeen: feet but no hands, one trunk bone. Thirteen: head
# and twelve joints of the limbs around the trunk's ring, as in the puppet of image formats.
_LIMBS = "{s}_shoulder-{s}_elbow {s}_elbow-{s}_wrist {s}_hip-{s}_knee {s}_knee-{s}_ankle "
_REDUCED = {
    20: "pelvis-spine spine-neck neck-head neck-{s}_shoulder pelvis-{s}_hip {s}_wrist-{s}_hand {s}_ankle-{s}_foot ",
    17: "pelvis-neck neck-head neck-{s}_shoulder pelvis-{s}_hip {s}_ankle-{s}_foot ",
    13: "head-{s}_shoulder {s}_shoulder-{s}_hip left_shoulder-right_shoulder left_hip-right_hip ",
}
# Standard name -> names that other formats have at about that place, the best first.
_STAND_INS = {
    "pelvis": ("pelvis", "root"),
    "spine": ("spine", "spine2"),
    "neck": ("neck", "chest", "spine3"),
    "head": ("head", "nose", "head_top"),
    "hand": ("hand", "hand_tip", "middle_1"),
    "wrist": ("wrist", "hand"),
    "ankle": ("ankle", "foot"),
    "foot": ("foot", "toes"),
}
REDUCED = tuple(_REDUCED)


def drop_joints(seq: SkeletonSequence, share: float, rng: np.random.Generator) -> SkeletonSequence:
    """Each joint of each person and frame lost with probability `share`, independently.

    Raises:
        ValueError: `share` is not in [0, 1).
    """
    _check_share(share)
    return _lose(seq, rng.random(seq.present.shape) < share, f"{share:.0%} of the joints dropped")


def drop_frames(seq: SkeletonSequence, share: float, rng: np.random.Generator) -> SkeletonSequence:
    """Each frame lost with probability `share`: all joints of all persons in it. The times of the others stay.

    Raises:
        ValueError: `share` is not in [0, 1).
    """
    _check_share(share)
    lost = np.broadcast_to((rng.random(seq.frames) < share)[:, None, None], seq.present.shape)
    return _lose(seq, lost, f"{share:.0%} of the frames dropped")


def hide_limbs(seq: SkeletonSequence, limbs: int, rng: np.random.Generator) -> SkeletonSequence:
    """So many of the four limbs (two arms, two legs) of every person hidden over the whole clip.

    Shoulders and hips belong to the trunk and stay. A clip that shows none of the chosen limbs is left as it is.

    Raises:
        ValueError: `limbs` is not 0 to 4.
    """
    if limbs not in range(5):
        raise ValueError(f"limbs must be 0 to 4, found {limbs}")
    every = [(side, parts) for parts in (ARM, LEG) for side in ("left", "right")]
    hidden = [every[int(i)] for i in rng.permutation(4)[:limbs]]
    lost = np.zeros(seq.present.shape, bool)
    for name, joint in seq.topology.index.items():
        side, _, part = name.partition("_")
        lost[..., joint] = any(side == one and part.startswith(parts) for one, parts in hidden)
    return _lose(seq, lost, f"{limbs} limbs hidden")


def add_noise(seq: SkeletonSequence, metres: float, rng: np.random.Generator) -> SkeletonSequence:
    """Gaussian noise of this standard deviation on every coordinate of every joint.

    Where the clip has no scale, half a metre is the length of its torso (`TORSO_M`), or of 30 % of its height.

    Raises:
        ValueError: `metres` is negative.
    """
    if not metres >= 0:
        raise ValueError(f"metres must not be negative, found {metres}")
    unit = 1.0 if seq.scale == "metric" else _torso(seq) / TORSO_M
    noise = rng.normal(0.0, 1.0, seq.positions.shape) * metres * unit
    return _with_positions(seq, f"noise of {metres:g} m", (seq.positions + noise).astype(np.float32))


def other_rate(seq: SkeletonSequence, factor: float) -> SkeletonSequence:
    """The clip at `factor` times its frame rate, at least two frames where it has two.

    Raises:
        ValueError: `factor` is not positive.
    """
    if not factor > 0:
        raise ValueError(f"factor must be positive, found {factor}")
    least = 1.0 / seq.duration if seq.duration > 0 else seq.fps
    # A hair more than the least rate, or rounding would leave one frame.
    resampled = transforms.resample(seq, max(seq.fps * factor, least * 1.0001), "nearest")
    return resampled if np.isfinite(resampled.positions).any() else seq


def lose_person(seq: SkeletonSequence) -> SkeletonSequence:
    """All but the first person lost over the whole clip, their tracks kept empty; the same where there is only one."""
    lost = np.zeros(seq.present.shape, bool)
    lost[:, 1:] = True
    return _lose(seq, lost, "all persons but the first dropped")


def reduce_topology(seq: SkeletonSequence, joints: int) -> SkeletonSequence:
    """The clip with the joints that a format of so many joints has, as far as it has them, and that format's bones.

    25 -> 20 -> 17 -> 13: 20 are those of Kinect v1, 17 leave out hands and mid-spine, 13 leave out feet and trunk.

    Raises:
        ValueError: not a size of `REDUCED`, or the clip has fewer than half of those joints.
    """
    if joints not in _REDUCED:
        raise ValueError(f"joints must be one of {REDUCED}, found {joints}")
    table = _table(joints)
    names = list(dict.fromkeys(name for bone in table for name in bone))
    places = {name: place for name in names if (place := _place(name, seq.topology)) is not None}
    if len(places) < joints / 2:
        raise ValueError(f"{seq.id}: has {len(places)} of the {joints} joints of the reduced topology")
    joint_names = list(places)
    order = [places[name] for name in joint_names]
    bones = tuple((joint_names.index(a), joint_names.index(b)) for a, b in table if a in places and b in places)
    positions = seq.positions[:, :, order].copy()
    if not np.isfinite(positions).any():
        raise ValueError(f"{seq.id}: shows none of the {joints} joints of the reduced topology")
    note = f"reduced to {len(joint_names)} joints"
    return replace(
        seq,
        topology=Topology(name=f"{seq.topology.name}_{joints}", joints=tuple(joint_names), bones=bones),
        positions=positions,
        confidence=None if seq.confidence is None else seq.confidence[:, :, order],
        orientations=None if seq.orientations is None else seq.orientations[:, :, order],
        source_transform=f"{seq.source_transform}; {note}" if seq.source_transform else note,
    )


def _table(joints: int) -> list[tuple[str, str]]:
    """Bones of a reduced topology as pairs of standard names, both sides written out."""
    out: list[tuple[str, str]] = []
    for bone in f"{_REDUCED[joints]}{_LIMBS}".split():
        for side in ("left", "right") if "{s}" in bone else ("",):
            parent, child = bone.format(s=side).split("-")
            out.append((parent, child))
    return out


def _place(name: str, topology: Topology) -> int | None:
    side, _, part = name.rpartition("_")
    names = (f"{side}_{other}" if side else other for other in _STAND_INS.get(part, (part,)))
    return next((topology.index[other] for other in names if other in topology.index), None)


def _torso(seq: SkeletonSequence) -> float:
    """Median length from the middle of the hips to that of the shoulders, in the clip's unit."""
    middles = []
    for part in ("hip", "shoulder"):
        names = [f"{side}_{part}" for side in ("left", "right")]
        sides = [seq.topology.index[name] for name in names if name in seq.topology.index]
        if len(sides) < 2:
            break
        middles.append(seq.positions[:, :, sides].mean(2))
    if len(middles) == 2:
        lengths = np.linalg.norm(middles[0] - middles[1], axis=-1)
        if np.isfinite(lengths).any():
            return float(np.nanmedian(lengths))
    places = seq.positions[..., 1]
    # A torso is about three tenths of the body that stands there.
    return 0.3 * float(np.nanmax(places) - np.nanmin(places))


def _check_share(share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"share must be at least 0 and below 1, found {share}")


def _lose(seq: SkeletonSequence, lost: NDArray[np.bool_], what: str) -> SkeletonSequence:
    """The clip with these joints (T, P, J) missing; where nothing would be left, with all that it had."""
    positions = seq.positions.copy()
    positions[lost] = np.nan
    return _with_positions(seq, what, positions if np.isfinite(positions).all(-1).any() else seq.positions)


def _with_positions(seq: SkeletonSequence, what: str, positions: NDArray[np.float32]) -> SkeletonSequence:
    return replace(
        seq,
        positions=positions,
        source_transform=f"{seq.source_transform}; {what}" if seq.source_transform else what,
    )
