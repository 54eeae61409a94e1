"""Each format's tiny asset gives the numbers that were written into it; cut or spoilt, it ends in the one error."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.registry import SOURCES
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import SideInfo

ROOT = Path(__file__).resolve().parents[3] / "assets"


def mat_bytes() -> bytes:
    stream = io.BytesIO()
    values = np.arange(20 * 3 * 2, dtype=float).reshape(20, 3, 2) / 10
    values[4, :, 1] = 0
    scipy.io.savemat(stream, {"d_skel": values})
    return stream.getvalue()


ASSETS: dict[str, tuple[str, bytes]] = {
    "ntu": ("S001C002P003R001A023.skeleton", (ROOT / "ntu/S001C002P003R001A023.skeleton").read_bytes()),
    "bvh": ("turn.bvh", (ROOT / "bvh/turn.bvh").read_bytes()),
    "bandai_namco_1": ("data/dataset-1_walk-back_happy_002.bvh", (ROOT / "bvh/turn.bvh").read_bytes()),
    "coco17": ("wrapper.json", (ROOT / "coco17/wrapper.json").read_bytes()),
    "msr_action3d": (
        "a01_s02_e03_skeleton3D.txt",
        (ROOT / "msr_action3d/real_world_coordinates/a01_s02_e03_skeleton3D.txt").read_bytes(),
    ),
    "utd_mhad": ("a9_s2_t3_skeleton.mat", mat_bytes()),
    "nw_ucla": ("a08_s02_e01_v03.json", (ROOT / "nw_ucla/a08_s02_e01_v03.json").read_bytes()),
    "sbu": ("s01s02/05/001/skeleton_pos.txt", (ROOT / "sbu/s01s02/05/001/skeleton_pos.txt").read_bytes()),
}


def read(name: str, data: bytes | None = None, side: SideInfo | None = None) -> list[SkeletonSequence]:
    path, content = ASSETS[name]
    item = Item(id=Path(path).stem, path=path)
    return SOURCES[name].read_bytes(content if data is None else data, item, "set", side or SideInfo())


def only(name: str, data: bytes | None = None, side: SideInfo | None = None) -> SkeletonSequence:
    clips = read(name, data, side)
    assert len(clips) == 1
    return clips[0]


def test_every_source_has_an_asset():
    with_folder = {name for name in SOURCES if (ROOT / name).is_dir() and SOURCES[name].list_items(str(ROOT / name))}
    assert set(ASSETS) | with_folder == set(SOURCES)


def test_ntu_tracks_names_and_missing_joints():
    clip = only("ntu")
    assert clip.positions.shape == (3, 2, 25, 3)
    assert (clip.label, clip.view, clip.subject, clip.repetition, clip.setup) == ("hand waving", "2", "3", "1", "1")
    # The moving person comes first though the file lists it second.
    assert clip.track_ids == ("7205759403794", "7205759403793")
    np.testing.assert_allclose(clip.positions[2, 0, 3], [1.23, -0.45, 2.503], atol=1e-6)
    assert np.isnan(clip.positions[:, 1, 23]).all()
    assert clip.confidence is not None
    assert clip.confidence[0, 1, 22:25].tolist() == [1.0, 0.0, 0.5]
    assert clip.orientations is not None
    np.testing.assert_array_equal(clip.orientations[0, 0, 0], [1, 0, 0, 0])
    own_label = only("ntu", side=SideInfo(names={"A023": "my wave"}))
    assert own_label.label == "my wave"


def test_bvh_forward_kinematics_names_and_unit():
    clip = only("bvh")
    assert clip.topology.joints == (
        ("pelvis", "spine", "head", "head_top", "left_shoulder", "left_elbow", "left_wrist", "left_hand_tip")
        + ("left_hip", "left_knee", "left_ankle")
    )
    assert clip.fps == 30.0
    assert "centimetres" in clip.source_transform
    at = clip.topology.index
    np.testing.assert_allclose(clip.positions[0, 0, at["head_top"]], [0, 1.85, 0], atol=1e-6)
    np.testing.assert_allclose(clip.positions[0, 0, at["left_ankle"]], [0.1, 0.05, 0], atol=1e-6)
    # The root turned by 90 degrees about y and moved: x of the arm becomes -z.
    np.testing.assert_allclose(clip.positions[1, 0, at["left_shoulder"]], [0, 1.5, 0.8], atol=1e-6)
    # Rz(90) at the shoulder, then the elbow's own position channels and Ry(-90).
    np.testing.assert_allclose(clip.positions[2, 0, at["left_elbow"]], [0.2, 1.85, 0], atol=1e-6)
    np.testing.assert_allclose(clip.positions[2, 0, at["left_wrist"]], [0.2, 1.85, 0.25], atol=1e-6)


@pytest.mark.parametrize(
    ("factor", "unit"),
    [(0.01, "metres"), (10, "millimetres"), (1 / 2.54, "inches"), (0.177, "CMU"), (0.001, "no unit")],
)
def test_bvh_units_are_told_by_stature(factor: float, unit: str):
    lines = []
    motion = False
    for line in ASSETS["bvh"][1].decode().split("\n"):
        words = line.split()
        if words[:1] == ["OFFSET"]:
            words[1:] = [f"{float(word) * factor:.8f}" for word in words[1:]]
        elif motion and len(words) == 33:
            for place in (0, 1, 2, 15, 16, 17):
                words[place] = f"{float(words[place]) * factor:.8f}"
        motion = motion or words[:1] == ["MOTION"]
        lines.append(" ".join(words))
    clip = only("bvh", "\n".join(lines).encode())
    assert unit in clip.source_transform
    assert clip.scale == ("normalised" if unit == "no unit" else "metric")
    np.testing.assert_allclose(clip.positions[0, 0, 3, 1], 1.85, rtol=0.02)


def test_bvh_with_z_up_is_turned():
    text = ASSETS["bvh"][1].decode()
    # The same figure in a world whose z is up: the root alone is turned by +90 degrees about x.
    z_up = text.replace("\n0 95 0 0 0 0 ", "\n0 0 95 0 90 0 ").replace("\n0 95 100 0 0 90 ", "\n0 -100 95 0 90 0 ")
    clip, straight = only("bvh", z_up.encode()), only("bvh")
    assert "z was up" in clip.source_transform
    np.testing.assert_allclose(clip.positions[0], straight.positions[0], atol=1e-6)
    np.testing.assert_allclose(clip.orientations[0], straight.orientations[0], atol=1e-6)


def test_bandai_name_and_container_joint():
    text = ASSETS["bvh"][1].decode().replace("HIERARCHY\nROOT Hips", "HIERARCHY\nROOT joint_Root\n{\nOFFSET 0 0 0\n"
        "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\nJOINT Hips")  # fmt: skip
    text = text.replace("MOTION", "}\nMOTION").replace("\n0 95", "\n100 0 0 0 0 0 0 95")
    clip = only("bandai_namco_1", text.encode())
    assert (clip.label, clip.setup, clip.repetition) == ("walk back", "happy", "2")
    assert clip.topology.joints[0] == "pelvis"
    np.testing.assert_allclose(clip.positions[0, 0, 0], [1.0, 0.95, 0], atol=1e-6)


def test_coco17_wrapper():
    clip = only("coco17")
    assert clip.positions.shape == (4, 2, 17, 2)
    assert (clip.scale, clip.image_size, clip.fps) == ("pixels", (640, 480), 25.0)
    assert (clip.label, clip.subject, clip.captions) == ("wave hand", "P001", ("someone waves",))
    assert clip.track_ids == ("7", "9")
    np.testing.assert_allclose(clip.positions[2, 0, 3], [640 - (108 + 6), 480 - 80])
    assert np.isnan(clip.positions[1, 0, 3]).all()
    np.testing.assert_allclose(clip.confidence[0, 0, 0], 0.9, rtol=1e-6)


def test_coco17_alphapose_takes_size_and_rate_from_the_side_file():
    data = (ROOT / "coco17/alphapose.json").read_bytes()
    clip = only("coco17", data, SideInfo(clips={"wrapper": {"image_size": (320, 240), "fps": 10.0, "label": "run"}}))
    assert (clip.image_size, clip.fps, clip.label, clip.track_ids) == ((320, 240), 10.0, "run", ("1",))
    np.testing.assert_allclose(clip.positions[:, 0, 0, 0], [220, 216, 212])
    assert "taken from the keypoints" in only("coco17", data).notes[-1]


def test_coco17_mmpose_links_people_by_distance():
    clip = only("coco17", (ROOT / "coco17/mmpose.json").read_bytes())
    assert clip.positions.shape == (4, 2, 17, 2)
    steps = np.diff(clip.positions[:, :, 0, 0], axis=0)
    np.testing.assert_allclose(steps, -4)  # nobody swaps, though the file's order alternates


def test_msr_layout():
    clip = only("msr_action3d")
    assert clip.positions.shape == (2, 1, 20, 3)
    assert (clip.label, clip.subject, clip.repetition, clip.fps) == ("high arm wave", "2", "3", 15.0)
    assert np.isnan(clip.positions[1, 0, clip.topology.index["left_hip"]]).all()
    # Confidence 0 beside a position does not make it missing.
    assert np.isfinite(clip.positions[0, 0, clip.topology.index["spine"]]).all()
    assert clip.confidence[0, 0, clip.topology.index["spine"]] == 0


def test_utd_layout():
    clip = only("utd_mhad")
    assert (clip.label, clip.subject, clip.repetition) == ("draw circle clockwise", "2", "3")
    np.testing.assert_allclose(clip.positions[1, 0, clip.topology.index["head"]], [0.1, 0.3, 0.5], rtol=1e-6)
    assert np.isnan(clip.positions[1, 0, 4]).all()


def test_ucla_layout():
    clip = only("nw_ucla")
    assert (clip.label, clip.subject, clip.view, clip.repetition) == ("donning", "2", "3", "1")
    np.testing.assert_allclose(clip.positions[1, 0, 3], [0.3, 0.15, 3.0], rtol=1e-6)


def test_sbu_metric_inverse():
    clip = only("sbu")
    assert (clip.label, clip.subject, clip.repetition) == ("shaking hands", "s01s02", "1")
    assert clip.positions.shape == (3, 2, 15, 3)
    # x_n = 0.25 lies left of the image's centre: +x; y_n = 0.1 above it: +y.
    np.testing.assert_allclose(clip.positions[0, 0, 0], [0.64, 0.768, 1.92], rtol=1e-6)
    np.testing.assert_allclose(clip.positions[0, 1, 0, 0], -0.64, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_truncations_end_in_a_record_or_the_one_error(name: str):
    path, data = ASSETS[name]
    errors = []
    for size in range(0, len(data), max(1, len(data) // 97)):
        try:
            read(name, data[:size])
        except SkeletonFormatError as error:
            errors.append(error)
    assert errors
    assert all(error.path == path and error.expected and error.found for error in errors)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
@pytest.mark.parametrize("name", sorted(ASSETS))
def test_spoilt_bytes_end_in_a_record_or_the_one_error(name: str, data: st.DataObject):
    content = bytearray(ASSETS[name][1])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        clips = read(name, bytes(content))
    except SkeletonFormatError:
        return
    assert all(np.isfinite(clip.positions).any() for clip in clips)


@pytest.mark.parametrize(
    ("name", "old", "new", "place", "expected"),
    [
        ("ntu", "1.01 -0.55", "1.01 abc", "line 33", "a number"),
        ("ntu", "\n25\n", "\n24\n", "line 4", "25 joints"),
        ("msr_action3d", "0.100000 0.050000", "0.100000 x", "line 2", "a number"),
        ("bvh", "Frames: 3", "Frames: 4", "end of file", "4 frames"),
        ("bvh", "Zrotation Xrotation Yrotation\n  JOINT Spine", "Zrotation Xrotation W\n  JOINT Spine", "line 5", "X"),
        ("bvh", "OFFSET 0 30 0", "OFFSET 0 30", "line 9", "a number"),
        ("sbu", "55,", "55,1,", "line 1", "91 numbers"),
        ("sbu", "\n56,", "\n54,", "row 2", "grow"),
        ("coco17", '"keypoints": [100, ', '"keypoints": [', "entry 0, keypoints", "51 numbers"),
        ("coco17", '"fps": 25', '"fps": 0', "fps", "above 0"),
        ("nw_ucla", '"skeletons"', '"bones"', "whole file", "skeletons"),
    ],
)
def test_errors_say_where_and_what(name: str, old: str, new: str, place: str, expected: str):
    text = ASSETS[name][1].decode()
    assert old in text
    with pytest.raises(SkeletonFormatError) as caught:
        read(name, text.replace(old, new, 1).encode())
    assert caught.value.place == place
    assert expected in caught.value.expected


@pytest.mark.parametrize("name", ["ntu", "msr_action3d", "nw_ucla", "sbu", "utd_mhad", "coco17"])
def test_all_zeros_are_refused(name: str):
    if name == "utd_mhad":
        stream = io.BytesIO()
        scipy.io.savemat(stream, {"d_skel": np.zeros((20, 3, 2))})
        data = stream.getvalue()
    elif name == "nw_ucla":
        data = json.dumps({"skeletons": np.zeros((2, 20, 3)).tolist()}).encode()
    elif name == "coco17":
        data = json.dumps([{"image_id": 0, "keypoints": [0] * 51, "score": 1}]).encode()
    elif name == "ntu":
        body = ["9 0 1 1 1 1 0 0 0 2", "25", *["0 0 0 0 0 0 0 0 0 0 0 0"] * 25]
        data = "\n".join(["1", "1", *body]).encode()
    elif name == "sbu":
        data = ",".join(["1", *["0"] * 90]).encode()
    else:
        data = "\n".join(["0 0 0 0"] * 20).encode()
    with pytest.raises(SkeletonFormatError, match=r"present|without any"):
        read(name, data)
