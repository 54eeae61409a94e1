"""JHMDB: the three splits' files become each clip once, with its side in every split; y is turned up."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.files import protocols_of
from skeleton_io.protocols.protocol import assign
from skeleton_io.shards.schema import to_row
from skeleton_io.sources.registry import SOURCES, detect_source

ASSET = Path(__file__).resolve().parents[4] / "assets/jhmdb"
JHMDB = SOURCES["jhmdb"]


def stream(root: Path):
    (item,) = JHMDB.list_items(str(root))
    return list(JHMDB.stream(str(root), item, "jhmdb"))


def test_a_clip_of_several_files_is_one_record():
    clips = stream(ASSET)
    assert [clip.label for clip in clips] == ["pick", "wave", "wave"]
    assert {clip.frames: clip.setup for clip in clips} == {
        15: "train train absent",
        16: "train test absent",
        17: "test train absent",
    }
    wave = next(clip for clip in clips if clip.frames == 15)
    at = wave.topology.index
    assert (wave.scale, wave.positions.shape) == ("normalised", (15, 1, 15, 2))
    # The right wrist goes up in the image; the right side of a person who faces the camera is at image left.
    np.testing.assert_allclose(wave.positions[10, 0, at["right_wrist"]], [0.25, 0.9], rtol=1e-6)
    assert wave.positions[0, 0, at["head"], 1] > wave.positions[0, 0, at["right_ankle"], 1]


def test_a_bad_file_leaves_the_others(tmp_path: Path):
    shutil.copytree(ASSET, tmp_path / "set")
    (tmp_path / "set/GT_test_1.pkl").write_bytes(b"\x80\x02cposix\nsystem\nU\x04true\x85R.")
    spoilt = {"pose": [np.zeros((3, 14, 2)), np.ones((3, 15, 2))], "label": ["wave", "run"]}
    (tmp_path / "set/GT_train_3.pkl").write_bytes(pickle.dumps(spoilt))
    results = stream(tmp_path / "set")
    errors = [entry for entry in results if isinstance(entry, SkeletonFormatError)]
    assert [error.place.split(",")[0] for error in errors] == ["GT_test_1.pkl", "GT_train_3.pkl"]
    assert "posix system" in errors[0].found
    assert sorted(str(clip.label) for clip in results if clip not in errors) == ["pick", "run", "wave", "wave"]


def test_a_clip_on_both_sides_is_told(tmp_path: Path):
    shutil.copy(ASSET / "GT_train_1.pkl", tmp_path / "GT_train_1.pkl")
    shutil.copy(ASSET / "GT_train_1.pkl", tmp_path / "GT_test_1.pkl")
    assert sum(isinstance(entry, SkeletonFormatError) for entry in stream(tmp_path)) == 2


def test_real_set(shared_data):
    root = shared_data / "data/jhmdb_gt2d"
    source = detect_source(str(root))
    assert source is not None
    assert source.name == "jhmdb"
    clips = stream(root)
    assert not any(isinstance(clip, SkeletonFormatError) for clip in clips)
    assert len({clip.id for clip in clips}) == len(clips) == 609
    assert len({clip.label for clip in clips}) == 14
    assert {clip.frames for clip in clips} <= set(range(15, 41))
    rows = [to_row(clip) for clip in clips]
    sides = [Counter(assign(protocol, rows).values()) for protocol in protocols_of("jhmdb")]
    assert sides == [{"train": 433, "test": 176}, {"train": 433, "test": 176}, {"train": 434, "test": 175}]
    at = clips[0].topology.index
    for label in ("clap", "pour", "stand", "wave"):  # done facing the camera: right at image left, head up
        of_label = [clip.positions[:, 0] for clip in clips if clip.label == label]
        right = [np.median(p[:, at["right_shoulder"], 0] - p[:, at["left_shoulder"], 0]) > 0 for p in of_label]
        up = [np.median(p[:, at["head"], 1] - p[:, at["right_hip"], 1]) > 0 for p in of_label]
        assert np.mean(right) > 0.9, label
        assert np.mean(up) == pytest.approx(1, abs=0.05), label
