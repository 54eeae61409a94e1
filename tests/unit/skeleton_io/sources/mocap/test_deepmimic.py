"""DeepMimic: against scipy on the asset, the 20 clips of the authors, and files that break the format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.sources.mocap.deepmimic import SOURCE
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import SideInfo

ASSET = Path(__file__).resolve().parents[4] / "assets/deepmimic/humanoid3d_turn_left.txt"


def read(data: bytes):
    return SOURCE.read_bytes(data, Item(id="a", path="humanoid3d_a.txt"), "deepmimic", SideInfo())[0]


def test_forward_kinematics_equals_scipy():
    clip = read(ASSET.read_bytes())
    frame = 2
    y, z, x = ("y", "z", "x")

    def turn(axis: str, degrees: float) -> Rotation:
        return Rotation.from_euler(axis, degrees, degrees=True)

    root, at = turn(y, 60), np.array([0.2, 0.9, -0.4])
    chest = root * turn(z, -10)
    chest_at = at + root.apply([0, 0.236151, 0])
    shoulder_at = chest_at + chest.apply([-0.02405, 0.2435, 0.18311])
    shoulder = chest * turn(x, -50)
    elbow_at = shoulder_at + shoulder.apply([0, -0.274788, 0])
    wrist_at = elbow_at + (shoulder * Rotation.from_euler(z, 1.0)).apply([0, -0.258947, 0])
    hip_at = at + root.apply([0, 0, -0.084887])
    knee_at = hip_at + (root * turn(x, -6)).apply([0, -0.421546, 0])
    ankle_at = knee_at + (root * turn(x, -6) * Rotation.from_euler(z, -1.2)).apply([0, -0.40987, 0])
    expected = {"right_shoulder": shoulder_at, "right_elbow": elbow_at, "right_wrist": wrist_at,
              "left_hip": hip_at, "left_knee": knee_at, "left_ankle": ankle_at}  # fmt: skip
    for name, goal in expected.items():
        place = clip.positions[frame, 0, clip.topology.index[name]]
        np.testing.assert_allclose(place, goal, atol=2e-6, err_msg=name)


def test_record_of_the_asset():
    (item,) = SOURCE.list_items(str(ASSET.parent))
    (clip,) = SOURCE.read(str(ASSET.parent), item, "deepmimic")
    assert SOURCE.detect(str(ASSET.parent))
    assert (clip.label, clip.fps, clip.timestamps, clip.notes) == ("turn left", 25.0, None, ("Loop: none",))
    assert clip.quality["bone_variation"] < 1e-6


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[1, 2", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"Frames": []}', "Frames"),
        (b'{"Frames": [[1, 2]]}', "frame 0: expected 44 numbers, found 2"),
        (json.dumps({"Frames": [[0.1] + [0.0] * 43]}).encode(), "a quaternion is 0"),
        (json.dumps({"Frames": [[0.1] + [1.0] * 42 + [1e999]]}).encode(), "finite"),
        (json.dumps({"Frames": [[0.0] + [1.0] * 43] * 3}).encode(), "durations"),
        (json.dumps({"Frames": [[0.1] + ["x"] * 43]}).encode(), "numbers"),
    ],
)
def test_broken_files_say_where(data: bytes, message: str):
    with pytest.raises(SkeletonFormatError, match=message):
        read(data)


def test_uneven_durations_become_times():
    frames = json.loads(ASSET.read_text())["Frames"]
    frames[1][0] = 0.1
    clip = read(json.dumps({"Frames": frames}).encode())
    assert clip.timestamps is not None
    np.testing.assert_allclose(clip.timestamps, [0, 0.04, 0.14])


def test_real_clips(shared_data: Path):
    root = str(shared_data / "data/deepmimic")
    clips = {item.id: SOURCE.read(root, item, "deepmimic")[0] for item in SOURCE.list_items(root)}
    assert len(clips) == 20
    assert {clip.fps for clip in clips.values()} == {16.0, 24.0, 30.0, 60.0, 120.0}
    assert [name for name, clip in clips.items() if clip.timestamps is not None] == ["humanoid3d_roll"]
    for name in ("walk", "run", "jog", "zombie_walk", "stealthy_walk"):
        clip = clips[f"humanoid3d_{name}"]
        at, body = clip.topology.index, clip.positions[:, 0]
        ahead = np.cross([0, 1, 0], body[:, at["right_shoulder"]] - body[:, at["left_shoulder"]]).mean(0)
        path = body[-1, 0] - body[0, 0]
        assert ahead @ path / np.linalg.norm(ahead) / np.linalg.norm(path) > 0.9, name
        assert 0 < body[:, at["left_ankle"], 1].min() < 0.15, name
        assert 1.2 < body[:, at["head"], 1].max() < 1.7, name
