"""Perturbations: what is lost is lost as often as said, nothing is invented, the clip itself stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skeleton_io.record import perturb
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import TOPOLOGIES

SOURCE = Source(uri="made", sha256="0", reader="test", reader_version=1)


def clip(topology: str = "ntu25", frames: int = 200, persons: int = 2, dims: int = 3) -> SkeletonSequence:
    table = TOPOLOGIES[topology]
    places = np.random.default_rng(0).normal(size=(frames, persons, len(table.joints), dims)).astype(np.float32)
    flat = {"scale": "pixels", "image_size": (640, 480)} if dims == 2 else {}
    return SkeletonSequence(id="clip", dataset="made", topology=table, positions=places, fps=30, source=SOURCE, **flat)


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("lose", [perturb.drop_joints, perturb.drop_frames])
def test_as_much_is_lost_as_asked_for_and_the_rest_is_untouched(lose, share: float):
    seq = clip(frames=2000)
    worse = lose(seq, share, generator())
    assert 1 - worse.present.mean() == pytest.approx(share, abs=0.03)
    assert (worse.positions[worse.present] == seq.positions[worse.present]).all()
    assert seq.present.all()
    assert (worse.positions[worse.present] == lose(seq, share, generator()).positions[worse.present]).all()


def test_whole_frames_are_dropped_for_all_persons():
    present = perturb.drop_frames(clip(), 0.4, generator()).present
    assert set(present.reshape(len(present), -1).mean(1)) == {0.0, 1.0}


def test_a_clip_never_loses_its_last_joint():
    seq = clip(frames=1, persons=1)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        assert perturb.drop_frames(seq, 0.9, rng).present.any()
        assert perturb.drop_joints(seq, 0.99, rng).present.any()


@pytest.mark.parametrize("topology", ["ntu25", "coco17", "mediapipe33", "smplh52"])
def test_hidden_limbs_take_their_hands_and_fingers_along(topology: str):
    seq = clip(topology, persons=1)
    assert perturb.hide_limbs(seq, 0, generator()).present.all()
    worse = perturb.hide_limbs(seq, 4, generator())
    present = {name for name, j in seq.topology.index.items() if worse.present[0, 0, j]}
    assert not any(name.endswith(("wrist", "elbow", "knee", "ankle", "hand", "thumb_2", "index_1")) for name in present)
    assert present >= {"head", "nose", "left_hip", "right_shoulder"} & set(seq.topology.joints)
    one = perturb.hide_limbs(seq, 1, generator()).present
    hidden = {name for name, j in seq.topology.index.items() if not one[0, 0, j]}
    assert len({name.split("_")[0] for name in hidden}) == 1
    assert (one == one[:1]).all()


def test_noise_has_the_size_that_is_said():
    seq = clip(frames=2000)
    away = perturb.add_noise(seq, 0.05, generator()).positions - seq.positions
    assert float(away.std()) == pytest.approx(0.05, rel=0.02)
    assert abs(float(away.mean())) < 1e-3
    gaps = replace(seq, positions=np.where(np.arange(25)[:, None] == 3, np.nan, seq.positions).astype(np.float32))
    assert (perturb.add_noise(gaps, 0.05, generator()).present == gaps.present).all()


def test_noise_in_pixels_is_scaled_by_the_torso():
    table = TOPOLOGIES["coco17"]
    seq = clip("coco17", dims=2)
    still = np.zeros_like(seq.positions)
    still[:, :, [table.index["left_shoulder"], table.index["right_shoulder"]], 1] = 100.0
    away = perturb.add_noise(replace(seq, positions=still), 0.05, generator()).positions - still
    assert float(away.std()) == pytest.approx(10.0, rel=0.02)  # 100 pixels are 0.5 m


def test_other_rates_keep_the_time():
    seq = clip(frames=91)
    slow = perturb.other_rate(seq, 0.25)
    assert (slow.fps, slow.frames) == (7.5, 23)
    assert slow.duration == pytest.approx(seq.duration, abs=1 / 7.5)
    assert (slow.positions == seq.positions[[round(4 * k) for k in range(23)]]).all()
    assert perturb.other_rate(clip(frames=6), 0.05).frames >= 2
    assert perturb.other_rate(clip(frames=1), 0.05).frames == 1


def test_a_missing_person_leaves_the_first():
    present = perturb.lose_person(clip(persons=3)).present
    assert present[:, 0].all()
    assert not present[:, 1:].any()
    alone = clip(persons=1)
    assert (perturb.lose_person(alone).positions == alone.positions).all()


@pytest.mark.parametrize("joints", perturb.REDUCED)
def test_reduced_topologies_have_so_many_joints_and_hang_together(joints: int):
    seq = clip("ntu25")
    small = perturb.reduce_topology(seq, joints)
    table = small.topology
    assert len(table.joints) == joints == len(set(table.joints))
    for name, j in table.index.items():
        assert (small.positions[:, :, j] == seq.positions[:, :, seq.topology.index[name]]).all()
    reached, before = {0}, 0
    while len(reached) > before:
        before = len(reached)
        reached |= {end for bone in table.bones if set(bone) & reached for end in bone}
    assert len(reached) == joints
    assert perturb.reduce_topology(small, joints).topology.joints == table.joints


def test_formats_without_a_joint_use_what_stands_for_it_or_leave_it_out():
    small = perturb.reduce_topology(clip("coco17"), 13)
    assert len(small.topology.joints) == 13
    nose = clip("coco17").topology.index["nose"]
    assert (small.positions[:, :, small.topology.index["head"]] == clip("coco17").positions[:, :, nose]).all()
    assert len(perturb.reduce_topology(clip("sbu15"), 17).topology.joints) >= 12
    with pytest.raises(ValueError, match="has 2 of the 20 joints"):
        perturb.reduce_topology(clip("hand20"), 20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda seq, rng: perturb.drop_joints(seq, 1.0, rng), "share"),
        (lambda seq, rng: perturb.drop_frames(seq, -0.1, rng), "share"),
        (lambda seq, rng: perturb.hide_limbs(seq, 5, rng), "limbs"),
        (lambda seq, rng: perturb.add_noise(seq, -1.0, rng), "metres"),
        (lambda seq, rng: perturb.other_rate(seq, 0.0), "factor"),
        (lambda seq, rng: perturb.reduce_topology(seq, 19), "joints"),
    ],
)
def test_levels_without_meaning_are_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call(clip(), generator())
