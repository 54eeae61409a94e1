"""joint_names: the naming styles of common software."""

from __future__ import annotations

import pytest

from skeleton_io.sources.shared.joint_names import anatomical_names

ARM = ["left_clavicle", "left_shoulder", "left_elbow", "left_wrist"]
TRUNK = ["pelvis", "spine", "spine2", "spine3", "neck", "head"]
WITH_HAND = ["left_shoulder", "left_elbow", "left_wrist", "left_hand"]
LEG = ["right_hip", "right_knee", "right_ankle", "right_toes"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Hips", "Spine", "Spine1", "Spine2", "Neck", "Head"], TRUNK),
        (["LeftShoulder", "LeftArm", "LeftForeArm", "LeftHand"], ARM),
        (["mixamorig:LeftShoulder", "mixamorig:LeftArm", "mixamorig:LeftForeArm", "mixamorig:LeftHand"], ARM),
        (["Shoulder_L", "UpperArm_L", "LowerArm_L", "Hand_L"], ARM),
        (["clavicle_l", "upperarm_l", "lowerarm_l", "hand_l"], ARM),
        (["lCollar", "lShldr", "lForeArm", "lHand"], ARM),
        (["Bip01 L Clavicle", "Bip01 L UpperArm", "Bip01 L Forearm", "Bip01 L Hand"], ARM),
        (["RightUpLeg", "RightLeg", "RightFoot", "RightToeBase"], LEG),
        (["UpperLeg_R", "LowerLeg_R", "Foot_R", "Toes_R"], LEG),
        (["thigh_r", "calf_r", "foot_r", "ball_r"], LEG),
        (["rThigh", "rShin", "rFoot", "rToe"], LEG),
        (["RightHip", "RightKnee", "RightAnkle", "RightToe"], LEG),
        (["rightupleg", "rightleg", "rightfoot", "righttoebase"], LEG),
        # Without an upper arm, "shoulder" is the shoulder joint; with a wrist, "hand" is the hand.
        (["ShoulderLeft", "ElbowLeft", "WristLeft", "HandLeft"], WITH_HAND),
        (["AnkleRight", "FootRight"], ["right_ankle", "right_foot"]),
        (["LeftHandIndex1", "pinky_02_r", "LThumb"], ["left_index_1", "right_pinky_2", "left_thumb"]),
        (["pelvis", "spine_01", "spine_02"], ["pelvis", "spine", "spine2"]),
        (["joint_Root", "Hips"], ["root", "pelvis"]),
        (["Tail", "LHipJoint", "Head", "Head"], ["tail", "left_hip_joint", "head", "head_other"]),
        (["???"], ["_"]),
    ],
)  # fmt: skip
def test_styles(names: list[str], expected: list[str]):
    assert anatomical_names(names) == expected


def test_sides_do_not_mix():
    names = anatomical_names(["LeftShoulder", "LeftArm", "RightShoulder", "RightElbow"])
    assert names == ["left_clavicle", "left_shoulder", "right_shoulder", "right_elbow"]
