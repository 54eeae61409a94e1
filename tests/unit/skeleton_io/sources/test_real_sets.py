"""The real sets: counts as their documentation gives them, labels, splits, and that left is left.

Handedness is told from the motion, not from joint names alone: with y up in a right-handed frame a person faces
up x (right - left).
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.files import protocols_of
from skeleton_io.protocols.protocol import assign
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.shards.schema import to_row
from skeleton_io.sources.registry import SOURCES

UP = np.array([0.0, 1.0, 0.0])


@cache
def load(root: Path, name: str) -> tuple[tuple[SkeletonSequence, ...], tuple[SkeletonFormatError, ...]]:
    """(clips, errors) of a whole set."""
    source, folder = SOURCES[name], str(root / "data" / name)
    clips: list[SkeletonSequence] = []
    errors: list[SkeletonFormatError] = []
    for item in source.list_items(folder):
        try:
            clips += source.read(folder, item, name)
        except SkeletonFormatError as error:
            errors.append(error)
    return tuple(clips), tuple(errors)


def joint(seq: SkeletonSequence, name: str, person: int = 0) -> np.ndarray:
    return seq.positions[:, person, seq.topology.index[name]].astype(np.float64)


def facing(seq: SkeletonSequence, person: int = 0) -> np.ndarray:
    """(T, 3) where the shoulders face."""
    return np.cross(UP, joint(seq, "right_shoulder", person) - joint(seq, "left_shoulder", person))


def walking_agreement(seq: SkeletonSequence, centre: str = "pelvis") -> float:
    """Mean cosine between facing and the horizontal path, over the frames that move."""
    window = max(2, round(seq.fps / 3))
    path = joint(seq, centre)[window:] - joint(seq, centre)[:-window]
    path[:, 1] = 0
    front = facing(seq)[window // 2 :][: len(path)]
    length = np.linalg.norm(path, axis=-1) * np.linalg.norm(front, axis=-1)
    moving = np.linalg.norm(path, axis=-1) > 0.1
    return float(((path * front).sum(-1)[moving] / length[moving]).mean()) if moving.any() else np.nan


def sides(clips: tuple[SkeletonSequence, ...], number: int = 0) -> Counter[str | None]:
    protocol = protocols_of(clips[0].dataset)[number]
    return Counter(assign(protocol, [to_row(clip) for clip in clips]).values())


@pytest.mark.parametrize(
    ("name", "files", "count", "labels", "frames", "topologies"),
    [
        ("msr_action3d", 567, 566, 20, 23_440, 1),
        ("utd_mhad", 861, 861, 27, 58_299, 1),
        ("nw_ucla", 1484, 1484, 10, 58_534, 1),
        ("sbu", 282, 282, 8, 6_822, 1),
        ("bandai_namco_1", 174, 174, 16, 31_914, 2),  # the only clip of "dance long" is absent
    ],
)
def test_counts(shared_data, name: str, files: int, count: int, labels: int, frames: int, topologies: int):
    clips, errors = load(shared_data, name)
    assert len(clips) + len(errors) == files
    assert len(clips) == count
    assert len({clip.label for clip in clips}) == labels
    assert sum(clip.frames for clip in clips) == frames
    assert len({clip.key for clip in clips}) == count
    assert len({clip.topology.hash for clip in clips}) == topologies
    assert all(clip.scale == "metric" and clip.positions.shape[3] == 3 for clip in clips)


def test_sizes_are_human(shared_data):
    """Thighs of 25 to 60 cm in every set: the units are right."""
    for name in ("msr_action3d", "utd_mhad", "nw_ucla", "sbu", "bandai_namco_1"):
        clips, _ = load(shared_data, name)
        thighs = [np.linalg.norm(joint(c, "right_hip") - joint(c, "right_knee"), axis=-1) for c in clips]
        assert 0.25 < np.nanmedian(np.concatenate(thighs)) < 0.60, name


def test_splits(shared_data):
    msr, utd, ucla, sbu, bandai = (
        load(shared_data, name)[0] for name in ("msr_action3d", "utd_mhad", "nw_ucla", "sbu", "bandai_namco_1")
    )
    assert sides(msr) == {"train": 284, "test": 273, None: 9}
    assert sides(utd) == {"train": 431, "test": 430}
    assert sides(ucla) == {"train": 1020, "test": 464}
    folds = [sides(sbu, number) for number in range(5)]
    assert sum(fold["test"] for fold in folds) == 282
    assert all(fold["train"] + fold["test"] == 282 for fold in folds)
    assert sides(bandai) == {"train": 156, "test": 18}


def test_msr_quarantine_and_labels(shared_data):
    clips, errors = load(shared_data, "msr_action3d")
    assert [Path(error.path).name for error in errors] == ["a13_s09_e02_skeleton3D.txt"]
    assert "38 frames without any" in errors[0].found
    names = {clip.id[:3]: clip.label for clip in clips}
    assert (names["a01"], names["a07"], names["a20"]) == ("high arm wave", "draw x", "pickup and throw")
    late = next(clip for clip in clips if clip.id == "a13_s09_e03")
    assert np.isnan(late.positions).all((1, 2, 3)).sum() == 740


def test_bandai_names_agree_with_the_json_beside_each_file(shared_data):
    import json

    root = shared_data / "data/bandai_namco_1"
    contents = (root / "cfg/content_label.txt").read_text().split()
    styles = (root / "cfg/style_label.txt").read_text().split()
    for clip in load(shared_data, "bandai_namco_1")[0]:
        ids = json.loads((root / clip.source.uri).with_suffix(".json").read_text())
        by_name = (str(clip.label).replace(" ", "-"), str(clip.setup).replace(" ", "-"))
        assert any(contents[k].endswith(by_name[0]) for k in (ids["content"],) if k < len(contents)), clip.id
        assert any(styles[k].endswith(by_name[1]) for k in (ids["style"],) if k < len(styles)), clip.id


def test_kinect_people_face_the_sensor(shared_data):
    for name in ("msr_action3d", "utd_mhad"):
        clips, _ = load(shared_data, name)
        share = np.mean([np.nanmedian(facing(clip)[:, 2]) < 0 for clip in clips])
        assert share > 0.95, (name, share)


@pytest.mark.parametrize(("name", "label"), [("msr_action3d", "high arm wave"), ("utd_mhad", "wave")])
def test_the_right_hand_acts(shared_data, name: str, label: str):
    clips = [clip for clip in load(shared_data, name)[0] if clip.label == label and clip.frames > 5]
    right = [np.nanstd(joint(c, "right_wrist"), axis=0).sum() > np.nanstd(joint(c, "left_wrist"), axis=0).sum()
             for c in clips]  # fmt: skip
    assert np.mean(right) > 0.8, np.mean(right)


@pytest.mark.parametrize(("name", "label"), [("nw_ucla", "walk around"), ("bandai_namco_1", "walk")])
def test_walkers_walk_forward(shared_data, name: str, label: str):
    clips = [clip for clip in load(shared_data, name)[0] if clip.label == label and clip.frames > 10]
    assert np.nanmedian([walking_agreement(clip) for clip in clips]) > 0.7


def test_bandai_walks_sideways_and_backward_as_named(shared_data):
    clips = load(shared_data, "bandai_namco_1")[0]
    back = [walking_agreement(clip) for clip in clips if clip.label == "walk back"]
    assert np.nanmedian(back) < -0.7
    for label, sign in (("walk left", 1), ("walk right", -1)):
        directions = []
        for clip in (c for c in clips if c.label == label):
            left = joint(clip, "left_shoulder").mean(0) - joint(clip, "right_shoulder").mean(0)
            path = joint(clip, "pelvis")[-1] - joint(clip, "pelvis")[0]
            directions.append(float(left @ path))
        assert np.mean(np.array(directions) * sign > 0) > 0.8, (label, directions)


def test_sbu_partners_face_each_other(shared_data):
    clips = [clip for clip in load(shared_data, "sbu")[0] if clip.label != "departing"]
    towards = []
    for clip in clips:
        gap = np.nanmedian(joint(clip, "spine", 1) - joint(clip, "spine", 0), axis=0)
        towards += [np.nanmedian(facing(clip, 0) @ gap) > 0, np.nanmedian(facing(clip, 1) @ -gap) > 0]
    assert np.mean(towards) > 0.9, np.mean(towards)


def test_ntu_layout_of_the_golden_clips(shared_data):
    source, folder = SOURCES["ntu"], str(shared_data / "golden/draction")
    clips = [source.read(folder, item, "golden")[0] for item in source.list_items(folder)]
    assert [(clip.frames, clip.persons, clip.label) for clip in clips] == [
        (60, 1, "hand waving"),
        (75, 2, "shaking hands"),
    ]
