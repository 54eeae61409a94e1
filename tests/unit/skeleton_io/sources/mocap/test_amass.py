"""AMASS: forward kinematics against scipy, the rest skeleton of the user and ours, captions, broken archives."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import SMPL22, SMPLH52
from skeleton_io.sources.mocap.amass import MEAN_NOTE, MEAN_REST, SOURCE
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import SideInfo

ASSET = Path(__file__).resolve().parents[4] / "assets/amass"
FILE = ASSET / "LAB/07/wave_01_poses.npz"


def read(root: Path) -> SkeletonSequence:
    (item,) = SOURCE.list_items(str(root))
    (clip,) = SOURCE.read(str(root), item, "amass")
    return clip


def expected(
    rest: np.ndarray, bones: tuple[tuple[int, int], ...], vectors: np.ndarray, trans: np.ndarray
) -> np.ndarray:
    """(J, 3), z up, by scipy."""
    turns = {0: Rotation.from_rotvec(vectors[0])}
    places = {0: rest[0] + trans}
    for parent, child in bones:
        places[child] = places[parent] + turns[parent].apply(rest[child] - rest[parent])
        turns[child] = turns[parent] * Rotation.from_rotvec(vectors[child])
    return np.stack([places[joint] for joint in range(len(rest))])


def z_up(clip: SkeletonSequence, frame: int) -> np.ndarray:
    x, y, z = clip.positions[frame, 0].astype(float).T
    return np.stack([x, -z, y], -1)


def test_the_asset_with_our_mean_adult():
    assert SOURCE.detect(str(ASSET))
    clip = read(ASSET)
    assert (clip.id, clip.subject, clip.fps, clip.topology.name) == ("LAB.07.wave_01_poses", "LAB/07", 120.0, "smpl22")
    assert clip.notes == (MEAN_NOTE,)
    with np.load(FILE) as arrays:
        poses, trans = arrays["poses"], arrays["trans"]
    for frame in (0, 5):
        places = expected(MEAN_REST, SMPL22.bones, poses[frame, :66].reshape(-1, 3), trans[frame])
        np.testing.assert_allclose(z_up(clip, frame), places, atol=2e-6)
    # Upright, and left is left for somebody whose toes point ahead.
    body = clip.positions[0, 0]
    at = clip.topology.index
    assert body[at["head"], 1] > body[at["pelvis"], 1] > body[at["left_foot"], 1]
    ahead = body[at["left_foot"]] - body[at["left_ankle"]]
    assert np.cross([0, 1, 0], ahead) @ (body[at["left_shoulder"]] - body[at["right_shoulder"]]) > 0


@pytest.mark.parametrize("suffix", ["npy", "json"])
def test_the_rest_skeleton_of_the_user_brings_the_hands(tmp_path: Path, suffix: str):
    shutil.copytree(ASSET, tmp_path, dirs_exist_ok=True)
    rest = np.random.default_rng(5).normal(scale=0.3, size=(52, 3))
    if suffix == "npy":
        np.save(tmp_path / "rest_joints.npy", rest)
    else:
        (tmp_path / "rest_joints.json").write_text(json.dumps(rest.tolist()))
    assert SOURCE.list_companions(str(tmp_path)) == [f"rest_joints.{suffix}"]
    clip = read(tmp_path)
    assert (clip.topology, clip.notes) == (SMPLH52, ())
    with np.load(FILE) as arrays:
        places = expected(rest, SMPLH52.bones, arrays["poses"][4].reshape(-1, 3), arrays["trans"][4])
    np.testing.assert_allclose(z_up(clip, 4), places, atol=5e-6)
    # One closer to the motion wins.
    np.save(tmp_path / "LAB/07/rest_joints.npy", rest[:22])
    assert read(tmp_path).topology == SMPL22


def test_babel_and_kit_ml_are_joined(tmp_path: Path):
    shutil.copytree(ASSET, tmp_path, dirs_exist_ok=True)
    annotations = {"labels": [{"raw_label": "waves", "proc_label": "wave", "act_cat": ["wave"]}]}
    babel = {"1": {"feat_p": "LAB/LAB/07/wave_01_poses.npz", "dur": 1, "seq_ann": annotations, "frame_ann": None}}
    (tmp_path / "val.json").write_text(json.dumps(babel))
    kit = {"9": {"path": "LAB/07/wave_01_poses", "duration": 0.05,
                 "annotations": [{"text": "Someone waves.", "start": 0, "end": 0.05}]}}  # fmt: skip
    (tmp_path / "annotations.json").write_text(json.dumps(kit))
    clip = read(tmp_path)
    assert (clip.label, clip.captions) == ("wave", ("Someone waves.", "waves"))


GOOD = {"poses": np.zeros((2, 66)), "trans": np.zeros((2, 3)), "mocap_framerate": np.array(60.0)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poses": None}, "poses, trans and mocap_framerate"),
        ({"mocap_framerate": None}, "poses, trans and mocap_framerate"),
        ({"mocap_framerate": np.array(0.0)}, "frames per second"),
        ({"mocap_framerate": np.array("x")}, "one number as rate"),
        ({"poses": np.zeros((2, 63))}, r"\(T, 66 or more\)"),
        ({"trans": np.zeros((3, 3))}, r"\(T, 3\)"),
        ({"poses": np.full((2, 66), np.nan)}, "finite"),
        ({"poses": np.zeros((2, 66), object)}, "objects"),
    ],
)
def test_broken_archives(change: dict[str, np.ndarray | None], message: str):
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=True, **{name: array for name, array in (GOOD | change).items() if array is not None})
    with pytest.raises(SkeletonFormatError, match=message):
        SOURCE.read_bytes(packed.getvalue(), Item(id="a", path="a_poses.npz"), "amass", SideInfo())


@pytest.mark.parametrize("content", ["[[1, 2]]", "[[[", '{"a": 1}', "[[1e99, 0, 0]]"])
def test_broken_rest_skeletons_are_named(tmp_path: Path, content: str):
    shutil.copytree(ASSET, tmp_path, dirs_exist_ok=True)
    (tmp_path / "rest_joints.json").write_text(content)
    with pytest.raises(SkeletonFormatError, match=r"rest_joints\.json"):
        read(tmp_path)


def test_our_mean_adult_is_close_to_the_skeleton_of_humanml3d(shared_data: Path):
    """HumanML3D puts every motion on one AMASS body; its bones differ from ours by less than 3 cm."""
    joints = np.load(shared_data / "data/humanml3d_meta/example_000000/new_joints/000000.npy").astype(float)
    for parent, child in SMPL22.bones:
        theirs = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1).mean()
        assert abs(np.linalg.norm(MEAN_REST[child] - MEAN_REST[parent]) - theirs) < 0.03, SMPL22.joints[child]
