"""transforms and quality: closed-form cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from skeleton_io.record import transforms
from skeleton_io.record.quality import FLAG_ABOVE, flags, measure
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, SBU15


def clip(frames: int = 11, flat: bool = False) -> SkeletonSequence:
    """Moves by 1 cm (1 pixel) along x per frame."""
    topology = COCO17 if flat else SBU15
    rng = np.random.default_rng(0)
    base = rng.normal(size=(len(topology.joints), 2 if flat else 3)) * (100 if flat else 1)
    steps = np.zeros((frames, 1, 1, base.shape[1]))
    steps[..., 0] = (np.arange(frames) * (1 if flat else 0.01))[:, None, None]
    quaternions = Rotation.random(len(topology.joints), random_state=1).as_quat()[:, [3, 0, 1, 2]]
    return SkeletonSequence(
        id="c", dataset="d", topology=topology, positions=(base + steps).astype(np.float32), fps=10.0,
        source=Source(uri="u", sha256="0", reader="r", reader_version=1), scale="pixels" if flat else "metric",
        image_size=(640, 480) if flat else None,
        orientations=None if flat else np.tile(quaternions.astype(np.float32), (frames, 1, 1, 1)),
        confidence=np.ones((frames, 1, len(topology.joints)), np.float32),
    )  # fmt: skip


def test_resample_is_linear_and_gaps_stay_gaps():
    seq = clip()
    seq.positions[4, 0, 2] = np.nan
    double = transforms.resample(seq, 20.0)
    assert (double.frames, double.fps, double.duration) == (21, 20.0, seq.duration)
    np.testing.assert_array_equal(double.positions[::2], seq.positions)
    np.testing.assert_allclose(double.positions[1, 0, 0, 0], seq.positions[0, 0, 0, 0] + 0.005, atol=1e-6)
    assert np.isnan(double.positions[[7, 8, 9], 0, 2]).all()
    assert np.isfinite(double.positions[[6, 10], 0, 2]).all()
    near = transforms.resample(seq, 20.0, "nearest")
    assert set(np.unique(near.positions[:, 0, 0, 0])) <= set(seq.positions[:, 0, 0, 0])


def test_resample_uses_timestamps():
    irregular = replace(clip(3), timestamps=np.array([5.0, 5.1, 5.4]))
    regular = transforms.resample(irregular, 10.0)
    offsets = regular.positions[:, 0, 0, 0] - irregular.positions[0, 0, 0, 0]
    np.testing.assert_allclose(offsets, [0, 0.01, 0.01 + 0.01 / 3, 0.01 + 0.02 / 3, 0.02], atol=1e-6)
    assert regular.timestamps is None


def test_resample_one_frame():
    assert transforms.resample(clip(1), 30.0).frames == 1


def test_mirror_twice_is_the_identity():
    for seq in (clip(), clip(flat=True)):
        once = transforms.mirror(seq)
        left, right = seq.topology.index["left_elbow"], seq.topology.index["right_elbow"]
        width = 640 if seq.scale == "pixels" else 0
        np.testing.assert_allclose(once.positions[:, :, left, 0], width - seq.positions[:, :, right, 0], atol=1e-5)
        np.testing.assert_allclose(transforms.mirror(once).positions, seq.positions, atol=1e-4)
        if seq.orientations is not None:
            np.testing.assert_array_equal(transforms.mirror(once).orientations, seq.orientations)


def test_yaw_agrees_with_scipy():
    seq = clip()
    turn = Rotation.from_rotvec([0, 0.7, 0])
    turned = transforms.yaw(seq, 0.7)
    expected = turn.apply(seq.positions.reshape(-1, 3)).reshape(seq.positions.shape)
    np.testing.assert_allclose(turned.positions, expected, atol=1e-6)
    before = Rotation.from_quat(seq.orientations.reshape(-1, 4)[:, [1, 2, 3, 0]])
    after = Rotation.from_quat(turned.orientations.reshape(-1, 4)[:, [1, 2, 3, 0]])
    np.testing.assert_allclose((turn * before).as_matrix(), after.as_matrix(), atol=1e-6)
    with pytest.raises(ValueError, match="only 3D"):
        transforms.yaw(clip(flat=True), 0.1)


def test_centre_and_scale():
    seq = clip()
    seq.positions[0] = np.nan
    moved = transforms.centre(seq, "neck")
    np.testing.assert_allclose(moved.positions[1, 0, seq.topology.index["neck"]], 0, atol=1e-6)
    middle = transforms.centre(clip(flat=True))  # COCO has no pelvis: the mean of the joints
    np.testing.assert_allclose(middle.positions[0, 0].mean(0), [320, 240], atol=1e-3)
    np.testing.assert_allclose(transforms.scale(seq, 2).positions[1:], seq.positions[1:] * 2)
    assert transforms.scale(moved, 2).source_transform.endswith("; times 2")


def test_quality_of_a_perfect_clip_is_zero():
    measures = measure(clip())
    assert measures["missing_share"] == measures["frozen_share"] == measures["jump_share"] == 0
    assert measures["bone_variation"] < 1e-5


def test_quality_finds_each_defect():
    seq = clip()
    seq.positions[3, 0, :3] = np.nan
    assert measure(seq)["missing_share"] == pytest.approx(3 / (11 * 15))
    frozen = clip()
    frozen.positions[5] = frozen.positions[4]
    assert measure(frozen)["frozen_share"] == pytest.approx(1 / 10)
    jump = clip()
    jump.positions[5, 0, 0] += 50
    assert measure(jump)["jump_share"] == pytest.approx(2 / (10 * 15))
    wobbly = clip()
    wobbly.positions[::2] *= 1.2
    assert measure(wobbly)["bone_variation"] > 0.05
    assert measure(clip(1)) == dict.fromkeys(FLAG_ABOVE, 0)


def test_time_gaps_are_what_nobody_was_seen_for():
    seq = clip()
    seq.positions[[0, 4, 5, 9, 10]] = np.nan  # 1 s: half a second of it without anybody, wherever the frames lie
    assert measure(seq)["time_gap_share"] == pytest.approx(0.5)
    irregular = replace(clip(), timestamps=np.array([0, 0.1, 0.2, 0.3, 0.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0]))
    assert measure(irregular)["time_gap_share"] == pytest.approx(1.0 / 2.0)
    jitter = replace(clip(), timestamps=np.arange(11) / 10 + np.tile([0.0, 0.02], 6)[:11])
    assert measure(jitter)["time_gap_share"] == 0
    assert measure(replace(clip(), timestamps=np.zeros(11)))["time_gap_share"] == 0


def test_flags_name_what_is_above_the_limit():
    assert flags(dict.fromkeys(FLAG_ABOVE, 0.0)) == ()
    assert flags({"jump_share": 0.5, "missing_share": 0.06, "other": 1.0}) == ("missing_share", "jump_share")


@pytest.mark.parametrize("flat", [False, True])
def test_gaps_are_filled_only_by_name_and_stay_marked(flat: bool):
    seq = clip(flat=flat)
    whole = seq.positions.copy()
    seq.positions[4:6, 0, 2] = np.nan  # 0.3 s between the frames around it
    seq.positions[3:8, 0, 3] = np.nan  # 0.6 s
    seq.positions[:2, 0, 4] = np.nan  # at the start
    filled, mask = transforms.fill_gaps(seq, 0.3)
    assert np.argwhere(mask).tolist() == [[4, 0, 2], [5, 0, 2]]
    np.testing.assert_allclose(filled.positions[4:6, 0, 2], whole[4:6, 0, 2], rtol=1e-5)
    assert np.isnan(filled.positions[3:8, 0, 3]).all()
    assert np.isnan(filled.positions[:2, 0, 4]).all()
    assert filled.confidence is not None
    assert (filled.confidence[mask] == 0).all()
    assert (filled.confidence[~mask] == 1).all()
    assert "0.3 s interpolated" in filled.source_transform
    bare, _ = transforms.fill_gaps(replace(seq, confidence=None), 0.3)
    assert bare.confidence is not None
    np.testing.assert_array_equal(bare.confidence, seq.present)
    with pytest.raises(ValueError, match="positive"):
        transforms.fill_gaps(seq, 0)


def test_gaps_follow_timestamps():
    irregular = replace(clip(3), timestamps=np.array([0.0, 0.3, 0.4]))
    irregular.positions[1, 0, 0] = np.nan
    filled, _ = transforms.fill_gaps(irregular, 1.0)
    first, last = irregular.positions[[0, 2], 0, 0, 0]
    assert filled.positions[1, 0, 0, 0] == pytest.approx(first + 0.75 * (last - first), abs=1e-6)
