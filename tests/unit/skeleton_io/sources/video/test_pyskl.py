"""pyskl pickles: the layouts of its releases, our own export there and back, splits, and entries that lie."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.exporters.registry import PysklFiles
from skeleton_io.protocols.protocol import assign
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, MSR20, NTU25
from skeleton_io.shards.schema import to_row
from skeleton_io.sources.registry import SOURCES, detect_source, protocols_for

ASSETS = Path(__file__).resolve().parents[4] / "assets/pyskl"
PYSKL = SOURCES["pyskl"]


def read_folder(root: Path) -> list[Any]:
    return [entry for item in PYSKL.list_items(str(root)) for entry in PYSKL.stream(str(root), item, "set")]


def write_and_read(root: Path, *annotations: Any, split: Any = None) -> list[Any]:
    root.mkdir(exist_ok=True)
    (root / "a.pkl").write_bytes(pickle.dumps({"split": split or {}, "annotations": list(annotations)}))
    return read_folder(root)


def flat(**fields: Any) -> dict[str, Any]:
    points = np.ones((2, 4, 17, 2), np.float16) * np.arange(1, 5)[:, None, None].astype(np.float16) * 8
    score = np.full((2, 4, 17), 0.5, np.float16)
    points[1], score[1] = 0, 0
    score[0, 1, 9] = 0
    annotation = {"frame_dir": "v_one", "label": 2, "img_shape": (100, 200), "original_shape": (100, 200)}
    return {**annotation, "total_frames": 4, "keypoint": points, "keypoint_score": score, **fields}


def test_assets():
    clips = read_folder(ASSETS)
    assert [clip.id for clip in clips] == ["S001C002P003R001A023", "S002C001P003R002A050", "v_wave_g01", "v_nod_g02"]
    three, pair, wave, nod = clips
    assert (three.topology, three.label, three.subject, three.view) == (NTU25, "hand waving", "3", "2")
    assert (three.scale, three.persons, three.confidence) == ("metric", 1, None)
    np.testing.assert_allclose(three.positions[1, 0, 3], [0.1, 0.8, 3.1], rtol=1e-6)
    assert np.isnan(three.positions[1, 0, 24]).all()
    assert (pair.persons, pair.track_ids) == (2, ("1", "0"))  # the second one moves more
    assert (wave.topology, wave.label, wave.image_size) == (COCO17, "class 0", (340, 256))
    np.testing.assert_allclose(wave.positions[0, 0, 0], [340 - 100, 256 - 50])
    assert np.isnan(wave.positions[2, 0, 10]).all()
    assert nod.label == "class 1"
    source = detect_source(str(ASSETS))
    assert source is not None
    assert source.name == "pyskl"
    rules = protocols_for(str(ASSETS), "set", PYSKL)
    assert [rule.name for rule in rules] == ["xsub", "split1"]
    sides = assign(rules[1], [to_row(clip) for clip in clips])
    assert sides == {
        "set/v_wave_g01": "train",
        "set/v_nod_g02": "test",
        "set/S001C002P003R001A023": None,
        "set/S002C001P003R002A050": None,
    }


def noisy_clip(number: int, **fields: Any) -> SkeletonSequence:
    rng = np.random.default_rng(number)
    positions = rng.normal(size=(5, 2, 20, 3)).astype(np.float32)
    positions[:, 1] *= 0.1
    positions[2, 0, 4] = np.nan
    clip = SkeletonSequence(
        id=f"c{number}", dataset="made_up", topology=MSR20, positions=positions, fps=15.0,
        source=Source(uri="u", sha256="0", reader="r", reader_version=1), label=("wave", "run")[number % 2],
        confidence=np.where(np.isnan(positions[..., 0]), 0, 0.5).astype(np.float32),
    )  # fmt: skip
    return replace(clip, **fields)


def flat_clip() -> SkeletonSequence:
    positions = np.random.default_rng(3).uniform(1, 90, (6, 1, 17, 2)).astype(np.float32)
    positions[1, 0, 3] = np.nan
    confidence = np.isfinite(positions[..., 0]).astype(np.float32) * np.float32(0.25)
    return noisy_clip(
        3, topology=COCO17, positions=positions, confidence=confidence, scale="pixels", image_size=(160, 120)
    )


def test_round_trip_through_our_export(tmp_path: Path):
    out = PysklFiles(str(tmp_path), {})
    clips = [noisy_clip(0), noisy_clip(1), noisy_clip(2, scale="normalised"), flat_clip()]
    for clip in clips:
        out.add(clip, {"cross-subject": "test" if clip.id == "c1" else "train"})
    out.finish()
    back = {clip.id: clip for clip in read_folder(tmp_path)}
    assert set(back) == {"c0", "c1", "c2", "c3"}
    for clip in clips:
        other = back[clip.id]
        assert (other.label, other.fps, other.scale, other.image_size, other.topology) == (
            (clip.label, clip.fps, clip.scale, clip.image_size, clip.topology)
        )
        exact = 0 if clip.scale != "pixels" else 1e-4  # pixels are counted from the other corner and back
        np.testing.assert_allclose(other.positions, clip.positions, atol=exact, rtol=0)
        np.testing.assert_array_equal(other.confidence, clip.confidence)
    (rule,) = protocols_for(str(tmp_path), "made_up", PYSKL)
    assert (rule.name, rule.train, rule.test) == ("cross-subject", ("c3", "c0", "c2"), ("c1",))


def test_empty_slots_and_scores(tmp_path: Path):
    (clip,) = write_and_read(tmp_path, flat())
    assert (clip.persons, clip.image_size, clip.label) == (1, (200, 100), "class 2")
    assert np.isnan(clip.positions[1, 0, 9]).all()
    assert clip.confidence[1, 0, 9] == 0
    assert np.isfinite(clip.positions[0]).all()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"keypoint": [[[[1.0, 2.0]]]]}, "keypoint"),
        ({"keypoint": np.ones((1, 4, 19, 2)), "keypoint_score": None}, "keypoint"),
        ({"keypoint": np.zeros((1, 4, 17, 2)), "keypoint_score": None}, "keypoint"),
        ({"keypoint": np.array([[[["x"]]]])}, "keypoint"),
        ({"keypoint_score": np.ones((2, 4, 16))}, "keypoint_score"),
        ({"img_shape": (0, 5)}, "img_shape"),
        ({"img_shape": "big"}, "img_shape"),
        ({"label": [1]}, "label"),
        ({"frame_dir": 5}, "frame_dir"),
        ({"fps": -1}, "fps"),
    ],
)
def test_a_bad_entry_leaves_the_others(tmp_path: Path, change: dict[str, Any], place: str):
    bad, good = write_and_read(tmp_path, flat(**change), flat(frame_dir="v_two"))
    assert isinstance(bad, SkeletonFormatError)
    assert bad.place == f"annotation 0, {place}"
    assert good.id == "v_two"


def test_the_same_name_twice_and_other_pickles(tmp_path: Path):
    _, twice = write_and_read(tmp_path / "a", flat(), flat())
    assert "frame_dir of its own" in twice.expected
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    for content in (5, {"split": {}}, {"annotations": 3}, {"annotations": [cyclic]}):
        (tmp_path / "a/a.pkl").write_bytes(pickle.dumps(content))
        (error,) = read_folder(tmp_path / "a")
        assert isinstance(error, SkeletonFormatError)
