"""The real files of SFINGE3D, Berkeley MHAD, MSRC-12, KIMORE and per-frame rows: counts as documented, true sides."""

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
from skeleton_io.sources.registry import SOURCES, detect_source


@cache
def load(folder: Path, name: str) -> tuple[list[SkeletonSequence], list[SkeletonFormatError]]:
    source, root = SOURCES[name], str(folder)
    results = [clip for item in source.list_items(root) for clip in source.stream(root, item, name)]
    clips = [clip for clip in results if isinstance(clip, SkeletonSequence)]
    return clips, [error for error in results if isinstance(error, SkeletonFormatError)]


def joint(clip: SkeletonSequence, name: str) -> np.ndarray:
    return clip.positions[:, 0, clip.topology.index[name]].astype(np.float64)


def test_sfinge(shared_data: Path):
    clips, errors = load(shared_data / "data/sfinge3d", "sfinge3d")
    assert errors == []
    gestures = [clip for clip in clips if clip.setup == "dictionary"]
    streams = [clip for clip in clips if clip.setup == "stream"]
    assert (len(gestures), len(streams)) == (468, 24)
    assert set(Counter(clip.label for clip in gestures).values()) == {36}
    lengths = [clip.frames for clip in gestures]
    assert (min(lengths), max(lengths), sum(lengths)) == (24, 96, 20732)
    # As many segments as the lines of sequencesGT.csv announce, all inside their streams.
    truth = (shared_data / "data/sfinge3d/Sequences/sequencesGT.csv").read_text().split()
    assert sum(len(clip.segments) for clip in streams) == sum(int(line.split(",")[1]) for line in truth)
    assert all(0 <= s.start < s.end <= clip.duration for clip in streams for s in clip.segments)
    assert all(clip.quality["missing_share"] == 0 for clip in clips)
    rows = [{"dataset": c.dataset, "id": c.id, "repetition": c.repetition} for c in clips]
    sides = list(assign(protocols_of("sfinge3d")[0], rows).values())
    assert (sides.count("train"), sides.count("test")) == (13 * 24, 13 * 12)


def test_sfinge_axes(shared_data: Path):
    """The evidence for the frame: swipes go where they are said to, fingers point away, and the thumb of a right hand
    whose palm is down points left."""
    clips, _ = load(shared_data / "data/sfinge3d", "sfinge3d")
    paths = {
        label: [joint(c, "right_hand")[-1] - joint(c, "right_hand")[0] for c in clips if c.label == label]
        for label in ("swipe left", "swipe right")
    }
    assert np.median(paths["swipe left"], axis=0)[0] < -0.03
    assert np.median(paths["swipe right"], axis=0)[0] > 0.03
    forward = np.concatenate([joint(c, "right_middle_1") - joint(c, "right_hand") for c in clips])
    thumb = np.concatenate([joint(c, "right_thumb_tip") - joint(c, "right_hand") for c in clips])
    assert forward.mean(0)[2] < -0.03
    assert (np.cross(forward, [0, 1, 0]) * thumb).sum(-1).mean() < 0


def test_berkeley(shared_data: Path):
    (clip,), errors = load(shared_data / "data/format_samples/berkeley_mhad_csv", "berkeley_mhad")
    assert errors == []
    assert (clip.frames, clip.persons, len(clip.topology.joints)) == (2625, 1, 30)
    assert (clip.fps, clip.timestamps, clip.label) == (480.0, None, "jump in place")
    height = joint(clip, "head")[0, 1] - joint(clip, "left_toes")[0, 1]
    assert 1.2 < height < 1.7, height
    front = np.cross([0, 1, 0], joint(clip, "right_hip") - joint(clip, "left_hip"))
    toes = joint(clip, "left_toes") - joint(clip, "left_ankle")
    assert (front * toes).sum(-1).min() > 0, "toes point where the hips face"
    assert clip.quality["bone_variation"] < 1e-3


def test_msrc(shared_data: Path):
    clips, errors = load(shared_data / "data/format_samples/msrc12_csv", "msrc12")
    assert errors == []
    assert [(c.frames, c.label, c.subject) for c in clips] == [
        (1027, "lift outstretched arms", "6"),
        (943, "lift outstretched arms", "22"),
    ]
    for clip, empty in zip(clips, (20, 26), strict=True):
        assert np.isnan(clip.positions[:empty]).all()
        assert np.isfinite(clip.positions[empty:]).all()
        assert clip.timestamps is not None
        assert np.median(np.diff(clip.timestamps)) == pytest.approx(1 / 30, abs=0.001)
        front = np.cross([0, 1, 0], joint(clip, "right_shoulder") - joint(clip, "left_shoulder"))
        assert np.nanmedian(front[:, 2]) < 0, "people face the sensor"
        # The gesture lifts both arms over the head.
        assert np.nanmax(joint(clip, "right_wrist")[:, 1] - joint(clip, "head")[:, 1]) > 0.1


def test_kimore(shared_data: Path):
    (clip,), errors = load(shared_data / "data/format_samples/kimore_kinectv2_csv", "kimore")
    assert errors == []
    assert (clip.frames, clip.persons, clip.setup, clip.label) == (1423, 1, "48.333", None)
    assert clip.confidence is not None
    assert set(np.unique(clip.confidence)) == {0.5, 1.0}
    front = np.cross([0, 1, 0], joint(clip, "right_shoulder") - joint(clip, "left_shoulder"))
    assert np.nanmedian(front[:, 2]) < 0


def test_rows_without_sequence_ids(shared_data: Path):
    clips, errors = load(shared_data / "data/format_samples/openpose18_framewise_csv", "openpose18_rows")
    assert clips == []
    assert [error.path for error in errors] == ["data.csv", "data_under_scene.csv"]
    assert all("recording" in error.expected for error in errors)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("sfinge3d", "sfinge3d"),
        ("format_samples/berkeley_mhad_csv", "berkeley_mhad"),
        ("format_samples/msrc12_csv", "msrc12"),
        ("format_samples/kimore_kinectv2_csv", "kimore"),
        ("format_samples/openpose18_framewise_csv", "openpose18_rows"),
    ],
)
def test_detection(shared_data: Path, folder: str, name: str):
    source = detect_source(str(shared_data / "data" / folder))
    assert source is not None
    assert source.name == name
