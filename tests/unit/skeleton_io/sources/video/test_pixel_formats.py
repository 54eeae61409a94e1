"""OpenPose frames, Kinetics-skeleton, COCO-17: identity over frames, missing joints, and files that lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.topologies import BODY25, BODY25_HANDS, OPENPOSE18
from skeleton_io.sources.registry import SOURCES, detect_source
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import SideInfo

ASSETS = Path(__file__).resolve().parents[4] / "assets"


def stream(name: str, root: Path) -> list[Any]:
    source = SOURCES[name]
    return [result for item in source.list_items(str(root)) for result in source.stream(str(root), item, "set")]


def read(name: str, *contents: Any) -> Any:
    """One item of the given JSON contents; the clip, or the error."""
    parts = tuple((f"clip/{number:03d}.json", json.dumps(content).encode()) for number, content in enumerate(contents))
    item = Item(id="clip", path=parts[0][0], parts=tuple(path for path, _ in parts))
    (result,) = SOURCES[name].stream_bytes(parts, item, "set", SideInfo())  # type: ignore[attr-defined]
    return result


def body(x: float, joints: int = 25, score: float = 0.8) -> list[float]:
    return [value for j in range(joints) for value in (x + 2 * j, 50 + 5 * j, score)]


def frame(*people: list[float], **fields: Any) -> dict[str, Any]:
    return {"people": [{"person_id": [-1], "pose_keypoints_2d": person, **fields} for person in people]}


def test_openpose_asset():
    (clip,) = stream("openpose", ASSETS / "openpose")
    assert (clip.id, clip.topology, clip.positions.shape) == ("wave.clip", BODY25_HANDS, (4, 2, 67, 2))
    width, height = clip.image_size
    # Nobody swaps though the file's order alternates; the one who moves comes first.
    np.testing.assert_allclose(width - clip.positions[:, 0, 0, 0], [100, 104, 108, 112])
    np.testing.assert_allclose(width - clip.positions[:, 1, 0, 0], 300)
    at = clip.topology.index
    np.testing.assert_allclose(height - clip.positions[3, 0, at["right_wrist"], 1], 50 + 20 - 30)
    assert np.isnan(clip.positions[2, 0, at["left_wrist"]]).all()
    np.testing.assert_allclose(width - clip.positions[0, 0, at["left_pinky_tip"], 0], 150 + 40)
    assert np.isnan(clip.positions[1, 0, at["right_hand"] : at["right_hand"] + 21]).all()
    assert np.isnan(clip.positions[:, 1, at["left_hand"] :]).all()
    np.testing.assert_allclose(clip.confidence[0, 0, at["right_hand"]], 0.25)
    source = detect_source(str(ASSETS / "openpose"))
    assert source is not None
    assert source.name == "openpose"


def test_openpose_identities_kinds_and_gaps():
    assert read("openpose", frame(body(10, 18)), frame(body(11, 18))).topology is OPENPOSE18
    tracked = [{"people": [{"person_id": [n], "pose_keypoints_2d": body(x)} for n, x in pair]}
               for pair in (((4, 10), (7, 300)), ((4, 300), (7, 10)))]  # fmt: skip
    clip = read("openpose", *tracked)
    assert sorted(clip.track_ids) == ["4", "7"]  # the file's identity wins over the distance
    clip = read("openpose", frame(), frame(body(10)), frame(), frame(body(10), face_keypoints_2d=[1, 2, 3]))
    assert clip.topology is BODY25
    assert np.isfinite(clip.positions).all((1, 2, 3)).tolist() == [False, True, False, True]
    assert "face keypoints are not kept" in clip.notes[0]


def test_openpose_errors():
    for contents, place in (
        ([{"people": 3}], "clip/000.json"),
        ([frame(body(1)), frame(body(1)[:-1])], "clip/001.json, person 0, pose_keypoints_2d"),
        ([frame(body(1)), frame(body(1, 18))], "people"),
        ([frame()], "whole file"),
        ([frame([0] * 75)], "whole file"),
        ([frame(["x"] * 75)], "clip/000.json, person 0, pose_keypoints_2d"),
        ([frame([[1, 2]] * 75)], "clip/000.json, person 0, pose_keypoints_2d"),
        ([frame(*[body(1)] * 300)], "frame 0"),
        ([frame([1e300] * 75)], "clip/000.json, person 0, pose_keypoints_2d"),
    ):
        error = read("openpose", *contents)
        assert isinstance(error, SkeletonFormatError), contents
        assert error.place == place


def test_openpose_real_samples(shared_data: Path):
    clips = stream("openpose", shared_data / "data/format_samples/openpose_body25_json")
    assert [(clip.id, clip.frames, clip.persons) for clip in clips] == [("27", 90, 1), ("32", 90, 1)]
    for clip in clips:
        at = clip.topology.index
        assert clip.topology is BODY25_HANDS
        assert np.nanmedian(clip.positions[:, 0, at["nose"], 1]) > np.nanmedian(clip.positions[:, 0, at["pelvis"], 1])
        assert clip.quality["missing_share"] < 0.2


def test_kinetics_asset():
    clip, empty, from_list = stream("kinetics_skeleton", ASSETS / "kinetics_skeleton")
    assert (clip.topology, clip.label, clip.setup, clip.fps) == (OPENPOSE18, "juggling fire", "train", 30.0)
    assert (clip.image_size, clip.positions.shape) == ((340, 256), (4, 2, 18, 2))
    mover = 340 - clip.positions[:, 0, 0, 0]
    np.testing.assert_allclose(mover, [0.21 * 340, 0.22 * 340, np.nan, 0.24 * 340], rtol=1e-5)
    assert np.isnan(clip.positions[1, 0, clip.topology.index["right_wrist"]]).all()
    assert np.isnan(clip.positions[2]).all()
    assert isinstance(empty, SkeletonFormatError)
    assert (empty.expected, empty.found) == ("a skeleton", "1 frames without any")
    assert (from_list.label, from_list.frames) == ("tap dancing", 2)
    source = detect_source(str(ASSETS / "kinetics_skeleton"))
    assert source is not None
    assert source.name == "kinetics_skeleton"


@pytest.mark.parametrize(
    "data",
    [
        3,
        [5],
        [{"frame_index": "1", "skeleton": []}],
        [{"frame_index": 1, "skeleton": {}}],
        [{"frame_index": 1, "skeleton": [{"pose": [0.5] * 36}]}],
        [{"frame_index": 1, "skeleton": [{"pose": [0.5] * 35, "score": [1] * 18}]}],
        [{"frame_index": n, "skeleton": [{"pose": [0.5] * 36, "score": [1] * 18}]} for n in (1, 900_000)],
    ],
)
def test_kinetics_errors(data: Any):
    assert isinstance(read("kinetics_skeleton", {"data": data, "label": "x"}), SkeletonFormatError)


def coco(x: float) -> list[float]:
    return body(x, 17)


def test_alphapose_with_its_tracker():
    content = {
        f"{n}.jpg": [{"keypoints": coco(300), "idx": 1.0}, {"keypoints": coco(10 + n), "idx": 2}] for n in (3, 4, 6)
    }
    clip = read("coco17", content)
    assert (clip.frames, clip.persons, clip.track_ids) == (4, 2, ("2", "1"))
    assert np.isnan(clip.positions[2]).all()


def test_mmpose_list_alone_and_score_zero():
    points = [[100.0 + j, 50.0 + 2 * j] for j in range(17)]
    people = [{"keypoints": points, "keypoint_scores": [0.0] + [0.7] * 16, "bbox": [[0, 0, 1, 1]], "bbox_score": 0.9}]
    clip = read("coco17", [{"frame_id": n, "instances": people if n != 1 else []} for n in range(3)])
    assert clip.frames == 3
    assert np.isnan(clip.positions[:, 0, 0]).all()
    assert np.isfinite(clip.positions[0, 0, 1:]).all()
    for bad in ([{"frame_id": 0, "instances": 3}], [{"frame_id": 0, "instances": [4]}]):
        assert isinstance(read("coco17", bad), SkeletonFormatError)


def test_a_truth_value_is_no_number_of_pixels():
    keypoints = {"image_id": "0.jpg", "category_id": 1, "keypoints": body(10, 17), "score": 1.0}
    result = read("coco17", {"image_size": [True, 480], "frames": [keypoints, keypoints]})
    assert isinstance(result, SkeletonFormatError)
    assert result.place == "image_size"


def test_a_person_that_jumps_in_every_frame_ends_in_an_error_or_a_record():
    """Each frame makes a track of its own: the slots would take frames times tracks."""
    content = [{"image_id": n, "keypoints": coco(5000.0 * (n % 150)), "score": 1} for n in range(3000)]
    result = read("coco17", content)
    assert isinstance(result, SkeletonFormatError)
    assert "coordinates in one clip" in result.found
