"""SFINGE3D, Berkeley MHAD, MSRC-12, KIMORE, PKU-MMD and rows without a sequence id: assets and what spoils them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.rotations import matrices_of_quaternions
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topology import common_joints, joint_meaning
from skeleton_io.sources.registry import SOURCES, detect_source
from skeleton_io.sources.shared.files import ClipOrError, FileSource, Item
from skeleton_io.sources.shared.side_files import SideInfo

ASSETS = Path(__file__).resolve().parents[4] / "assets"
MEMBERS = {
    "sfinge3d": "Sequences/2.txt",
    "berkeley_mhad": "skl_s04_a06_r02_pos.csv",
    "msrc12": "P1_2_7A_p09.csv",
    "kimore": "CG/E_ID3/Es5/input.csv",
    "pku_mmd": "PKU_Skeleton_Renew/0007-R.txt",
}


def read_all(name: str, root: Path | None = None) -> dict[str, list[ClipOrError]]:
    source, folder = SOURCES[name], str(root or ASSETS / name)
    return {item.id: list(source.stream(folder, item, "set")) for item in source.list_items(folder)}


def clips(name: str, root: Path | None = None) -> dict[str, SkeletonSequence]:
    return {f.id: f for fs in read_all(name, root).values() for f in fs if isinstance(f, SkeletonSequence)}


def read_changed(name: str, folder: Path, file: str, old: str, new: str) -> list[ClipOrError]:
    """What the asset gives with a text replaced in one of its files."""
    shutil.copytree(ASSETS / name, folder, dirs_exist_ok=True)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    return [f for fs in read_all(name, folder).values() for f in fs]


def test_sfinge_gesture_and_stream():
    both = clips("sfinge3d")
    gesture, stream = both["Dictionary_7_3"], both["Sequences_2"]
    assert (gesture.label, gesture.repetition, gesture.setup, gesture.fps) == ("grab", "3", "dictionary", 20.0)
    assert (stream.label, stream.frames) == (None, 12)
    assert [(s.start, s.end, s.label) for s in stream.segments] == [
        (0.05, 0.2, "swipe right"),
        (0.3, 0.55, "tap"),
    ]


def test_sfinge_hand_is_a_right_one_in_a_right_handed_frame():
    clip = clips("sfinge3d")["Dictionary_7_3"]
    at = clip.topology.index
    points = clip.positions[0, 0]
    np.testing.assert_allclose(points[at["right_hand"]], [0.2, 1.2, -0.3], atol=1e-6)
    # Fingers forward (-z, towards the sensor), palm down: forward x up is the right, away from the thumb.
    forward = points[at["right_middle_tip"]] - points[at["right_hand"]]
    thumb = points[at["right_thumb_2"]] - points[at["right_hand"]]
    assert np.cross(forward, [0, 1, 0]) @ thumb < 0
    # The quaternion turns +x onto the bone, in the record's frame as in the file's.
    assert clip.orientations is not None
    turned = matrices_of_quaternions(clip.orientations[0, 0].astype(np.float64))[:, :, 0]
    bone = points[at["right_index_2"]] - points[at["right_index_1"]]
    np.testing.assert_allclose(turned[at["right_index_1"]], bone / np.linalg.norm(bone), atol=1e-3)


def test_hand_joints_are_of_the_vocabulary():
    hand = clips("sfinge3d")["Dictionary_7_3"].topology
    assert all(joint_meaning(joint).limb == "hand" and joint_meaning(joint).side == "right" for joint in hand.joints)
    # A body with hands shares them; Kinect has the palm only.
    kinect = clips("kimore")["CG.E_ID3.Es5.input"].topology
    assert [name for name, _, _ in common_joints(hand, kinect)] == ["right_hand"]
    orders = [joint_meaning(f"right_index_{at}").order for at in ("1", "2", "3", "tip")]
    assert orders == sorted(orders)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("2,2,11,1,4", "2,3,11,1,4", "sequencesGT.csv line 2"),
        ("9,6,11", "9,6,12", "sequencesGT.csv line 2"),
        ("2,2,11", "2,2,14", "sequencesGT.csv line 2"),
        ("2,2,11", "2,2,x", "sequencesGT.csv line 2"),
    ],
)
def test_sfinge_truth_that_does_not_hold(tmp_path: Path, old: str, new: str, place: str):
    results = read_changed("sfinge3d", tmp_path, "Sequences/sequencesGT.csv", old, new)
    errors = [f for f in results if isinstance(f, SkeletonFormatError)]
    assert [error.place for error in errors] == [place]
    assert len(results) == 2


def test_berkeley_columns_by_name(tmp_path: Path):
    (clip,) = clips("berkeley_mhad").values()
    assert (clip.fps, clip.timestamps) == (480.0, None)
    assert (clip.id, clip.label, clip.subject, clip.repetition) == ("s04_a06_r02", "wave one hand", "4", "2")
    at = clip.topology.index
    np.testing.assert_allclose(clip.positions[2, 0, at["right_wrist"]], [0.4, 0.79, 0.09], rtol=1e-5)
    np.testing.assert_allclose(clip.positions[0, 0, at["left_knee"]], [0.69, 0.48, 0.05], rtol=1e-5)
    # Another order of the columns gives the same record.
    path = tmp_path / "skl_s04_a06_r02_pos.csv"
    rows = [line.split(",") for line in (ASSETS / "berkeley_mhad" / path.name).read_text().splitlines()]
    path.write_text("\n".join(",".join([*row[40:], *row[:40]]) for row in rows))
    (turned,) = clips("berkeley_mhad", tmp_path).values()
    np.testing.assert_array_equal(turned.positions, clip.positions)


def test_msrc_tags_times_and_missing_frames(tmp_path: Path):
    (clip,) = clips("msrc12").values()
    assert (clip.label, clip.subject, clip.setup, clip.repetition) == ("bow", "9", "1.2", "A")
    assert clip.frames == 6
    assert np.isnan(clip.positions[:2]).all()
    assert np.isfinite(clip.positions[2:]).all()
    assert clip.timestamps is not None
    np.testing.assert_allclose(clip.timestamps[:3], [0, 0.033, 0.066])
    np.testing.assert_allclose([s.start for s in clip.segments], [0.099, 0.15], atol=1e-6)
    assert all(s.start == s.end and s.label == "bow" for s in clip.segments)
    assert clip.confidence is not None
    assert clip.confidence[4, 0, 19] == 0
    # In the release's other layout the tags lie in a folder of their own; without them the name gives the label.
    data, tags = tmp_path / "data", tmp_path / "tagstream"
    data.mkdir()
    tags.mkdir()
    shutil.copy(ASSETS / "msrc12/P1_2_7A_p09.csv", data)
    (bare,) = clips("msrc12", tmp_path).values()
    assert (bare.label, bare.segments) == ("bow", ())
    shutil.copy(ASSETS / "msrc12/P1_2_7A_p09.tagstream", tags)
    (tagged,) = clips("msrc12", tmp_path).values()
    assert tagged.segments == clip.segments


@pytest.mark.parametrize(("old", "new"), [("XQPCTick", "Tick"), (";G7", ",G7"), (";G7", "9999999;G7")])
def test_msrc_broken_tags(tmp_path: Path, old: str, new: str):
    (error,) = read_changed("msrc12", tmp_path, "P1_2_7A_p09.tagstream", old, new)
    assert isinstance(error, SkeletonFormatError)
    assert error.place.startswith("tagstream line")


def test_kimore_states_score_and_folders(tmp_path: Path):
    (clip,) = clips("kimore").values()
    assert (clip.id, clip.label, clip.subject, clip.setup) == ("CG.E_ID3.Es5.input", "squat", "E_ID3", "41.5")
    assert clip.confidence is not None
    assert clip.confidence[1, 0, 5:8].tolist() == [1.0, 0.5, 0.0]
    np.testing.assert_allclose(clip.positions[2, 0, 0], [0.02, 0, 2.5], atol=1e-6)
    results = read_changed("kimore", tmp_path, "CG/E_ID3/Es5/input.csv", "2.500,1", "2.500,3")
    assert isinstance(results[0], SkeletonFormatError)
    assert (results[0].place, results[0].found) == ("row 2", "3")


def test_pku_one_clip_per_interval():
    results = read_all("pku_mmd")
    whole = results["0008-L"][0]
    assert isinstance(whole, SkeletonSequence)
    assert (whole.id, whole.frames, whole.persons, whole.label, whole.view) == ("0008-L", 5, 1, None, "L")
    parts = results["0007-R"]
    errors = [f for f in parts if isinstance(f, SkeletonFormatError)]
    assert [error.place for error in errors] == ["label line 3", "label line 5"]
    alone, pair, late = (f for f in parts if isinstance(f, SkeletonSequence))
    assert (alone.id, alone.label, alone.frames, alone.persons) == ("0007-R_001", "hand waving", 8, 1)
    np.testing.assert_allclose(alone.positions[0, 0, 0], [-0.48, 0, 2.5], atol=1e-6)
    assert (pair.label, pair.persons, pair.frames, pair.view, pair.setup) == ("shaking hands", 2, 18, "R", "0007")
    # The second of the file's persons moves more and comes first.
    assert pair.track_ids == ("2", "1")
    assert late.label == "hugging"
    assert late.frames == 5
    assert "ends at frame 31" in late.notes[1]


def test_pku_places_that_exchange_are_set_right(tmp_path: Path):
    shutil.copytree(ASSETS / "pku_mmd", tmp_path, dirs_exist_ok=True)
    path = tmp_path / MEMBERS["pku_mmd"]
    rows = [line.split() for line in path.read_text().splitlines()]
    # Both exchanged in frames 15 to 19, and a lone person in the second place in frames 4 to 6.
    for frame in [*range(15, 20), *range(4, 7)]:
        rows[frame] = rows[frame][75:] + rows[frame][:75]
    path.write_text("\n".join(" ".join(row) for row in rows))
    right, mended = clips("pku_mmd"), clips("pku_mmd", tmp_path)
    assert list(mended) == list(right)
    for name, clip in right.items():
        np.testing.assert_array_equal(mended[name].positions, clip.positions, err_msg=name)


def test_rows_without_a_sequence_id_are_refused():
    (error,) = read_all("openpose18_rows")["rows"]
    assert isinstance(error, SkeletonFormatError)
    assert "recording" in error.expected
    assert error.found == "2 rows of joints and a class only"


@pytest.mark.parametrize("name", [*MEMBERS, "openpose18_rows"])
def test_detected_by_content(name: str):
    source = detect_source(str(ASSETS / name))
    assert source is not None
    assert source.name == name


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_truncations_end_in_records_or_errors(name: str):
    data = (ASSETS / name / MEMBERS[name]).read_bytes()
    errors = [f for size in range(0, len(data), max(1, len(data) // 67)) for f in stream_of(name, data[:size])]
    assert any(isinstance(error, SkeletonFormatError) for error in errors)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_spoilt_bytes_end_in_records_or_errors(name: str, data: st.DataObject):
    content = bytearray((ASSETS / name / MEMBERS[name]).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assert stream_of(name, bytes(content))


def stream_of(name: str, data: bytes) -> list[ClipOrError]:
    source, side = SOURCES[name], ASSETS / name
    assert isinstance(source, FileSource)
    path = MEMBERS[name]

    def companion(relative: str) -> bytes | None:
        return (side / relative).read_bytes() if (side / relative).is_file() else None

    item = Item(id="x", path=path)
    return list(source.stream_bytes(((path, data),), item, "set", SideInfo(), companion))
