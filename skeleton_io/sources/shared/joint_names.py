"""Joint names of animation software -> the anatomical vocabulary, for a whole hierarchy at a time.

Understands the common styles: LeftArm, LeftUpperArm, UpperArm_L, upperarm_l, lShldr, mixamorig:LeftArm,
Bip01 L UpperArm, ShoulderLeft. What it does not know keeps its own name in snake case, which the vocabulary takes
as limb "other".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from skeleton_io.record.topology import joint_meaning

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_IGNORED = {"mixamorig", "bip", "biped", "character", "joint", "jnt", "def", "bone", "skel"}
_TRUNK = {"spine", "abdomen", "lowerback", "torso", "waist", "ab", "abs", "stomach", "midspine", "lowerspine"}
_CENTRE = {
    "root": "root",
    "reference": "root",
    "armature": "root",
    "hips": "pelvis",
    "hip": "pelvis",
    "pelvis": "pelvis",
    "chest": "chest",
    "upperchest": "chest",
    "thorax": "chest",
    "neck": "neck",
    "head": "head",
    "headtop": "head_top",
    "headend": "head_top",
    "nose": "nose",
}
_LIMBS = {
    "clavicle": ("clavicle", "collar", "collarbone", "scapula"),
    "shoulder": ("arm", "upperarm", "uparm", "shldr", "humerus"),
    "elbow": ("elbow", "forearm", "lowerarm", "lowarm", "radius"),
    "wrist": ("wrist",),
    "hip": ("hip", "upleg", "upperleg", "thigh", "femur"),
    "knee": ("knee", "leg", "lowerleg", "lowleg", "calf", "shin", "tibia"),
    "ankle": ("ankle",),
    "toes": ("toe", "toes", "toebase", "ball"),
    "eye": ("eye",),
    "ear": ("ear",),
    "thumb": ("thumb",),
    "hand_tip": ("handtip",),
}
_SIDED = {style: part for part, styles in _LIMBS.items() for style in styles}
_ACCLAIM = {
    "root": "pelvis",
    "lowerback": "spine",
    "upperback": "spine2",
    "thorax": "spine3",
    "lowerneck": "neck",
    "upperneck": "head",
    "head": "head_top",
    "hipjoint": "hip",
    "femur": "knee",
    "tibia": "ankle",
    "foot": "foot",
    "toes": "toes",
    "clavicle": "shoulder",
    "humerus": "elbow",
    "radius": "wrist",
    "wrist": "hand",
    "fingers": "hand_tip",
    "thumb": "thumb",
}
_FINGER = re.compile(r"(?:hand)?(thumb|index|middle|ring|pinky|little)(?:finger)?(\d)")


def anatomical_names(names: Sequence[str]) -> list[str]:
    """Anatomical names of a hierarchy's joints, unique, in the same order (parents before children)."""
    parts = [_split(name) for name in names]
    joints: list[str] = []
    trunk = 0
    for name, (side, words) in zip(names, parts, strict=True):
        siblings = {"".join(other) for its_side, other in parts if its_side == side}
        part = "".join(words)
        if side is None and (re.sub(r"\d+$", "", part) in _TRUNK):
            trunk += 1
            meaning: str | None = "spine" if trunk == 1 else f"spine{trunk}"
        elif side is None:
            meaning = _CENTRE.get(part)
        else:
            meaning = _sided(part, siblings)
            meaning = f"{side}_{meaning}" if meaning else None
        if meaning is None or meaning in joints:
            own = "_".join(words) or re.sub(r"\W+", "_", name).lower() or "joint"
            meaning = f"{side}_{own}" if side else own
            # An own name must not say something else in the vocabulary.
            if joint_meaning(meaning).limb != "other":
                meaning += "_other"
        base, number = meaning, 2
        while meaning in joints:
            meaning, number = f"{base}_{number}", number + 1
        joints.append(meaning)
    return joints


def bone_end_names(names: Sequence[str]) -> list[str]:
    """Names of the joints at the ENDS of an Acclaim (ASF) skeleton's bones, unique: lfemur ends at the left knee.

    A bone that the table does not know gives its own name with "_end", limb "other".
    """
    joints: list[str] = []
    for name in names:
        word = name.lower()
        side = {"l": "left_", "r": "right_"}.get(word[:1], "")
        if word in _ACCLAIM:
            meaning = _ACCLAIM[word]
        elif side and word[1:] in _ACCLAIM:
            meaning = side + _ACCLAIM[word[1:]]
        else:
            bare = word[1:] if side and word[1:] in ("hand", "arm") else ""
            meaning = (side + bare if bare else re.sub(r"\W+", "_", word)) + "_end"
        base, number = meaning, 2
        while meaning in joints:
            meaning, number = f"{base}_{number}", number + 1
        joints.append(meaning)
    return joints


def _split(name: str) -> tuple[str | None, list[str]]:
    """Side and remaining lower-case words; numbers lose leading zeros and join the word before them."""
    words: list[str] = []
    for word in _WORD.findall(name.rsplit(":", 1)[-1]):
        if word.isdigit() and words:
            words[-1] += str(int(word))
        else:
            words.append(word.lower())
    while len(words) > 1 and re.sub(r"\d+$", "", words[0]) in _IGNORED:
        words.pop(0)
    for place in (0, len(words) - 1):
        if len(words) > 1 and words[place] in _SIDES:
            side = _SIDES[words.pop(place)]
            return side, words
    if len(words) == 1:  # leftarm, lhip
        for prefix in ("left", "right", "l", "r"):
            rest = words[0].removeprefix(prefix)
            if rest != words[0] and (rest in _SIDED or rest in ("shoulder", "hand", "foot")):
                return _SIDES[prefix], [rest]
    return None, words


def _sided(part: str, siblings: set[str]) -> str | None:
    """`shoulder`, `hand` and `foot` mean one joint or the next, by what else that side has."""
    if part == "shoulder":
        return "clavicle" if siblings & set(_LIMBS["shoulder"]) else "shoulder"
    if part in ("hand", "palm"):
        return "hand" if siblings & set(_LIMBS["wrist"]) else "wrist"
    if part == "foot":
        return "foot" if siblings & set(_LIMBS["ankle"]) else "ankle"
    if part in _SIDED:
        return _SIDED[part]
    finger = _FINGER.fullmatch(part)
    if finger:
        return f"{finger.group(1).replace('little', 'pinky')}_{finger.group(2)}"
    return None
