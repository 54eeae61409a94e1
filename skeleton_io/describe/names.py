"""Joint names of an unknown file -> the anatomical vocabulary, and the bones between joints of such names.

Knows no files and no YAML.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skeleton_io.describe.geometry import measure_distances
from skeleton_io.sources.shared.joint_names import anatomical_names

# What the SDKs of depth sensors and 2D detectors call the trunk; `shared.joint_names` knows animation software.
_SENSORS = {
    "hipcenter": "pelvis",
    "hipcentre": "pelvis",
    "centerhip": "pelvis",
    "midhip": "pelvis",
    "spinebase": "pelvis",
    "spinemid": "spine",
    "spineshoulder": "chest",
    "shouldercenter": "neck",
    "shouldercentre": "neck",
    "centershoulder": "neck",
    "midshoulder": "neck",
}
_TRUNK = ("chest", "spine3", "spine2", "spine", "pelvis", "root")
# Joint (without its side) -> what it may hang on, the nearest first; the side's own joint comes before the middle's.
_PARENTS: dict[str, tuple[str, ...]] = {
    "pelvis": ("root",),
    "spine": _TRUNK[4:],
    "spine2": _TRUNK[3:],
    "spine3": _TRUNK[2:],
    "chest": _TRUNK[1:],
    "neck": _TRUNK,
    "head": ("neck", *_TRUNK),
    "head_top": ("head", "neck"),
    "nose": ("head", "neck"),
    "mouth": ("nose", "head", "neck"),
    "eye": ("nose", "head", "neck"),
    "ear": ("eye", "nose", "head", "neck"),
    "clavicle": ("chest", "spine3", "neck", "spine2", "spine"),
    "shoulder": ("clavicle", "chest", "neck", "spine3", "spine2", "spine"),
    "elbow": ("shoulder",),
    "wrist": ("elbow", "shoulder"),
    "hand": ("wrist", "elbow"),
    "hand_tip": ("hand", "wrist", "elbow"),
    "thumb": ("hand", "wrist", "elbow"),
    "hip": ("pelvis", "root", "spine"),
    "knee": ("hip",),
    "ankle": ("knee", "hip"),
    "heel": ("ankle", "foot"),
    "foot": ("ankle", "knee"),
    "toes": ("foot", "ankle", "knee"),
    "small_toe": ("foot", "ankle", "knee"),
}
_FINGER = re.compile(r"(thumb|index|middle|ring|pinky)_(\d|tip)")


def name_joints(names: Sequence[str]) -> list[str]:
    """Anatomical names of a file's joints, unique, in the same order; unknown ones keep their own in snake case."""
    meanings = [_SENSORS.get(re.sub(r"[^a-z]", "", name.casefold()), name) for name in names]
    spellings = {name.casefold() for name in names}
    # A file that has a neck beside the middle of the shoulders means the chest by that, as a Kinect v2 does.
    return anatomical_names(
        [
            name if own == name else "chest" if own == "neck" and "neck" in spellings else own
            for name, own in zip(names, meanings, strict=True)
        ]
    )


def link_named_joints(names: Sequence[str], points: NDArray[np.float64]) -> tuple[list[tuple[int, int]], list[str]]:
    """Bones as anatomy has them; what its name does not place hangs on what stays close.

    Args:
        names: J anatomical names.
        points: (F, J, C) positions, C spatial coordinates.

    Returns:
        J - 1 bones (parent, child), and the names of the joints that only their positions placed.
    """
    index = {name: joint for joint, name in enumerate(names)}
    bones = [(index[parent], child) for name, child in index.items() if (parent := _parent(name, index)) is not None]
    with_bone = {joint for bone in bones for joint in bone}
    mean, variation = measure_distances(points)
    weight = mean * (1 + 4 * variation)
    group = np.arange(len(names))
    for parent, child in bones:
        group[group == group[child]] = group[parent]
    while len(set(group.tolist())) > 1:
        apart = np.where(group[:, None] != group[None], weight, np.inf)
        a, b = (int(place) for place in np.unravel_index(int(apart.argmin()), apart.shape))
        if a not in with_bone and b in with_bone:
            a, b = b, a
        bones.append((a, b))
        group[group == group[b]] = group[a]
    return bones, [name for name, joint in index.items() if joint not in with_bone]


def _parent(name: str, index: dict[str, int]) -> str | None:
    """The nearest joint that anatomy puts before this one and the file has."""
    side = next((prefix for prefix in ("left_", "right_") if name.startswith(prefix)), "")
    part = name.removeprefix(side)
    finger = _FINGER.fullmatch(part)
    if finger:
        last = 4 if finger[2] == "tip" else int(finger[2])
        before = (*(f"{finger[1]}_{place}" for place in range(last - 1, 0, -1)), "hand", "wrist")
    else:
        before = _PARENTS.get(part, ())
    return next(
        (own for candidate in before for own in (side + candidate, candidate) if own in index and own != name), None
    )
