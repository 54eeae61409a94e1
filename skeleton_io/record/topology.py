"""Joint names in ONE anatomical vocabulary -> topologies, bones, left/right pairs and the meaning of each joint.

Knows no files and no coordinates. Everything that must not depend on the format (appearance, captions, kinematic
facts, transfer between sets, mirroring) goes through these names.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

SIDES = ("centre", "left", "right")
LIMBS = ("torso", "head", "arm", "hand", "leg", "foot", "other")


class JointMeaning(NamedTuple):
    """What a joint is, whatever the format: side, limb and place along the chain, 0 at the trunk and 1 outermost."""

    side: str
    limb: str
    order: float


# Vocabulary without the side: limb and order along that limb's chain.
_PARTS: dict[str, tuple[str, float]] = {
    "root": ("torso", 0.0),
    "pelvis": ("torso", 0.0),
    "spine": ("torso", 0.3),
    "spine2": ("torso", 0.5),
    "spine3": ("torso", 0.7),
    "chest": ("torso", 0.8),
    "neck": ("torso", 1.0),
    "head": ("head", 0.5),
    "head_top": ("head", 1.0),
    "nose": ("head", 0.6),
    "eye": ("head", 0.7),
    "eye_inner": ("head", 0.7),
    "eye_outer": ("head", 0.7),
    "mouth": ("head", 0.6),
    "ear": ("head", 0.6),
    "clavicle": ("arm", 0.0),
    "shoulder": ("arm", 0.1),
    "elbow": ("arm", 0.5),
    "wrist": ("arm", 1.0),
    "hand": ("hand", 0.2),
    "hand_tip": ("hand", 1.0),
    "thumb": ("hand", 0.8),
    "hip": ("leg", 0.0),
    "knee": ("leg", 0.5),
    "ankle": ("leg", 1.0),
    "heel": ("foot", 0.2),
    "foot": ("foot", 0.5),
    "small_toe": ("foot", 0.9),
    "toes": ("foot", 1.0),
}
_FINGER = re.compile(r"(thumb|index|middle|ring|pinky)_(\d|tip)$")


def joint_meaning(name: str) -> JointMeaning:
    """Meaning of an anatomical name; an unknown name is limb "other", so that nothing is refused."""
    side, part = "centre", name
    for prefix in ("left", "right"):
        if name.startswith(prefix + "_"):
            side, part = prefix, name[len(prefix) + 1 :]
    if part in _PARTS:
        limb, order = _PARTS[part]
        return JointMeaning(side, limb, order)
    finger = _FINGER.match(part)
    if finger:
        # Outwards from the middle of the hand, which is at 0.2.
        knuckle = finger.group(2)
        return JointMeaning(side, "hand", 1.0 if knuckle == "tip" else min(1.0, 0.4 + 0.2 * int(knuckle)))
    return JointMeaning(side, "other", 0.5)


def mirrored_name(name: str) -> str:
    """The same joint on the other side; centre joints are their own mirror."""
    if name.startswith("left_"):
        return "right_" + name[5:]
    return "left_" + name[6:] if name.startswith("right_") else name


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Which joints a format has and which of them bones connect.

    Attributes:
        name: short name, for example "ntu25".
        joints: anatomical names, unique, in the order of the position array.
        bones: (parent, child) index pairs. A graph, not always a tree: COCO's trunk is a ring.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if len(set(self.joints)) != len(self.joints):
            raise ValueError(f"topology {self.name}: joint names must be unique, found {self.joints}")
        for parent, child in self.bones:
            joints = range(len(self.joints))
            if parent == child or parent not in joints or child not in joints:
                raise ValueError(f"topology {self.name}: bone ({parent}, {child}) is no pair of {len(joints)} joints")

    @cached_property
    def index(self) -> dict[str, int]:
        """Joint name -> position in the array."""
        return {joint: i for i, joint in enumerate(self.joints)}

    @cached_property
    def meanings(self) -> tuple[JointMeaning, ...]:
        """Meaning of each joint, in order."""
        return tuple(joint_meaning(joint) for joint in self.joints)

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """Index of each joint's mirror image; a joint whose partner is absent maps to itself."""
        return tuple(self.index.get(mirrored_name(joint), i) for i, joint in enumerate(self.joints))

    @cached_property
    def hash(self) -> str:
        """Content hash (12 hex digits) over names and bones, not over the topology's own name."""
        text = json.dumps([self.joints, self.bones])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, object]:
        """Plain data that `from_json` reads back."""
        return {"name": self.name, "joints": list(self.joints), "bones": [list(bone) for bone in self.bones]}

    @staticmethod
    def from_json(data: dict[str, object]) -> Topology:
        """Inverse of `to_json`."""
        joints, bones = data["joints"], data["bones"]
        if not isinstance(joints, list) or not isinstance(bones, list):
            raise ValueError(f"topology {data['name']}: joints and bones must be lists")
        return Topology(name=str(data["name"]), joints=tuple(joints), bones=tuple((int(p), int(c)) for p, c in bones))


def common_joints(a: Topology, b: Topology) -> list[tuple[str, int, int]]:
    """Joints that both topologies have: (name, index in a, index in b), in the order of a."""
    return [(joint, i, b.index[joint]) for i, joint in enumerate(a.joints) if joint in b.index]
