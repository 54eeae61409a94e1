"""Bone lengths and posture channels over time -> joint rotations -> joint positions, for the synthetic motion set.

Rest pose: a T-pose that stands on y = 0, faces +z, left hand at +x; metres, right-handed. Hands and feet are given as
targets (two-bone inverse kinematics turns them into rotations); every position then comes from forward kinematics, so
bone lengths are constant by construction. Knows no actions, no cameras and no files.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIDES = ("left", "right")
_CENTRE = [
    ("pelvis", None),
    ("spine", "pelvis"),
    ("chest", "spine"),
    ("neck", "chest"),
    ("head", "neck"),
    ("head_top", "head"),
    ("nose", "head"),
]
_SIDED = [
    ("eye", "head"),
    ("ear", "head"),
    ("clavicle", "chest"),
    ("shoulder", "clavicle"),
    ("elbow", "shoulder"),
    ("wrist", "elbow"),
    ("hand", "wrist"),
    ("hand_tip", "hand"),
    ("thumb", "wrist"),
    ("hip", "pelvis"),
    ("knee", "hip"),
    ("ankle", "knee"),
    ("foot", "ankle"),
    ("toes", "foot"),
]


def _names() -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Joint names and parents (-1 for the root), parents first."""
    pairs: list[tuple[str, str | None]] = list(_CENTRE)
    for side in SIDES:
        for part, parent in _SIDED:
            central = parent in ("head", "chest", "pelvis")
            pairs.append((f"{side}_{part}", parent if central else f"{side}_{parent}"))
    names = tuple(name for name, _ in pairs)
    return names, tuple(-1 if parent is None else names.index(parent) for _, parent in pairs)


JOINTS, PARENTS = _names()
INDEX = {name: i for i, name in enumerate(JOINTS)}
_MIRROR = [
    INDEX[n.replace("left_", "right_") if n.startswith("left_") else n.replace("right_", "left_")] for n in JOINTS
]
_FLIP = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Body:
    """Proportions of one person.

    Attributes:
        height: standing height, metres.
        arm, leg, shoulders: length of arms and legs and width of the shoulders, relative to the average build.
    """

    height: float = 1.72
    arm: float = 1.0
    leg: float = 1.0
    shoulders: float = 1.0

    def offsets(self) -> Array:
        """(J, 3) each joint's rest position relative to its parent; the root's is its height above the floor."""
        table: dict[str, tuple[float, float, float]] = {
            "spine": (0, 0.145, 0),
            "chest": (0, 0.134, 0),
            "neck": (0, 0.042, 0),
            "head": (0, 0.075, 0.012),
            "head_top": (0, 0.068, 0),
            "nose": (0, 0.005, 0.062),
            "eye": (0.019, 0.024, 0.050),
            "ear": (0.044, 0.014, 0),
            "clavicle": (0.02, -0.008, 0),
            "shoulder": (0.088 * self.shoulders, -0.006, 0),
            "elbow": (0.162 * self.arm, 0, 0),
            "wrist": (0.145 * self.arm, 0, 0),
            "hand": (0.045 * self.arm, 0, 0),
            "hand_tip": (0.048 * self.arm, 0, 0),
            "thumb": (0.035 * self.arm, 0.004, 0.030),
            "hip": (0.053, -0.018, 0),
            "knee": (0, -0.246 * self.leg, 0),
            "ankle": (0, -0.246 * self.leg, 0),
            "foot": (0, -0.030, 0.085),
            "toes": (0, -0.004, 0.030),
        }
        rest = np.zeros((len(JOINTS), 3))
        for i, name in enumerate(JOINTS):
            side, _, part = name.partition("_")
            if name == "pelvis":
                rest[i] = (0, self.stand / self.height, 0)
            elif side in SIDES:
                x, y, z = table[part]
                rest[i] = (x if side == "left" else -x, y, z)
            else:
                rest[i] = table[name]
        return rest * self.height

    @property
    def stand(self) -> float:
        """Height of the pelvis when both legs are straight, metres."""
        return (0.018 + 2 * 0.246 * self.leg + 0.036) * self.height

    @property
    def reach(self) -> float:
        """Shoulder to wrist with a straight arm, metres."""
        return 0.307 * self.arm * self.height

    @property
    def leg_length(self) -> float:
        """Hip to ankle with a straight leg, metres."""
        return 0.492 * self.leg * self.height


HANG = (0.13, -0.965, 0.06)
"""Wrist of a hanging arm: outward, up, forward of the shoulder, in arm lengths."""


@dataclass
class Posture:
    """What the body does, channel by channel, over T frames. Sided channels are keyed "left" and "right".

    Distances are in leg lengths for `pelvis` and `foot`, in arm lengths for `hand`; angles in radians.
    """

    frames: int
    pelvis: Array = field(init=False)
    """(T, 3) shift from standing: +x to the person's left, up, forward."""
    yaw: Array = field(init=False)
    """(T,) heading; positive turns to the left."""
    bend: Array = field(init=False)
    """(T,) trunk forward, shared by pelvis, spine and chest."""
    lean: Array = field(init=False)
    """(T,) trunk sideways, positive to the right."""
    twist: Array = field(init=False)
    """(T,) shoulders against the pelvis, positive brings the right shoulder forward."""
    nod: Array = field(init=False)
    """(T,) head forward."""
    look: Array = field(init=False)
    """(T,) head to the left."""
    hand: dict[str, Array] = field(init=False)
    """(T, 3) wrist from the shoulder in the chest's frame: outward, up, forward."""
    pole: dict[str, Array] = field(init=False)
    """(T, 3) where the elbow points, same axes."""
    aim: dict[str, Array] = field(init=False)
    """(T, 3) pull on the direction of the hand, same axes; zero lets it follow the forearm."""
    foot: dict[str, Array] = field(init=False)
    """(T, 3) ankle from its standing place: outward, up, forward, not turned by `yaw`."""
    foot_pitch: dict[str, Array] = field(init=False)
    """(T,) toes down."""
    foot_yaw: dict[str, Array] = field(init=False)
    """(T,) heading of the foot; the standing place turns about the pelvis with it."""

    def __post_init__(self) -> None:
        def line() -> Array:
            return np.zeros(self.frames)

        def point(value: tuple[float, float, float]) -> dict[str, Array]:
            return {side: np.tile(np.array(value, dtype=float), (self.frames, 1)) for side in SIDES}

        self.pelvis = np.zeros((self.frames, 3))
        self.yaw, self.bend, self.lean, self.twist, self.nod, self.look = (line() for _ in range(6))
        self.hand, self.pole, self.aim = point(HANG), point((0.5, -0.5, -0.7)), point((0, 0, 0))
        self.foot = point((0, 0, 0))
        self.foot_pitch, self.foot_yaw = ({side: line() for side in SIDES} for _ in range(2))


@dataclass(frozen=True)
class Motion:
    """Result of forward kinematics.

    Attributes:
        root: (T, 3) position of the pelvis, metres.
        local: (T, J, 3, 3) rotation of each joint relative to its parent; identity in the T-pose.
        offsets: (J, 3) rest offsets from the parent, metres.
    """

    root: Array
    local: Array
    offsets: Array

    def positions(self) -> Array:
        """(T, J, 3) joint positions, metres."""
        return forward(self.root, self.local, self.offsets)[0]

    def mirror(self) -> Motion:
        """Left and right exchanged: the same body moving as seen in a mirror at x = 0."""
        flip = _FLIP[:, None] * _FLIP[None, :]
        return Motion(self.root * _FLIP, self.local[:, _MIRROR] * flip, self.offsets)

    def turn_and_move(self, yaw: float, shift: Array) -> Motion:
        """Turned about the vertical axis through the origin, then moved."""
        turn = rotation("y", np.full(1, yaw))[0]
        local = self.local.copy()
        local[:, 0] = turn @ local[:, 0]
        return Motion(self.root @ turn.T + shift, local, self.offsets)


def rotation(axis: str, angle: Array) -> Array:
    """(..., 3, 3) right-handed rotation about "x", "y" or "z" by `angle` radians."""
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = np.zeros((*angle.shape, 3, 3))
    out[..., range(3), range(3)] = 1.0
    out[..., i, i] = out[..., j, j] = np.cos(angle)
    out[..., i, j], out[..., j, i] = -np.sin(angle), np.sin(angle)
    return out


def forward(root: Array, local: Array, offsets: Array) -> tuple[Array, Array]:
    """Forward kinematics: positions (T, J, 3) and world rotations (T, J, 3, 3)."""
    place, world = np.empty(local.shape[:3]), np.empty_like(local)
    for j, parent in enumerate(PARENTS):
        if parent < 0:
            place[:, j], world[:, j] = root, local[:, j]
        else:
            place[:, j] = place[:, parent] + world[:, parent] @ offsets[j]
            world[:, j] = world[:, parent] @ local[:, j]
    return place, world


def _unit(v: Array) -> Array:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def _frame(along: Array, pole: Array) -> Array:
    """(..., 3, 3) columns: along, the part of pole at right angles to it, their cross product."""
    along = _unit(along)
    side = _unit(pole - (pole * along).sum(-1, keepdims=True) * along)
    return np.stack([along, side, np.cross(along, side)], axis=-1)


def two_bones(reach: Array, pole: Array, upper: float, lower: float) -> tuple[Array, Array, Array]:
    """Directions (T, 3) of two bones that span `reach` (T, 3) with the middle joint towards `pole`, and their hinge.

    A target out of reach is approached as far as the bones allow.
    """
    far = np.linalg.norm(reach, axis=-1, keepdims=True)
    far = np.clip(far, abs(upper - lower) * 1.02 + 0.02, (upper + lower) * 0.9995)
    axes = _frame(reach, pole)
    cosine = (upper**2 + far**2 - lower**2) / (2 * upper * far)
    sine = np.sqrt(np.maximum(0.0, 1 - cosine**2))
    first = axes[..., 0] * cosine + axes[..., 1] * sine
    return first, _unit(axes[..., 0] * far - first * upper), axes[..., 2]


def _limb(world: Array, joints: tuple[str, str], bones: tuple[Array, Array, Array], rest: tuple[Array, Array]) -> None:
    """Writes the world rotations of the two joints that move `bones`; `rest` is (along, pole) in the T-pose."""
    hinge, base = bones[2], _frame(*rest)
    for joint, along in zip(joints, bones[:2], strict=True):
        world[:, INDEX[joint]] = np.stack([along, np.cross(hinge, along), hinge], axis=-1) @ base.T


def animate(body: Body, posture: Posture) -> Motion:
    """Posture channels -> rotations and root of one person who stands at the origin and faces +z at yaw 0."""
    offsets = body.offsets()
    frames = posture.frames
    local = np.tile(np.eye(3), (frames, len(JOINTS), 1, 1))
    root = posture.pelvis * body.leg_length + np.array([0, body.stand, 0])
    local[:, INDEX["pelvis"]] = (
        rotation("y", posture.yaw) @ rotation("x", 0.4 * posture.bend) @ rotation("z", 0.3 * posture.lean)
    )
    for name, share in (("spine", 0.35), ("chest", 0.25)):
        turn = rotation("y", 0.5 * posture.twist) @ rotation("x", share * posture.bend)
        local[:, INDEX[name]] = turn @ rotation("z", 0.35 * posture.lean)
    for name in ("neck", "head"):
        local[:, INDEX[name]] = rotation("y", 0.5 * posture.look) @ rotation("x", 0.5 * posture.nod)
    place, world = forward(root, local, offsets)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _arm(body, posture, side, sign, place, world)
        _leg(body, posture, side, sign, place, world)
    for j, parent in enumerate(PARENTS):
        if parent >= 0 and JOINTS[j].partition("_")[2] in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
            local[:, j] = world[:, parent].transpose(0, 2, 1) @ world[:, j]
    return Motion(root, local, offsets)


def _arm(body: Body, posture: Posture, side: str, sign: float, place: Array, world: Array) -> None:
    """Inverse kinematics of one arm, into `world`."""
    chest = world[:, INDEX["chest"]]
    outward = np.array([sign, 1.0, 1.0])
    world[:, INDEX[f"{side}_clavicle"]] = chest

    def to_world(v: Array) -> Array:
        return np.einsum("tij,tj->ti", chest, v * outward)

    reach = to_world(posture.hand[side]) * body.reach
    upper, lower = 0.162 * body.arm * body.height, 0.145 * body.arm * body.height
    bones = two_bones(reach, to_world(posture.pole[side]), upper, lower)
    rest = (np.array([sign, 0, 0]), np.array([0, 0, -1.0]))
    _limb(world, (f"{side}_shoulder", f"{side}_elbow"), bones, rest)
    forearm = world[:, INDEX[f"{side}_elbow"]]
    pointing = _unit(bones[1] + to_world(posture.aim[side]))
    axes = _frame(pointing, forearm @ np.array([0, 0, -1.0]))
    world[:, INDEX[f"{side}_wrist"]] = axes @ _frame(*rest).T


def _leg(body: Body, posture: Posture, side: str, sign: float, place: Array, world: Array) -> None:
    """Inverse kinematics of one leg, into `world`; the ankle's target is on the floor, not on the pelvis."""
    turn = rotation("y", posture.foot_yaw[side])
    stance = np.array([sign * 0.06 * body.height, 0.036 * body.height, 0])
    target = np.einsum("tij,j->ti", turn, stance) + posture.foot[side] * np.array([sign, 1, 1]) * body.leg_length
    reach = target - place[:, INDEX[f"{side}_hip"]]
    heading = rotation("y", 0.5 * (posture.yaw + posture.foot_yaw[side])) @ np.array([0.12 * sign, 0.1, 1.0])
    bone = 0.246 * body.leg * body.height
    bones = two_bones(reach, heading, bone, bone)
    _limb(world, (f"{side}_hip", f"{side}_knee"), bones, (np.array([0, -1.0, 0]), np.array([0, 0, 1.0])))
    world[:, INDEX[f"{side}_ankle"]] = turn @ rotation("x", posture.foot_pitch[side])
