"""BVH: channels in any order and number on any joint, files that ask for too much, the real hierarchies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.mocap.bvh import SOURCE
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import SideInfo

HEAD = """HIERARCHY
ROOT Hips
{
OFFSET 0 90 0
CHANNELS 3 Yrotation Xrotation Zrotation
JOINT Chest
{
OFFSET 0 40 0
CHANNELS 6 ZPOSITION Xposition Yposition Xrotation Zrotation Yrotation
JOINT Head
{
OFFSET 0 25 0
CHANNELS 1 Xrotation
JOINT Crown
{
OFFSET 0 10 0
}
}
}
JOINT LeftUpLeg
{
OFFSET 10 -5 0
JOINT LeftLeg
{
OFFSET 0 -40 0
CHANNELS 2 Zrotation Xrotation
JOINT LeftFoot
{
OFFSET 0 -40 0
End Site
{
OFFSET 0 0 12
}
}
}
}
}
MOTION
Frames: 2
Frame Time: 0.05
"""
ROW = [30, -20, 10, 3, 1, 44, 15, 25, 35, -50, 12, -34]


def read(text: str) -> SkeletonSequence:
    return SOURCE.read_bytes(text.encode(), Item(id="a", path="a.bvh"), "d", SideInfo())[0]


def test_three_and_six_channels_in_any_order():
    rows = [" ".join("0" for _ in ROW), " ".join(map(str, ROW))]
    clip = read(HEAD + "\n".join(rows) + "\n")
    at = clip.topology.index
    assert (clip.fps, clip.scale) == (20.0, "metric")
    body = clip.positions[1, 0].astype(float) * 100
    hips = Rotation.from_euler("YXZ", ROW[:3], degrees=True)
    chest_at = np.array([0, 90, 0]) + hips.apply([1, 44, 3])
    chest = hips * Rotation.from_euler("XZY", ROW[6:9], degrees=True)
    head_at = chest_at + chest.apply([0, 25, 0])
    crown_at = head_at + (chest * Rotation.from_euler("X", -50, degrees=True)).apply([0, 10, 0])
    knee_at = np.array([0, 90, 0]) + hips.apply([10, -45, 0])
    knee = hips * Rotation.from_euler("ZX", [12, -34], degrees=True)
    expected = {"head": head_at, "left_knee": knee_at, "left_ankle": knee_at + knee.apply([0, -40, 0]),
              "left_toes": knee_at + knee.apply([0, -40, 12])}  # fmt: skip
    for name, place in expected.items():
        np.testing.assert_allclose(body[at[name]], place, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(body[clip.topology.joints.index("crown")], crown_at, atol=1e-4)


def test_a_small_file_cannot_ask_for_much_memory():
    """900 joints without channels times 100,000 short lines are 5 GiB of positions and rotations."""
    joints = "".join(f"JOINT J{i}\n{{\nOFFSET 0 1 0\n}}\n" for i in range(900))
    text = f"HIERARCHY\nROOT Hips\n{{\nOFFSET 0 0 0\nCHANNELS 1 Xrotation\n{joints}}}\nMOTION\n"
    with pytest.raises(SkeletonFormatError, match="joints times frames, found 100000 x 901"):
        read(f"{text}Frames: 100000\nFrame Time: 0.01\n" + "0\n" * 100_000)


@pytest.mark.parametrize(
    ("folder", "files", "frames", "joints", "fps"),
    [("format_samples/xia_bvh", 5, (105, 297), {31}, 120.0), ("aalto_words", 24, (185, 1068), {24}, 100.0)],
)
def test_real_sets(shared_data: Path, folder: str, files: int, frames: tuple[int, int], joints: set[int], fps: float):
    root = str(shared_data / "data" / folder)
    assert SOURCE.detect(root)
    clips = [clip for item in SOURCE.list_items(root) for clip in SOURCE.read(root, item, "d")]
    assert len(clips) == files
    assert (min(clip.frames for clip in clips), max(clip.frames for clip in clips)) == frames
    assert {len(clip.topology.joints) for clip in clips} == joints
    for clip in clips:
        at, body = clip.topology.index, clip.positions[:, 0]
        assert (clip.fps, clip.scale) == (fps, "metric")
        assert clip.quality["bone_variation"] < 1e-5
        assert 1.1 < np.median(body[:, at["head"], 1] - body[:, at["left_ankle"], 1]) < 1.6
        feet = [body[:, at[f"{side}_toes"]] - body[:, at[f"{side}_ankle"]] for side in ("left", "right")]
        across = body[:, at["left_shoulder"]] - body[:, at["right_shoulder"]]
        # Feet lifted behind the body point down and for moments back.
        assert ((np.cross([0, 1, 0], sum(feet)) * across).sum(-1) > 0).mean() > 0.8
