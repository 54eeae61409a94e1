"""The named table of topologies that several formats share or a user can name. Bones as the formats document them.

Joint names come from the vocabulary of `topology`; a format whose hierarchy is in its files (BVH, ASF) is not here.
"""

from __future__ import annotations

from itertools import pairwise

from skeleton_io.record.topology import Topology


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
# JHMDB's puppet: face and belly are the middle of head and trunk.
JHMDB15 = _topology(
    "jhmdb15",
    ["neck", "spine", "head", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "right_elbow", "left_elbow"]
    + ["right_knee", "left_knee", "right_wrist", "left_wrist", "right_ankle", "left_ankle"],
    "2-1 1-3 1-4 1-5 4-8 8-12 5-9 9-13 2-6 2-7 6-10 10-14 7-11 11-15",
)
# OpenPose: COCO's joints in another order with a neck (18), and with pelvis and feet (BODY_25). "toes" is the big toe.
_OPENPOSE_ARMS = [f"{side}_{part}" for side in ("right", "left") for part in ("shoulder", "elbow", "wrist")]
_OPENPOSE_LEGS = [f"{side}_{part}" for side in ("right", "left") for part in ("hip", "knee", "ankle")]
_OPENPOSE_FACE = ["right_eye", "left_eye", "right_ear", "left_ear"]
OPENPOSE18 = _topology(
    "openpose18",
    ["nose", "neck", *_OPENPOSE_ARMS, *_OPENPOSE_LEGS, *_OPENPOSE_FACE],
    "2-1 2-3 3-4 4-5 2-6 6-7 7-8 2-9 9-10 10-11 2-12 12-13 13-14 1-15 15-17 1-16 16-18",
)
_BODY25_BONES = (
    "9-2 2-1 2-3 3-4 4-5 2-6 6-7 7-8 9-10 10-11 11-12 9-13 13-14 14-15 1-16 16-18 1-17 17-19 "
    "15-20 20-21 15-22 12-23 23-24 12-25"
)
_BODY25 = (
    ["nose", "neck", *_OPENPOSE_ARMS, "pelvis", *_OPENPOSE_LEGS, *_OPENPOSE_FACE]
    + _both("toes", "small_toe", "heel")
)  # fmt: skip
BODY25 = _topology("body25", _BODY25, _BODY25_BONES)
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_HAND21 = ["hand", *(f"{finger}_{knuckle}" for finger in _FINGERS for knuckle in ("1", "2", "3", "tip"))]


def _hand_bones(root: int) -> str:
    """Five chains of four from the hand's root, whose 1-based number is given."""
    chains = ([root, *range(root + 1 + 4 * finger, root + 5 + 4 * finger)] for finger in range(len(_FINGERS)))
    return " ".join(f"{parent}-{child}" for chain in chains for parent, child in pairwise(chain))


# With the 21 points of each hand, as OpenPose --hand writes them; the wrist joins the hand's root.
BODY25_HANDS = _topology(
    "body25_hands",
    _BODY25 + _both(*_HAND21),
    f"{_BODY25_BONES} 8-26 {_hand_bones(26)} 5-47 {_hand_bones(47)}",
)
# BlazePose. Hands are the first knuckles of index and little finger and the thumb's second; "toes" is the foot index.
MEDIAPIPE33 = _topology(
    "mediapipe33",
    ["nose", *_both("eye_inner", "eye", "eye_outer"), *_both("ear"), *_both("mouth"), *_both("shoulder")]
    + [*_both("elbow"), *_both("wrist"), *_both("pinky_1"), *_both("index_1"), *_both("thumb_2"), *_both("hip")]
    + [*_both("knee"), *_both("ankle"), *_both("heel"), *_both("toes")],
    "1-2 2-3 3-4 4-8 1-5 5-6 6-7 7-9 10-11 12-13 12-14 14-16 16-18 16-20 16-22 18-20 13-15 15-17 17-19 17-21 17-23 "
    "19-21 12-24 13-25 24-25 24-26 26-28 28-30 28-32 30-32 25-27 27-29 29-31 29-33 31-33",
)
# A right hand as Leap Motion gives it: the palm's centre, then each finger from the knuckle out. The thumb has one
# joint less than the others; its first is the knuckle too, which anatomy counts as the thumb's second.
HAND20 = _topology(
    "hand20",
    ["right_hand", "right_thumb_2", "right_thumb_3", "right_thumb_tip"]
    + [f"right_{finger}_{at}" for finger in ("index", "middle", "ring", "pinky") for at in ("1", "2", "3", "tip")],
    "1-2 2-3 3-4 1-5 5-6 6-7 7-8 1-9 9-10 10-11 11-12 1-13 13-14 14-15 15-16 1-17 17-18 18-19 19-20",
)
# The Vicon-like skeleton in the csv files of Berkeley MHAD: clavicles, and a twist joint in each limb segment.
BERKELEY30 = _topology(
    "berkeley30",
    ["pelvis", "spine", "spine2", "spine3", "neck", "head"]
    + [
        f"{side}_{part}"
        for side in ("right", "left")
        for part in ("clavicle", "shoulder", "arm_roll", "elbow", "fore_arm_roll", "wrist")
    ]
    + [
        f"{side}_{part}"
        for side in ("right", "left")
        for part in ("hip", "up_leg_roll", "knee", "leg_roll", "ankle", "toes")
    ],
    "1-2 2-3 3-4 4-5 5-6 4-7 7-8 8-9 9-10 10-11 11-12 1-19 19-20 20-21 21-22 22-23 23-24 "
    "4-13 13-14 14-15 15-16 16-17 17-18 1-25 25-26 26-27 27-28 28-29 29-30",
)
# DeepMimic's humanoid: its joints in the order of the motion files, and the head, which is a body without a joint.
DEEPMIMIC16 = _topology(
    "deepmimic16",
    ["pelvis", "chest", "neck", "head"]
    + [
        f"{side}_{part}"
        for side in ("right", "left")
        for part in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    ],
    "1-2 2-3 3-4 1-5 5-6 6-7 2-8 8-9 9-10 1-11 11-12 12-13 2-14 14-15 15-16",
)
# SMPL without the hands: HumanML3D and AMASS.
SMPL22 = _topology(
    "smpl22",
    ["pelvis", "left_hip", "right_hip", "spine", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle"]
    + ["spine3", "left_foot", "right_foot", "neck", "left_clavicle", "right_clavicle", "head"]
    + ["left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"],
    "1-2 1-3 1-4 2-5 3-6 4-7 5-8 6-9 7-10 8-11 9-12 10-13 10-14 10-15 13-16 14-17 15-18 17-19 18-20 19-21 20-22",
)
# SMPL+H: SMPL22 and three joints of each finger, in the order of its pose vector.
SMPLH52 = Topology(
    name="smplh52",
    joints=SMPL22.joints
    + tuple(
        f"{side}_{finger}_{knuckle}"
        for side in ("left", "right")
        for finger in ("index", "middle", "pinky", "ring", "thumb")
        for knuckle in (1, 2, 3)
    ),
    bones=SMPL22.bones
    + tuple(
        (wrist if knuckle == 0 else first + 3 * finger + knuckle - 1, first + 3 * finger + knuckle)
        for wrist, first in ((20, 22), (21, 37))
        for finger in range(5)
        for knuckle in range(3)
    ),
)
# The 17 joints of Human3.6M that VideoPose3D keeps of 32. Its "thorax" is the base of the neck, its "neck" the chin.
H36M17 = _topology(
    "h36m17",
    ["pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"]
    + ["spine", "neck", "head", "head_top"]
    + _both("shoulder", "elbow", "wrist"),
    "1-2 2-3 3-4 1-5 5-6 6-7 1-8 8-9 9-10 10-11 9-12 12-13 13-14 9-15 15-16 16-17",
)
TOPOLOGIES: dict[str, Topology] = {
    t.name: t
    for t in (
        NTU25,
        KINECT20,
        UTD20,
        MSR20,
        SBU15,
        COCO17,
        HAND20,
        BERKELEY30,
        JHMDB15,
        OPENPOSE18,
        BODY25,
        BODY25_HANDS,
        MEDIAPIPE33,
        DEEPMIMIC16,
        SMPL22,
        SMPLH52,
        H36M17,
    )
}
