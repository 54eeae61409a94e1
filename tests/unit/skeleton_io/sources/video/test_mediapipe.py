"""MediaPipe dumps: metres from world landmarks, pixels or parts of the image from the others, JSON and both csv."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.topologies import MEDIAPIPE33
from skeleton_io.sources.registry import SOURCES, detect_source
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import SideInfo

ASSETS = Path(__file__).resolve().parents[4] / "assets/mediapipe"
MEDIAPIPE = SOURCES["mediapipe"]


def read(content: Any, path: str = "clip.json", side: SideInfo | None = None) -> Any:
    data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    item = Item(id="clip", path=path)
    (result,) = MEDIAPIPE.stream_bytes(((path, data),), item, "set", side or SideInfo())  # type: ignore[attr-defined]
    return result


def landmarks(x: float = 0.5, **fields: Any) -> list[dict[str, Any]]:
    return [{"x": x + 0.001 * j, "y": 0.02 * j + 0.1, "z": 0.3, "visibility": 0.5, **fields} for j in range(33)]


def test_names_are_mediapipes():
    assert [MEDIAPIPE33.joints[n] for n in (0, 3, 8, 9, 11, 16, 17, 22, 23, 28, 29, 32)] == (
        ["nose", "left_eye_outer", "right_ear", "left_mouth", "left_shoulder", "right_wrist", "left_pinky_1"]
        + ["right_thumb_2", "left_hip", "right_ankle", "left_heel", "right_toes"]
    )


def test_assets():
    items = {item.id: item for item in MEDIAPIPE.list_items(str(ASSETS))}
    wave, wide, long = (MEDIAPIPE.read(str(ASSETS), items[name], "set")[0] for name in ("wave", "wide", "long"))
    assert (wave.positions.shape, wave.scale, wave.label, wave.fps) == ((4, 1, 33, 3), "metric", "wave hand", 25.0)
    # The first landmark is 0.3 m to the image's left, 0.6 m above and 0.1 m nearer than the hips.
    np.testing.assert_allclose(wave.positions[0, 0, 0], [0.3, 0.6, -0.1], rtol=1e-6)
    assert np.isnan(wave.positions[2]).all()
    assert wave.confidence is not None
    np.testing.assert_allclose(wave.confidence[0, 0, 15], 0.1, rtol=1e-6)
    assert np.isfinite(wave.positions[0, 0, 15]).all()  # seldom seen is not missing
    assert (wide.positions.shape, wide.scale, wide.label) == ((3, 1, 33, 2), "normalised", "walk")
    np.testing.assert_allclose(wide.positions[2, 0, 0], [1 - 0.42, 0.9], rtol=1e-6)
    assert (long.frames, long.scale) == (4, "normalised")
    assert np.isnan(long.positions[2]).all()
    source = detect_source(str(ASSETS))
    assert source is not None
    assert source.name == "mediapipe"


def test_pixels_people_and_older_names():
    two = [landmarks(0.2), landmarks(0.7)]
    frames = [{"poseLandmarks": two if n % 2 else two[::-1]} for n in range(4)]
    clip = read({"image_size": [200, 100], "frames": frames})
    assert (clip.scale, clip.positions.shape) == ("pixels", (4, 2, 33, 2))
    assert np.ptp(clip.positions[:, :, 0, 0], axis=0).max() == 0  # linked: nobody swaps
    assert sorted(clip.positions[0, :, 0, 0].tolist()) == pytest.approx([60, 160])
    assert clip.positions[0, 0, 0, 1] == pytest.approx(90)
    rows = [[mark["x"], mark["y"], mark["z"], mark["visibility"]] for mark in landmarks()]
    clip = read([None, {"worldLandmarks": rows}, {"pose_world_landmarks": {"landmark": landmarks()}}])
    assert (clip.scale, clip.frames) == ("metric", 3)
    assert np.isnan(clip.positions[0]).all()
    side = SideInfo(clips={"clip": {"fps": 60.0, "label": "jump"}})
    assert (read([{"landmarks": rows}], side=side).fps, read([{"landmarks": rows}], side=side).label) == (60.0, "jump")


def test_times():
    clip = read([{"timestamp_ms": t, "landmarks": landmarks()} for t in (5, 45, 105)])
    np.testing.assert_allclose(clip.timestamps, [0, 0.04, 0.1])


@pytest.mark.parametrize(
    "content",
    [
        3,
        [],
        {"frames": [5]},
        [{"landmarks": landmarks()[:-1]}],
        [{"landmarks": [{"x": "a", "y": 0}] * 33}],
        [{"landmarks": [[1, 2]] * 33}],
        [{"landmarks": landmarks(float("inf"))}, {"landmarks": landmarks(1e9)}],
        [{"landmarks": [landmarks()] * 300}],
        [{"frame": 3, "landmarks": landmarks()}, {"frame": 3, "landmarks": landmarks()}],
        [{"frame": 0, "landmarks": landmarks()}, {"frame": 10**12, "landmarks": landmarks()}],
        [{"landmarks": []}],
    ],
)
def test_errors(content: Any):
    assert isinstance(read(content), SkeletonFormatError)


def test_table_errors_and_names():
    wide = (ASSETS / "wide.csv").read_text()
    names = ["nose", *MEDIAPIPE33.joints[1:9], "mouth_left", "mouth_right", *MEDIAPIPE33.joints[11:17]]
    names += [f"{side}_{part}" for part in ("pinky", "index", "thumb") for side in ("left", "right")]
    names += [*MEDIAPIPE33.joints[23:31], "left_foot_index", "right_foot_index"]
    header = ",".join(f"{name}_{axis}" for name in names for axis in ("x", "y", "z", "visibility"))
    row = wide.splitlines()[1].removeprefix("walk,")
    clip = read(f"{header}\n{row}\n", "clip.csv")
    np.testing.assert_allclose(clip.positions[0, 0, 0], [0.6, 0.9], rtol=1e-6)
    for text, place in (
        (wide.replace("walk", "run", 1), "column class"),
        (wide.replace("0.8\n", "abc\n", 1), "line 2, column v33"),
        (wide.replace("x33", "q33", 1), "line 1"),
        (wide.replace("walk,", "walk,1,", 1), "line 2"),
        ("frame,landmark,x\n1,0,2\n", "line 1"),
        ("frame,landmark,x,y\n1,99,2,3\n", "line 2"),
        ("frame,landmark,x,y\n1,0,2,3\n999999999,0,1,1\n", "column frame"),
    ):
        error = read(text, "clip.csv")
        assert isinstance(error, SkeletonFormatError)
        assert error.place == place
