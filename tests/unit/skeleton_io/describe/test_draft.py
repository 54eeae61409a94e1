"""Files of ten layouts, as if unknown: the draft reads what was written, in the record's frame and metres."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io

from skeleton_io.demo.dataset import DemoConfig, write_demo
from skeleton_io.describe.draft import Draft, describe
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import NTU25, UTD20
from skeleton_io.sources.registry import SOURCES

CONFIG = DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("walk", "wave", "squat"), noise=0.0)


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> list[SkeletonSequence]:
    """Clips of one person each, 25 joints."""
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, CONFIG)
    root = str(folder / "demo_ntu")
    clips = []
    for item in SOURCES["ntu"].list_items(root):
        try:
            clips += SOURCES["ntu"].read(root, item, "demo")
        except SkeletonFormatError:  # broken on purpose
            continue
    return [clip for clip in clips if clip.persons == 1 and np.isfinite(clip.positions).all()][:6]


def npy(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
    (folder / str(clip.label)).mkdir(exist_ok=True)
    np.save(folder / str(clip.label) / f"{clip.id}.npy", points)


def npy_turned(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
    """Millimetres, z up: x, -z, y of the record; joints, coordinates, frames."""
    z_up = np.stack([points[..., 0], -points[..., 2], points[..., 1]], -1) * 1000
    np.save(folder / f"{clip.id}.npy", z_up.transpose(1, 2, 0))


def npz(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
    other = points[::-1] + [1.0, 0.0, 0.2]
    both = np.stack([points, other], 1)
    np.savez(folder / f"{clip.id}.npz", positions=both, fps=np.array(25.0), label=np.array(str(clip.label)))


def csv_header(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
    names = ["time_ms", *(f"{joint}_{axis}" for joint in NTU25.joints for axis in "xyz")]
    rows = [[i * 20, *frame.reshape(-1)] for i, frame in enumerate(points)]
    lines = [",".join(names), *(",".join(f"{v:.6f}" for v in row) for row in rows)]
    (folder / f"{clip.id}.csv").write_text("\n".join(lines))


def csv_plain(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
    lines = [",".join([str(i + 1), *(f"{v:.6f}" for v in frame.reshape(-1))]) for i, frame in enumerate(points)]
    (folder / f"{clip.id}.csv").write_text("\n".join(lines))


def json_lists(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
    frames = [{"joints": [dict(zip("xyz", map(float, p), strict=True)) for p in frame]} for frame in points]
    (folder / f"{clip.id}.json").write_text(json.dumps({"fps": 25, "label": clip.label, "frames": frames}))


def json_names(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
    names = ["".join(word.capitalize() for word in joint.split("_")) for joint in NTU25.joints]
    frames = [{"pose": dict(zip(names, frame.tolist(), strict=True))} for frame in points]
    (folder / f"{clip.id}.json").write_text(json.dumps({"data": frames, "frame_rate": 50}))


def mat(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
    scipy.io.savemat(folder / f"{clip.id}.mat", {"skel": points.transpose(1, 2, 0), "version": 2.0})


def txt(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
    """A line is a joint: x, y, z in centimetres and a confidence."""
    rows = np.concatenate([points * 100, np.ones_like(points[..., :1])], -1).reshape(-1, 4)
    np.savetxt(folder / f"{clip.id}.txt", rows, "%.4f")


def parquet(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
    """A row is a joint of a frame, named."""
    frames, joints = points.shape[:2]
    columns = {"frame": np.repeat(np.arange(frames), joints), "joint": list(NTU25.joints) * frames}
    columns |= {axis: points[..., i].reshape(-1) for i, axis in enumerate("xyz")}
    pq.write_table(pa.table(columns), folder / f"{clip.id}.parquet")


Writer = Callable[[Path, SkeletonSequence, np.ndarray], None]
# Writer -> rate that the draft finds; 30 is the guess where nothing says it.
WRITERS: dict[Writer, float] = {
    npy: 30,
    npy_turned: 30,
    npz: 25,
    csv_header: 50,
    csv_plain: 30,
    json_lists: 25,
    json_names: 50,
    mat: 30,
    txt: 30,
    parquet: 30,
}


def drafted(folder: Path, motions: list[SkeletonSequence], write: Writer) -> Draft:
    for clip in motions:
        write(folder, clip, clip.positions[:, 0].astype(np.float64))
    return describe(str(folder))


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_the_draft_reads_what_was_written(tmp_path: Path, motions: list[SkeletonSequence], write: Writer):
    draft = drafted(tmp_path, motions, write)
    assert draft.errors == ()
    assert draft.files == len(draft.clips) == len(motions)
    by_id = {clip.id: clip for clip in draft.clips}
    for clip in motions:
        draft_clip = by_id[clip.id]
        assert draft_clip.topology.joints == NTU25.joints, draft.text
        assert draft_clip.fps == pytest.approx(WRITERS[write], rel=1e-3), draft.text
        persons = [draft_clip.positions[:, p] for p in range(draft_clip.persons)]
        np.testing.assert_allclose(
            min(persons, key=lambda p: np.abs(p - clip.positions[:, 0]).max()), clip.positions[:, 0], atol=2e-4
        )


def test_labels_and_reasons(tmp_path: Path, motions: list[SkeletonSequence]):
    draft = drafted(tmp_path, motions, npy)
    assert {clip.id: clip.label for clip in draft.clips} == {clip.id: clip.label for clip in motions}
    for name in ("layout", "topology", "units", "axes", "fps", "missing"):
        assert f"# {name}: " in draft.text
    assert "CHECK: nothing in the files says it" in draft.text
    assert "fps" in draft.checks
    assert "layout" not in draft.checks


def test_mirrored_axes_are_noticed(tmp_path: Path, motions: list[SkeletonSequence]):
    def left_handed(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
        np.save(folder / f"{clip.id}.npy", points * [1, 1, -1])

    draft = drafted(tmp_path, motions, left_handed)
    assert draft.definition.handedness == "left"
    # Mirrored back; which way the world's axes run is free, so the figure is turned by half a circle.
    by_id = {clip.id: clip for clip in draft.clips}
    for clip in motions:
        np.testing.assert_allclose(by_id[clip.id].positions, clip.positions * [-1, 1, -1], atol=1e-6)


def test_an_unknown_body_gets_numbers_and_bones(tmp_path: Path, motions: list[SkeletonSequence]):
    def seven(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
        columns = [
            NTU25.index[j] for j in ("head", "chest", "pelvis", "left_elbow", "left_wrist", "left_knee", "left_ankle")
        ]
        np.save(folder / f"{clip.id}.npy", points[:, columns])

    draft = drafted(tmp_path, motions, seven)
    topology = draft.clips[0].topology
    assert topology.joints == tuple(f"joint_{i}" for i in range(7))
    links = {frozenset(bone) for bone in topology.bones}
    assert {frozenset(pair) for pair in ((0, 1), (1, 2), (3, 4), (5, 6))} <= links
    assert "topology" in draft.checks


def test_a_sensors_names_for_the_trunk_are_known(tmp_path: Path, motions: list[SkeletonSequence]):
    spellings = {"pelvis": "hip_center", "neck": "shoulder_center"}

    def kinect1(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
        names = [f"{spellings.get(joint, joint)}_{axis}" for joint in UTD20.joints for axis in "xyz"]
        utd_points = points[:, [NTU25.index[joint] for joint in UTD20.joints]]
        rows = [",".join(f"{v:.6f}" for v in frame.reshape(-1)) for frame in utd_points]
        (folder / f"{clip.id}.csv").write_text("\n".join([",".join(names), *rows]))

    draft = drafted(tmp_path, motions, kinect1)
    assert draft.clips[0].topology.joints == UTD20.joints
    assert draft.clips[0].topology.bones == UTD20.bones
    assert "topology" not in draft.checks


def test_bones_between_named_joints_are_anatomys_own(tmp_path: Path, motions: list[SkeletonSequence]):
    absent = {"spine", "left_hand_tip", "right_thumb", "left_wrist", "chest"}
    joint_names = [joint for joint in NTU25.joints if joint not in absent]

    def fewer(folder: Path, clip: SkeletonSequence, points: np.ndarray) -> None:
        both = np.concatenate(
            [points[:, [NTU25.index[j] for j in joint_names]], points[:, [NTU25.index["left_foot"]]]], 1
        )
        both[:, -1, 1] += 0.02
        names = [f"{joint}_{axis}" for joint in [*joint_names, "marker"] for axis in "xyz"]
        rows = [",".join(f"{v:.6f}" for v in frame.reshape(-1)) for frame in both]
        (folder / f"{clip.id}.csv").write_text("\n".join([",".join(names), *rows]))

    draft = drafted(tmp_path, motions, fewer)
    topology = draft.clips[0].topology
    bones = {(topology.joints[parent], topology.joints[child]) for parent, child in topology.bones}
    assert len(bones) == len(topology.joints) - 1
    assert {("pelvis", "neck"), ("left_elbow", "left_wrist"), ("right_knee", "right_ankle")} <= bones
    assert ("left_foot", "marker") in bones  # the only one without a meaning: it hangs on what is near
    assert "CHECK: no meaning known for marker" in draft.text


@pytest.mark.parametrize("between", ["-", "_"])
def test_labels_of_one_word_and_of_several_in_the_file_name(
    tmp_path: Path, motions: list[SkeletonSequence], between: str
):
    labels = ("jog", f"swipe{between}left", "wave", f"draw{between}circle{between}fast")
    for place, clip in enumerate(motions):
        np.save(tmp_path / f"{labels[place % 4]}_p{place:02d}_r1.npy", clip.positions[:, 0])
    draft = describe(str(tmp_path))
    assert draft.files == len(draft.clips) == len(motions)
    assert {clip.label for clip in draft.clips} == {label.replace("_", " ") for label in labels}
    assert {clip.subject for clip in draft.clips} == {f"{place:02d}" for place in range(len(motions))}


@pytest.mark.parametrize("content", [b"", b"hello, world\n" * 20, b"1 2 3\n4 5 6\n"])
def test_nothing_like_a_skeleton(tmp_path: Path, content: bytes):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(SkeletonFormatError):
        describe(str(tmp_path))
    with pytest.raises(SkeletonFormatError, match=r"expected files of a kind among npy"):
        describe(str(tmp_path / "none"))
