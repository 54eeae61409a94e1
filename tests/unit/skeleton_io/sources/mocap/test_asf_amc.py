"""ASF/AMC: against scipy on the toy, counts and bodies of the CMU trials, and files that break the format."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.sources.mocap.asf_amc import SOURCE
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import SideInfo

ASSET = Path(__file__).resolve().parents[4] / "assets/asf_amc"
AMC, ASF = (ASSET / "07/07_03.amc").read_bytes(), (ASSET / "07/07.asf").read_bytes()
# (name, parent, rest vector, axis angles, their order, order of the degrees of freedom), typed from the asset.
TOY = [
    ("spine", "root", (0, 8, 0), (10, 20, 30), "xyz", "xyz"),
    ("left_shoulder", "spine", (4, 0, 0), (0, 0, 0), "xyz", ""),
    ("right_shoulder", "spine", (-4, 0, 0), (0, 0, 0), "zyx", "zy"),
    ("left_elbow", "left_shoulder", (5, 0, 0), (180, 30, -90), "xyz", "xyz"),
    ("left_knee", "root", (2.4, -7.631512, 0), (0, 0, 20), "yxz", "x"),
]
ANGLES = {"spine": (10, -5, 20), "left_elbow": (30, 45, -60), "right_shoulder": (12, -8), "left_knee": (25,)}


def read(amc: bytes = AMC, asf: bytes = ASF):
    item = Item(id="07_03", path="07/07_03.amc")
    results = list(
        SOURCE.stream_bytes(((item.path, amc),), item, "cmu", SideInfo(), lambda p: asf if p == "07/07.asf" else None)
    )
    if isinstance(results[0], SkeletonFormatError):
        raise results[0]
    return results[0]


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_forward_kinematics_equals_scipy(frame: int):
    """Small letters of `from_euler` are extrinsic: the first axis turns first, which is what Acclaim means."""
    clip = read()
    scale = 0.0254 / 0.5
    turns = {"root": Rotation.from_euler("xyz", np.array([5, 40, -3]) * frame, degrees=True)}
    ends = {"root": np.array([1 + 0.5 * frame, 17 + 0.5 * frame, 2 * frame])}
    for name, parent, rest, axis, axis_order, order in TOY:
        frame_of = Rotation.from_euler(axis_order, axis, degrees=True)
        angles = np.array(ANGLES.get(name, ())) * frame
        local = Rotation.from_euler(order, angles, degrees=True) if order else Rotation.identity()
        turns[name] = turns[parent] * frame_of * local * frame_of.inv()
        ends[name] = ends[parent] + turns[name].apply(rest)
        place = clip.topology.index[name]
        np.testing.assert_allclose(clip.positions[frame, 0, place], ends[name] * scale, atol=2e-6)
        rotation = Rotation.from_quat(clip.orientations[frame, 0, place], scalar_first=True)
        assert (rotation * turns[name].inv()).magnitude() < 1e-6


def test_record_of_the_toy():
    clip = read()
    assert clip.positions.shape == (3, 1, 6, 3)
    assert (clip.fps, clip.subject, clip.repetition, clip.scale) == (120.0, "7", "3", "metric")
    assert SOURCE.detect(str(ASSET))
    assert SOURCE.list_companions(str(ASSET)) == ["07/07.asf"]


@pytest.mark.parametrize(
    ("amc", "asf", "message"),
    [
        (AMC.replace(b"lfemur 25\n", b""), ASF, "a line of lfemur"),
        (AMC.replace(b"lfemur 25", b"lfemur 25 1"), ASF, "line 15: expected 1 values"),
        (AMC.replace(b"lfemur 25", b"lfemur nan"), ASF, "finite"),
        (AMC.replace(b"lfemur 25", b"ltail 25"), ASF, "a bone with dof"),
        (AMC[:30], ASF, "a frame"),
        (AMC, ASF.replace(b"lclavicle lhumerus", b"lhumerus lclavicle\nlclavicle lhumerus"), "a tree of bones"),
        (AMC, ASF.replace(b"dof rx\n", b"dof rx l\n"), "stretch"),
        (AMC, ASF.replace(b"length 0.5", b"length 0"), "a unit above 0"),
        (AMC, ASF.replace(b"length 0.5", b"length"), "found nothing"),
        (AMC, b"", "a section :units"),
    ],
)
def test_broken_files_say_where(amc: bytes, asf: bytes, message: str):
    with pytest.raises(SkeletonFormatError, match=message):
        read(amc, asf)


def test_a_missing_skeleton_is_named():
    item = Item(id="07_03", path="07_03.amc")
    with pytest.raises(SkeletonFormatError, match=re.escape("a skeleton beside it, 07.asf")):
        SOURCE.read_bytes(AMC, item, "cmu", SideInfo())


def test_real_trials(shared_data: Path):
    root = str(shared_data / "data/cmu_asfamc")
    items = SOURCE.list_items(root)
    assert len(items) == 12
    clips = {item.id: SOURCE.read(root, item, "cmu")[0] for item in items}
    assert min(c.frames for c in clips.values()) == 173
    # 03_03 has 4,563 frame lines; the README's maximum of 4,839 is no trial's.
    assert max(c.frames for c in clips.values()) == 4563
    for clip in clips.values():
        at = clip.topology.index
        body = clip.positions[:, 0]
        stature = np.median(body[:, at["head_top"], 1] - body[:, at["left_foot"], 1])
        assert 1.2 < stature < 1.9
        assert clip.quality["bone_variation"] < 1e-5
        ahead = (
            body[:, at["left_toes"]]
            - body[:, at["left_ankle"]]
            + body[:, at["right_toes"]]
            - body[:, at["right_ankle"]]
        )
        left = np.cross([0, 1, 0], ahead)
        across = body[:, at["left_shoulder"]] - body[:, at["right_shoulder"]]
        assert ((left * across).sum(-1) > 0).mean() > 0.9
