"""AMASS npz (poses, trans; SMPL, SMPL+H, SMPL-X) -> clips: joints through forward kinematics of a rest skeleton.

AMASS holds rotations only; where the joints are follows from a body model that everybody licenses for themselves.
`rest_joints.npy` or `.json` beside the motions or in a folder above, (22 or 52, 3) metres in the model's rest pose, is
the user's; without it a mean adult of ours stands in, and the clip's notes say so. Positions are good to the difference
between the two bodies. z is up in the file. Mahmood et al., ICCV 2019; Loper et al., SIGGRAPH Asia 2015, eq. 2 to 4.
"""

from __future__ import annotations

import json
import re

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.rotations import vector_matrices
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import SMPL22, SMPLH52
from skeleton_io.record.topology import Topology
from skeleton_io.sources.decoders.npy import read_npy, read_npz
from skeleton_io.sources.shared import captions
from skeleton_io.sources.shared.captions import join_captions
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present
from skeleton_io.sources.shared.forward_kinematics import check_size, forward_kinematics, y_up

MEAN_REST = np.array([
    (0.00, -0.22, 0.03), (0.06, -0.31, 0.02), (-0.06, -0.31, 0.02), (0.00, -0.11, 0.00), (0.10, -0.69, 0.01),
    (-0.10, -0.69, 0.01), (0.00, 0.03, 0.03), (0.09, -1.10, -0.03), (-0.09, -1.10, -0.03), (0.00, 0.08, 0.03),
    (0.12, -1.15, 0.09), (-0.12, -1.15, 0.09), (0.00, 0.30, -0.01), (0.08, 0.20, 0.00), (-0.08, 0.20, 0.00),
    (0.00, 0.37, 0.04), (0.19, 0.23, -0.02), (-0.19, 0.23, -0.02), (0.45, 0.22, -0.04), (-0.45, 0.22, -0.04),
    (0.70, 0.22, -0.05), (-0.70, 0.22, -0.05),
])  # fmt: skip
"""Joints of SMPL22 of an adult of about 1.7 m in a T-pose, arms along x, facing +z: to the centimetre, by us."""
MEAN_NOTE = "rest skeleton: our mean adult, since there is no rest_joints.npy or rest_joints.json"
_RATES = ("mocap_framerate", "mocap_frame_rate")  # SMPL+H and SMPL-X releases spell it differently
_HANDS = {156: 66, 165: 75}
"""Width of a pose vector -> where its 30 joints of the hands begin. SMPL-X has jaw and eyes before them."""
_DEEPEST = 8  # folders up; each costs a look at the storage


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file; the folder is the subject."""
    raw, trans, fps = _read_arrays(file)
    rest, topology, mean = _rest_joints(file, raw.shape[1])
    parents = [-1] * len(rest)
    for parent, child in topology.bones:
        parents[child] = parent
    check_size(file, len(raw), len(rest))
    # The body is 22 joints of three numbers; hands follow where the rest skeleton has them.
    columns = list(range(66))
    if len(rest) == len(SMPLH52.joints):
        columns += range(_HANDS[raw.shape[1]], _HANDS[raw.shape[1]] + 90)
    poses = raw[:, columns].astype(np.float64)
    offsets = rest - np.where(np.array(parents)[:, None] < 0, 0, rest[parents])

    def local(here: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        some = poses[here]
        frame_offsets = np.tile(offsets, (len(some), 1, 1))
        # The model turns about its pelvis and is then moved: `trans` is not where the pelvis is.
        frame_offsets[:, 0] += trans[here]
        return frame_offsets, vector_matrices(some.reshape(len(some), -1, 3))

    positions, turns = y_up(*forward_kinematics(parents, len(poses), local))
    check_present(file, positions)
    folders = file.item.path.split("/")
    clip = SkeletonSequence(
        id=file.item.id,
        dataset=file.dataset,
        topology=topology,
        positions=positions[:, None].astype(np.float32),
        orientations=None if turns is None else turns[:, None],
        fps=file.fields.get("fps", fps),
        source=file.source,
        subject="/".join(folders[-3:-1]) or None,
        licence=file.licence,
        source_transform="z was up: (x, y, z) -> (x, z, -y)",
        notes=(MEAN_NOTE,) if mean else (),
    )
    return [join_captions(clip, file)]


def _read_arrays(file: SourceFile) -> tuple[NDArray[np.generic], NDArray[np.float64], float]:
    """Poses (T, W) radians as in the file, translations (T, 3) metres, frames per second."""
    arrays = read_npz(file.data, file, {"poses", "trans", *_RATES})
    lacking = [name for name in ("poses", "trans") if name not in arrays]
    rate = next((arrays[name] for name in _RATES if name in arrays), None)
    if lacking or rate is None:
        raise file.error("archive", "arrays poses, trans and mocap_framerate", ", ".join(arrays) or "none of them")
    poses, trans = arrays["poses"], arrays["trans"]
    if poses.ndim != 2 or poses.shape[1] < 66 or trans.shape != (len(poses), 3) or not len(poses):
        raise file.error("poses, trans", "(T, 66 or more) and (T, 3)", f"{poses.shape} and {trans.shape}")
    if any(array.dtype.kind != "f" for array in (poses, trans)) or rate.dtype.kind not in "fiu" or rate.size != 1:
        raise file.error("archive", "reals, and one number as rate", f"{poses.dtype}, {trans.dtype}, {rate.dtype}")
    fps = float(rate.reshape(-1)[0].item())
    if not (np.isfinite(fps) and 1e-3 < fps < 1e5):
        raise file.error("mocap_framerate", "frames per second", f"{fps:g}")
    for name, array in (("poses", poses), ("trans", trans)):
        if not (np.isfinite(array).all() and np.abs(array).max() < 1e6):
            raise file.error(name, "finite numbers", "NaN, infinity or above 1e6")
    return poses, trans.astype(np.float64), fps


def _rest_joints(file: SourceFile, width: int) -> tuple[NDArray[np.float64], Topology, bool]:
    """Rest joints, their topology, and whether they are our mean ones."""
    for up in range(min(file.item.path.count("/"), _DEEPEST) + 1):
        for suffix in ("npy", "json"):
            name = f"{'../' * up}rest_joints.{suffix}"
            data = file.beside(name)
            if data is not None:
                joints = _read_rest(file, name, data)
                # Of 24 joints (SMPL) the last two are whole hands, which SMPL22 does not have.
                hands = len(joints) == len(SMPLH52.joints) and width in _HANDS
                return (joints, SMPLH52, False) if hands else (joints[:22], SMPL22, False)
    return MEAN_REST, SMPL22, True


def _read_rest(file: SourceFile, name: str, data: bytes) -> NDArray[np.float64]:
    try:
        joints = read_npy(data, file, name) if name.endswith("npy") else np.array(json.loads(data), np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise file.error(name, "joints as [[x, y, z], ...]", f"{type(error).__name__}: {error}"[:80]) from None
    if joints.shape not in ((22, 3), (24, 3), (52, 3)) or joints.dtype.kind != "f":
        raise file.error(name, "reals of shape (22, 3), (24, 3) or (52, 3)", f"{joints.dtype} of {joints.shape}")
    if not (np.isfinite(joints).all() and np.abs(joints).max() < 10):
        raise file.error(name, "metres", "NaN, infinity or above 10")
    return joints.astype(np.float64)


def _path_as_id(match: re.Match[str]) -> str:
    """CMU/13/13_18_poses.npz -> CMU.13.13_18_poses: file names alone are not unique in AMASS."""
    return match[1].replace("/", ".")


def _sniff(path: str, head: bytes) -> bool:
    return head[:2] == b"PK"


SOURCE = FileSource(
    name="amass",
    version=1,
    pattern=r"(.*_(?:poses|stageii))\.npz",
    parse=parse,
    sniff=_sniff,
    companions=rf"(?:.*/)?rest_joints\.(?:npy|json)|{captions.COMPANIONS}",
    identify=_path_as_id,
    listing=Listing(title="AMASS npz", files="*_poses.npz, *_stageii.npz", joints="22 or 52", dims="3", persons="1"),
)
