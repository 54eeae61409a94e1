"""The synthetic bodies move like bodies: constant bones, knees that bend backwards, feet on the floor, true sides."""

from __future__ import annotations

import numpy as np
import pytest

from skeleton_io.demo.body import INDEX, JOINTS, PARENTS, Body, Posture, animate
from skeleton_io.demo.motion import ACTIONS, Action, Style, perform

LABELS = [action.label for action in ACTIONS]


def make(action: Action, seed: int = 0, **style: object):
    bodies = (Body(height=1.6), Body(height=1.8, arm=1.03))[: 2 if action.duo else 1]
    return perform(action, bodies, Style(**style), np.random.default_rng(seed))


def by_label(label: str) -> Action:
    return ACTIONS[LABELS.index(label)]


def test_rest_posture_is_the_t_pose_when_rotations_are_identity():
    motion = animate(Body(), Posture(2))
    rest = type(motion)(motion.root, np.tile(np.eye(3), (2, len(JOINTS), 1, 1)), motion.offsets).positions()[0]
    assert rest[INDEX["left_wrist"], 0] > 0.6 > -0.6 > rest[INDEX["right_wrist"], 0]
    assert rest[INDEX["left_ankle"], 1] == pytest.approx(0.036 * 1.72)
    assert rest[INDEX["nose"], 2] > 0.05


@pytest.mark.parametrize("label", LABELS)
def test_bones_keep_their_length(label: str):
    for motion in make(by_label(label)).motions:
        places = motion.positions()
        assert np.isfinite(places).all()
        lengths = np.linalg.norm(places[:, 1:] - places[:, PARENTS[1:]], axis=-1)
        np.testing.assert_allclose(lengths, np.tile(np.linalg.norm(motion.offsets[1:], axis=-1), (len(places), 1)))


@pytest.mark.parametrize("label", LABELS)
def test_feet_stay_above_the_floor_and_knees_bend_backwards(label: str):
    for seed in range(3):
        for motion in make(by_label(label), seed).motions:
            places = motion.positions()
            toes = places[:, [INDEX["left_toes"], INDEX["right_toes"], INDEX["left_ankle"], INDEX["right_ankle"]], 1]
            assert toes.min() > -0.045
            across = places[:, INDEX["left_hip"]] - places[:, INDEX["right_hip"]]
            for side in ("left", "right"):
                hip, knee, ankle = (places[:, INDEX[f"{side}_{part}"]] for part in ("hip", "knee", "ankle"))
                # The hinge of a knee points to the person's right when the shank goes backwards.
                hinge = np.cross(knee - hip, ankle - knee)
                assert ((hinge * across).sum(-1) > -1e-3).all()


@pytest.mark.parametrize("label", LABELS)
def test_arms_do_not_pass_through_the_trunk(label: str):
    for seed in range(3):
        for motion in make(by_label(label), seed).motions:
            places = motion.positions()
            share = np.linspace(0.1, 0.9, 5)[None, :, None]
            spine = places[:, None, INDEX["pelvis"]] * (1 - share) + places[:, None, INDEX["chest"]] * share
            for side in ("left", "right"):
                elbow, wrist = places[:, None, INDEX[f"{side}_elbow"]], places[:, None, INDEX[f"{side}_wrist"]]
                forearm = elbow * (1 - share) + wrist * share
                gap = np.linalg.norm(forearm[:, :, None] - spine[:, None], axis=-1)
                assert gap.min() > 0.10


@pytest.mark.parametrize("label", [action.label for action in ACTIONS if action.sided])
def test_left_handed_clip_is_the_mirror_image(label: str):
    right, left = (make(by_label(label), side=side).motions[0].positions() for side in ("right", "left"))
    swap = [
        INDEX[n.replace("left_", "right_") if n.startswith("left_") else n.replace("right_", "left_")] for n in JOINTS
    ]
    np.testing.assert_allclose(left, right[:, swap] * [-1, 1, 1], atol=1e-9)


def test_the_named_side_does_the_work():
    for label, part in (
        ("wave", "wrist"),
        ("kick", "ankle"),
        ("punch", "wrist"),
        ("throw", "wrist"),
        ("drink", "wrist"),
    ):
        for side, other in (("left", "right"), ("right", "left")):
            places = make(by_label(label), side=side).motions[0].positions()
            path = {
                s: np.linalg.norm(np.diff(places[:, INDEX[f"{s}_{part}"]], axis=0), axis=-1).sum()
                for s in (side, other)
            }
            assert path[side] > 1.3 * path[other], label
    positions = make(by_label("turn around"), side="left").motions[0].positions()
    across = positions[:, INDEX["left_hip"]] - positions[:, INDEX["right_hip"]]
    quarter = len(across) // 2
    assert across[0, 0] > 0.1 > -0.1 > across[-1, 0]
    # Half-way through a turn to the left the left hip is at the back.
    assert across[quarter, 2] < -0.05


def test_hands_meet_in_a_clap_and_a_handshake():
    places = make(by_label("clap")).motions[0].positions()
    gap = np.linalg.norm(places[:, INDEX["left_hand"]] - places[:, INDEX["right_hand"]], axis=-1)
    assert gap.min() < 0.15 < 0.3 < gap.max()
    a, b = (motion.positions()[:, INDEX["right_hand"]] for motion in make(by_label("shake hands")).motions)
    assert np.linalg.norm(a - b, axis=-1).min() < 0.15


def test_repeats_are_as_asked():
    places = make(by_label("squat"), repeats=3).motions[0].positions()[:, INDEX["pelvis"], 1]
    low = places < (places.max() + places.min()) / 2
    assert (np.diff(low.astype(int)) == 1).sum() == 3


def test_wrong_number_of_bodies_is_refused():
    with pytest.raises(ValueError, match="push needs 2 bodies, found 1"):
        perform(by_label("push"), (Body(),), Style(), np.random.default_rng(0))
