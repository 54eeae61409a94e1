"""Rotations and BVH forward kinematics against scipy, which nobody here wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from skeleton_io.record.rotations import euler_matrices, matrices_of_quaternions, quaternions
from skeleton_io.sources.mocap import bvh
from skeleton_io.sources.mocap.bvh import pose_nodes, read_motion
from skeleton_io.sources.shared.files import Item, SourceFile
from skeleton_io.sources.shared.side_files import SideInfo

ASSET = Path(__file__).resolve().parents[1] / "assets/bvh/turn.bvh"


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX", "ZXZ", "Y", "XY"])
def test_euler_matrices(order: str):
    angles = np.random.default_rng(0).uniform(-7, 7, (50, len(order)))
    expected = Rotation.from_euler(order, angles).as_matrix()
    np.testing.assert_allclose(euler_matrices(order, angles), expected, atol=1e-12)


def test_quaternions_also_near_half_turns():
    rotations = Rotation.random(500, random_state=0)
    axes = Rotation.random(100, random_state=1).as_rotvec()
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    angles = np.concatenate([np.full(50, np.pi - 1e-9), np.full(50, 1e-9)])[:, None]
    straight = Rotation.from_rotvec(np.pi * np.eye(3))
    matrices = Rotation.concatenate([rotations, Rotation.from_rotvec(axes * angles), straight]).as_matrix()
    found = quaternions(matrices)
    assert (found[:, 0] >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-12)
    np.testing.assert_allclose(Rotation.from_quat(found[:, [1, 2, 3, 0]]).as_matrix(), matrices, atol=1e-9)


def _recursive(motion: bvh.Motion, frame: int) -> dict[int, np.ndarray]:
    """Forward kinematics written the other way round: 4x4 matrices of one frame from scipy, joint by joint."""
    world: dict[int, np.ndarray] = {}
    column = 0
    for place, node in enumerate(motion.nodes):
        local = np.eye(4)
        local[:3, 3] = node.offset
        for kind, axis in node.channels:
            value = motion.values[frame, column]
            column += 1
            step = np.eye(4)
            if kind == "position":
                local["XYZ".index(axis), 3] = value
            else:
                step[:3, :3] = Rotation.from_euler(axis, value, degrees=True).as_matrix()
            local = local @ step
        world[place] = local if node.parent < 0 else world[node.parent] @ local
    return world


def _file(path: Path) -> SourceFile:
    from skeleton_io.record.sequence import Source

    return SourceFile(
        item=Item(id="x", path=path.name), dataset="d", data=path.read_bytes(), licence=None, side=SideInfo(),
        source=Source(uri="x", sha256="0", reader="bvh", reader_version=1),
    )  # fmt: skip


def _compare(path: Path) -> None:
    motion = read_motion(_file(path))
    positions, turns = pose_nodes(motion)
    rotations = matrices_of_quaternions(turns.astype(np.float64))
    for frame in {0, len(motion.values) // 2, len(motion.values) - 1}:
        world = _recursive(motion, frame)
        for place, matrix in world.items():
            np.testing.assert_allclose(positions[frame, place], matrix[:3, 3], atol=1e-8)
            # The record's quaternions are float32.
            np.testing.assert_allclose(rotations[frame, place], matrix[:3, :3], atol=1e-6)


def test_forward_kinematics_on_the_asset():
    _compare(ASSET)


def test_forward_kinematics_on_real_files(shared_data: Path):
    for name in ("bandai_namco_1/data/dataset-1_walk_happy_001.bvh", "format_samples/xia_bvh/strutting_01_000.bvh"):
        _compare(shared_data / "data" / name)
