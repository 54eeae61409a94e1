"""The named table of topologies that several formats share or a user can name. Bones as the formats document them.

Joint names come from the vocabulary of `topology`; a format whose hierarchy is in its files (BVH, ASF) is not here.
"""

from __future__ import annotations

from skeleton_io.topology import Topology


def _both(*parts: str) -> list[str]:
    return [f"{side}_{part}" for side in ("left", "right") for part in parts]


def _topology(name: str, joints: list[str], bones: str) -> Topology:
    """Bones as "parent-child" joint numbers, 1-based as the formats' documentation gives them."""
    pairs = tuple((int(p) - 1, int(c) - 1) for p, c in (bone.split("-") for bone in bones.split()))
    return Topology(name=name, joints=tuple(joints), bones=pairs)


# Kinect v2 (NTU RGB+D, PKU-MMD). Joint 21 is between the shoulders, joint 2 mid-spine, joint 3 the neck.
NTU25 = _topology(
    "ntu25",
    ["pelvis", "spine", "neck", "head"]
    + _both("shoulder", "elbow", "wrist", "hand")
    + _both("hip", "knee", "ankle", "foot")
    + ["chest", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb"],
    "1-2 2-21 21-3 3-4 21-5 5-6 6-7 7-8 21-9 9-10 10-11 11-12 1-13 13-14 14-15 15-16 1-17 17-18 18-19 19-20 "
    "8-22 8-23 12-24 12-25",
)
# Kinect v1 SDK order (NW-UCLA); UTD-MHAD lists head first.
_KINECT1_LIMBS = _both("shoulder", "elbow", "wrist", "hand") + _both("hip", "knee", "ankle", "foot")
KINECT20 = _topology(
    "kinect20",
    ["pelvis", "spine", "neck", "head", *_KINECT1_LIMBS],
    "1-2 2-3 3-4 3-5 5-6 6-7 7-8 3-9 9-10 10-11 11-12 1-13 13-14 14-15 15-16 1-17 17-18 18-19 19-20",
)
UTD20 = _topology(
    "utd20",
    ["head", "neck", "spine", "pelvis", *_KINECT1_LIMBS],
    "4-3 3-2 2-1 2-5 5-6 6-7 7-8 2-9 9-10 10-11 11-12 4-13 13-14 14-15 15-16 4-17 17-18 18-19 19-20",
)
MSR20 = _topology(
    "msr20",
    ["left_shoulder", "right_shoulder", "neck", "spine", "left_hip", "right_hip", "pelvis"]
    + ["left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand"]
    + ["left_knee", "right_knee", "left_ankle", "right_ankle", "left_foot", "right_foot", "head"],
    "7-4 4-3 3-20 3-1 3-2 1-8 8-10 10-12 2-9 9-11 11-13 7-5 5-14 14-16 16-18 7-6 6-15 15-17 17-19",
)
SBU15 = _topology(
    "sbu15",
    ["head", "neck", "spine"] + _both("shoulder", "elbow", "hand") + _both("hip", "knee", "foot"),
    "3-2 2-1 2-4 4-5 5-6 2-7 7-8 8-9 3-10 10-11 11-12 3-13 13-14 14-15",
)
COCO17 = _topology(
    "coco17",
    ["nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"]
    + ["left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"]
    + ["left_knee", "right_knee", "left_ankle", "right_ankle"],
    "1-2 1-3 2-4 3-5 6-7 6-8 8-10 7-9 9-11 6-12 7-13 12-13 12-14 14-16 13-15 15-17",
)
TOPOLOGIES: dict[str, Topology] = {t.name: t for t in (NTU25, KINECT20, UTD20, MSR20, SBU15, COCO17)}
