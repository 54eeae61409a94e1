"""Left is left in the picture: a person who faces the camera and raises the right hand shows it at image LEFT.

The made clips are written by this file in each format's own numbers, from where a camera or a marker system would see
that person; the real ones are files of the sets. Both go through the format's reader and the framing camera.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from models.config import RendererConfig
from models.draction.camera import clip_camera
from pipelines.data.renderer_input import metric_positions, skeleton_spec
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import COCO17, MSR20, NTU25, SBU15
from skeleton_io.record.topology import Topology
from skeleton_io.sources.registry import SOURCES

# Where each joint of a standing person is: metres towards the person's own RIGHT, up from the hips, and forward.
CENTRE = {"pelvis": 0, "spine": 0.25, "chest": 0.42, "neck": 0.52, "head": 0.65, "nose": 0.66}
SIDE = {
    "eye": (0.03, 0.68, 0.09), "ear": (0.07, 0.66, 0), "shoulder": (0.18, 0.45, 0), "elbow": (0.24, 0.2, 0),
    "wrist": (0.26, -0.03, 0.02), "hand": (0.26, -0.1, 0.03), "hand_tip": (0.26, -0.16, 0.03),
    "thumb": (0.23, -0.1, 0.05), "hip": (0.1, 0, 0), "knee": (0.1, -0.42, 0), "ankle": (0.1, -0.82, 0),
    "foot": (0.1, -0.86, 0.12),
}  # fmt: skip
RAISED = {
    "elbow": (0.38, 0.62, 0.02), "wrist": (0.42, 0.88, 0.05), "hand": (0.43, 0.96, 0.05),
    "hand_tip": (0.43, 1.02, 0.05), "thumb": (0.4, 0.95, 0.06),
}  # fmt: skip


def person(joint: str, raised: bool) -> tuple[float, float, float]:
    side, _, part = joint.partition("_")
    if side not in ("left", "right"):
        return 0.0, CENTRE[joint], 0.08 if joint == "nose" else 0.0
    right, up, forward = RAISED[part] if raised and side == "right" and part in RAISED else SIDE[part]
    return (right if side == "right" else -right), up, forward


def kinect(topology: Topology, raised: bool, aside: float = 0.0) -> list[tuple[float, float, float]]:
    """What a Kinect 3 m before that person measures: x towards its own left, which is the person's right."""
    return [(r + aside, u, 3 - f) for r, u, f in (person(joint, raised) for joint in topology.joints)]


def ntu() -> tuple[str, bytes]:
    lines = ["3"]
    for frame in range(3):
        lines += ["1", "72 0 1 1 1 1 0 0 0 2", "25"]
        lines += [f"{x} {y} {z} 0 0 0 0 1 0 0 0 2" for x, y, z in kinect(NTU25, frame > 0)]
    return "S001C001P001R001A023.skeleton", "\n".join(lines).encode()


def msr() -> tuple[str, bytes]:
    rows = [f"{x} {y} {z} 1" for frame in range(3) for x, y, z in kinect(MSR20, frame > 0)]
    return "a01_s01_e01_skeleton3D.txt", "\n".join(rows).encode()


def sbu() -> tuple[str, bytes]:
    """Image columns and rows as shares of a picture 2.56 m wide: who stands right of the axis is seen left of it."""
    lines = []
    for frame in range(3):
        both = [kinect(SBU15, frame > 0, 0.1), kinect(SBU15, frame > 0, -0.1)]
        shares = [f"{0.5 - x / 2.56},{0.5 - y / 1.92},{z / 1.28}" for points in both for x, y, z in points]
        lines.append(f"{frame + 1},{','.join(shares)}")
    return "s01s02/05/001/skeleton_pos.txt", "\n".join(lines).encode()


def coco() -> tuple[str, bytes]:
    """Pixels of a photograph: the person's right is at small columns."""
    people = []
    for frame in range(3):
        points = [person(joint, frame > 0) for joint in COCO17.joints]
        flat = [value for r, u, _ in points for value in (320 - 200 * r, 240 - 200 * u, 0.9)]
        people.append({"image_id": f"{frame}.jpg", "keypoints": flat, "score": 1.0, "idx": 1})
    return "made.json", json.dumps({"image_size": [640, 480], "fps": 30, "annotations": people}).encode()


def bvh() -> tuple[str, bytes]:
    """Offsets in centimetres of a person who looks along +z: the right side is at -x. The arm is up."""

    def joint(name: str, own: str, parent: str, children: list[str]) -> list[str]:
        right, up, forward = np.subtract(person(own, True), person(parent, True)) * 100
        head = [f"JOINT {name}", "{", f"OFFSET {-right} {up} {forward}"]
        return [
            *head,
            "CHANNELS 3 Zrotation Xrotation Yrotation",
            *(children or ["End Site", "{", "OFFSET 0 0 0", "}"]),
            "}",
        ]

    lines = ["HIERARCHY", "ROOT Hips", "{", "OFFSET 0 0 0"]
    lines += ["CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"]
    spine = joint("Head", "head", "spine", [])
    for side in ("right", "left"):
        cap = side.title()
        arm = joint(f"{cap}Hand", f"{side}_wrist", f"{side}_elbow", [])
        arm = joint(f"{cap}ForeArm", f"{side}_elbow", f"{side}_shoulder", arm)
        spine += joint(f"{cap}Arm", f"{side}_shoulder", "spine", arm)
        leg = joint(f"{cap}Foot", f"{side}_ankle", f"{side}_knee", [])
        leg = joint(f"{cap}Leg", f"{side}_knee", f"{side}_hip", leg)
        lines += joint(f"{cap}UpLeg", f"{side}_hip", "pelvis", leg)
    lines += [*joint("Spine", "spine", "pelvis", spine), "}", "MOTION", "Frames: 3", "Frame Time: 0.0333333"]
    channels = 6 + 3 * (len([line for line in lines if line.startswith("JOINT")]))
    lines += [" ".join(["0", "90", "0"] + ["0"] * (channels - 3))] * 3
    return "made.bvh", "\n".join(lines).encode()


def columns(clip: SkeletonSequence, view: Literal["front", "sensor"] = "front") -> np.ndarray:
    """(T, P, J) image column of each joint under the framing camera."""
    positions = torch.from_numpy(np.array(metric_positions(clip)))
    spec = skeleton_spec(clip.topology)
    camera = clip_camera(positions, spec, RendererConfig(view=view))
    seen = positions @ camera.rotation.reshape(3, 3).T + camera.translation.reshape(3)
    assert float(seen[..., 2].nan_to_num(1.0).min()) > 0, "all before the camera"
    return (camera.focal_px * seen[..., 0] / seen[..., 2] + camera.cx).numpy()


def right_hand(clip: SkeletonSequence) -> int:
    return clip.topology.index["right_wrist" if "right_wrist" in clip.topology.index else "right_hand"]


# A marker system has no sensor, so that a BVH is seen from the front only.
@pytest.mark.parametrize(
    ("made", "view"),
    [(bvh, "front")] + [(made, view) for made in (ntu, msr, sbu, coco) for view in ("front", "sensor")],
)
def test_made_clips(tmp_path: Path, made: Callable[[], tuple[str, bytes]], view: Literal["front", "sensor"]):
    path, data = made()
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(data)
    source = SOURCES[{"msr": "msr_action3d", "coco": "coco17"}.get(made.__name__, made.__name__)]
    (item,) = source.list_items(str(tmp_path))
    (clip,) = source.read(str(tmp_path), item, "made")
    shown = columns(clip, view)
    hand, at = right_hand(clip), clip.topology.index
    head = shown[:, :, at["head" if "head" in at else "nose"]]
    # At image left of the head, in the last frame with the hand up, and above the head in the record.
    assert (shown[-1, :, hand] < head[-1] - 10).all()
    assert (clip.positions[-1, :, hand, 1] > clip.positions[-1, :, at["left_shoulder"], 1]).all()
    assert (shown[-1, :, at["right_shoulder"]] < shown[-1, :, at["left_shoulder"]]).all()


def real(root: Path, name: str, items: str) -> list[SkeletonSequence]:
    """Clips of a set from the items whose id fits a pattern."""
    source, path = SOURCES[name], str(root)
    wanted = [item for item in source.list_items(path) if re.search(items, item.id)]
    clips = [found for item in wanted for found in source.stream(path, item, name)]
    assert clips
    return [clip for clip in clips if isinstance(clip, SkeletonSequence)]


@pytest.mark.parametrize(
    ("name", "folder", "items"),
    [
        ("msr_action3d", "data/msr_action3d", "^a01"),
        ("utd_mhad", "data/utd_mhad", "^a3_"),
        ("bandai_namco_1", "data/bandai_namco_1", "^bye_"),
        ("ntu", "golden/draction", "A023"),
    ],
)
def test_real_wavers(shared_data: Path, name: str, folder: str, items: str):
    """People wave with the right hand, as most do: the hand that goes higher is seen at image left of the head."""
    left = []
    for clip in real(shared_data / folder, name, items):
        wrists = [clip.topology.index[f"{side}_wrist"] for side in ("right", "left")]
        heights = np.nan_to_num(clip.positions[:, 0, wrists, 1], nan=-9)
        frame, which = np.unravel_index(int(heights.argmax()), heights.shape)
        shown = columns(clip)[frame, 0]
        left.append(bool(shown[wrists[which]] < shown[clip.topology.index["head"]]))
    assert np.mean(left) > 0.85, (np.mean(left), len(left))


def test_real_pairs_of_sbu(shared_data: Path):
    """Who stands at image left faces right and so has the right shoulder nearer to the camera, the other the left."""
    fits = []
    for clip in real(shared_data / "data/sbu", "sbu", "_05_"):
        at, middle = clip.topology.index, clip.frames // 2
        shown = columns(clip, "sensor")[middle, :, at["spine"]]
        for person_at, near in ((int(shown.argmin()), "right"), (int(shown.argmax()), "left")):
            far = "left" if near == "right" else "right"
            depth = clip.positions[middle, person_at, :, 2]
            fits.append(bool(depth[at[f"{near}_shoulder"]] < depth[at[f"{far}_shoulder"]]))
    assert np.mean(fits) > 0.85, (np.mean(fits), len(fits))
