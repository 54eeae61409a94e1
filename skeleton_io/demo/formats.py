"""Motions of the synthetic set -> text of three native formats: NTU `.skeleton`, BVH, COCO-17 keypoint JSON.

Written from the formats' layouts alone, independent of the readers in `sources`, so that a reader is tested against
something that does not share its code. Also spoils files on purpose. Draws no random motion and opens no files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from skeleton_io.demo.body import INDEX, JOINTS, Array, Motion
from skeleton_io.record.topologies import COCO17, NTU25

_KINECT = [INDEX[name] for name in NTU25.joints]
_COCO = [INDEX[name] for name in COCO17.joints]
_BODY_ID = 72057594037930000


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """Where a camera stands, seen from the performer.

    Attributes:
        yaw: heading of the performers, radians; 0 faces the camera, positive is turned to their own left.
        distance: metres to the performers; height: metres above the floor; shift: metres they stand off the axis.
    """

    yaw: float
    distance: float
    height: float
    shift: float = 0.0

    def view(self, motion: Motion) -> Array:
        """(T, J, 3) positions in the sensor frame: +x to the image's left, +y up, +z into the scene, metres."""
        away = np.array([self.shift, -self.height, self.distance])
        return motion.turn_and_move(np.pi + self.yaw, away).positions()


def jitter(shape: tuple[int, ...], size: float, rng: np.random.Generator) -> Array:
    """Noise of a tracker over time (axis 0): half of it white, half of it drifting, standard deviation about `size`."""
    white, slow = rng.standard_normal(shape), rng.standard_normal(shape)
    for t in range(1, shape[0]):
        slow[t] = 0.85 * slow[t - 1] + 0.527 * slow[t]
    return size * (0.6 * white + 0.8 * slow)


def ntu_text(persons: Sequence[Array], empty_frames: frozenset[int], rng: np.random.Generator) -> str:
    """Positions (T, J, 3) of each person in the sensor frame -> a `.skeleton` file; `empty_frames` frames hold no body.

    A frame is a body count and, per body, a line of ten fields (identity, flags, lean, tracking state), the joint
    count and a line per joint: x y z, depth and colour pixel, orientation, tracking state.
    """
    frames = len(persons[0])
    lines = [str(frames)]
    rows = [_ntu_rows(places[:, _KINECT], rng) for places in persons]
    for t in range(frames):
        if t in empty_frames:
            lines.append("0")
            continue
        lines.append(str(len(persons)))
        for k, body in enumerate(rows):
            lines.append(f"{_BODY_ID + k} 0 1 1 1 1 0 0.02 -0.01 2\n25")
            lines.append(_NTU_BODY % tuple(body[t].ravel()))
    return "\n".join(lines) + "\n"


_NTU_BODY = "\n".join(["%.6f %.6f %.6f %.2f %.2f %.2f %.2f 1 0 0 0 %d"] * 25)


def _ntu_rows(places: Array, rng: np.random.Generator) -> Array:
    """(T, 25, 8): position, pixel in the depth and in the colour image, tracking state."""
    scale = 1 / places[..., 2:]
    pixels = np.concatenate([-places[..., :2] * scale * 365, -places[..., :2] * scale * 1060], axis=-1)
    pixels += np.array([256, 212, 960, 540])
    state = np.where(rng.random(places.shape[:2]) < 0.04, 1.0, 2.0)
    return np.concatenate([places, pixels, state[..., None]], axis=-1)


def coco_text(
    persons: Sequence[Array],
    image_size: tuple[int, int],
    focal: float,
    noise: float,
    fps: float,
    rng: np.random.Generator,
) -> str:
    """Positions in the sensor frame -> pixels (y down) through a pinhole camera with `focal` pixels, as JSON.

    `noise` is the detector's error in pixels. A doubtful keypoint is further off and says so in its score; three
    in ten of those are absent: 0, 0, 0.
    """
    width, height = image_size
    annotations = []
    for k, places in enumerate(persons):
        points = places[:, _COCO]
        pixels = -points[..., :2] / points[..., 2:] * focal + np.array([width / 2, height / 2])
        sure = np.clip(rng.normal(0.9, 0.04, points.shape[:2]), 0.6, 0.99)
        doubt = rng.random(points.shape[:2]) < 0.02
        sure[doubt] = rng.uniform(0.05, 0.35, int(doubt.sum()))
        pixels += jitter(pixels.shape, noise, rng) + doubt[..., None] * rng.normal(0, 6 * noise, pixels.shape)
        rows = np.concatenate([pixels, sure[..., None]], axis=-1)
        rows[doubt & (rng.random(doubt.shape) < 0.3)] = 0.0
        for t, row in enumerate(rows):
            numbers = [round(float(value), 3 if i % 3 == 2 else 2) for i, value in enumerate(row.ravel())]
            score = round(float(row[:, 2].mean()), 3)
            annotations.append((t, k, {"image_id": t, "keypoints": numbers, "score": score, "track_id": k}))
    annotations.sort(key=lambda item: item[:2])
    data = {"image_size": [width, height], "fps": fps, "annotations": [item[2] for item in annotations]}
    return json.dumps(data, separators=(",", ":")) + "\n"


# BVH joint -> joint of the body; nesting is the tree, a None leaf is the End Site.
_ARM = {"Shoulder": "clavicle", "Arm": "shoulder", "ForeArm": "elbow", "Hand": "wrist"}
_LEG = {"UpLeg": "hip", "Leg": "knee", "Foot": "ankle", "ToeBase": "foot"}


def _chain(side: str, parts: dict[str, str]) -> list[tuple[str, str]]:
    return [(side.capitalize() + name, f"{side}_{joint}") for name, joint in parts.items()]


_BVH_CHAINS: tuple[tuple[str, list[tuple[str, str]], tuple[str, ...]], ...] = (
    ("Spine1", [("Neck", "neck"), ("Head", "head")], ("head_top",)),
    ("Spine1", _chain("left", _ARM), ("left_hand", "left_hand_tip")),
    ("Spine1", _chain("right", _ARM), ("right_hand", "right_hand_tip")),
    ("Hips", _chain("left", _LEG), ("left_toes",)),
    ("Hips", _chain("right", _LEG), ("right_toes",)),
)
_TRUNK = [("Hips", "pelvis"), ("Spine", "spine"), ("Spine1", "chest")]
_ROTATIONS = "Zrotation Xrotation Yrotation"


def bvh_text(motion: Motion, fps: float) -> str:
    """One person -> BVH: centimetres, +y up, rotations Z X Y in degrees, joints in depth-first order."""
    offset = {name: 100 * motion.offsets[i] for name, i in INDEX.items()}
    lines: list[str] = ["HIERARCHY"]
    order: list[str] = []

    def head(depth: int, kind: str, joints: Sequence[str], channels: str | None) -> None:
        pad = "  " * depth
        x, y, z = sum((offset[joint] for joint in joints), np.zeros(3))
        lines.extend([pad + kind, pad + "{", f"{pad}  OFFSET {x:.5f} {y:.5f} {z:.5f}"])
        if channels:
            lines.append(f"{pad}  CHANNELS {channels}")

    def close(depth: int) -> None:
        lines.append("  " * depth + "}")

    def chains(place: str, depth: int) -> None:
        for parent, joints, tip in _BVH_CHAINS:
            if parent != place:
                continue
            for k, (name, joint) in enumerate(joints):
                head(depth + k, f"JOINT {name}", [joint], f"3 {_ROTATIONS}")
                order.append(joint)
            head(depth + len(joints), "End Site", tip, None)
            for k in range(len(joints), -1, -1):
                close(depth + k)

    for depth, (name, joint) in enumerate(_TRUNK):
        kind = "ROOT" if depth == 0 else "JOINT"
        moves = f"6 Xposition Yposition Zposition {_ROTATIONS}" if depth == 0 else f"3 {_ROTATIONS}"
        head(depth, f"{kind} {name}", [] if depth == 0 else [joint], moves)
        order.append(joint)
    chains("Spine1", 3)
    close(2)
    close(1)
    chains("Hips", 1)
    close(0)
    angles = np.degrees(_zxy(motion.local[:, [INDEX[joint] for joint in order]]))
    values = np.concatenate([100 * motion.root, angles.reshape(len(angles), -1)], axis=1)
    lines += ["MOTION", f"Frames: {len(values)}", f"Frame Time: {1 / fps:.7f}"]
    row = " ".join(["%.4f"] * values.shape[1])
    return "\n".join([*lines, *(row % tuple(frame) for frame in values)]) + "\n"


def _zxy(turn: Array) -> Array:
    """(..., 3, 3) = Rz(a) Rx(b) Ry(c) -> (..., 3) angles a, b, c in radians."""
    b = np.arcsin(np.clip(turn[..., 2, 1], -1, 1))
    a = np.arctan2(-turn[..., 0, 1], turn[..., 1, 1])
    c = np.arctan2(-turn[..., 2, 0], turn[..., 2, 2])
    return np.stack([a, b, c], axis=-1)


def _cut(text: str) -> str:
    """Ends in the middle of a number, as an interrupted download does."""
    return text[: int(len(text) * 0.6)].rsplit(".", 1)[0] + "."


def _edit_line(number: int, change: Callable[[str], str]) -> Callable[[str], str]:
    """Changes one line, counted from the start or (negative) from the end."""

    def edit(text: str) -> str:
        lines = text.splitlines()
        lines[number] = change(lines[number])
        return "\n".join(lines) + "\n"

    return edit


def _first(word: str) -> Callable[[str], str]:
    """Replaces the first field of a line."""
    return lambda line: " ".join([word, *line.split()[1:]])


def _ntu_zeros(text: str) -> str:
    """Every joint at the origin: how Kinect files say that nothing was tracked."""
    lines = text.splitlines()
    return "\n".join(f"0 0 0 {line.split(' ', 3)[3]}" if line.count(" ") == 11 else line for line in lines) + "\n"


def _bvh_nan(text: str) -> str:
    head, mark, rows = text.partition("Frame Time:")
    first, *rest = rows.splitlines()
    return head + mark + "\n".join([first, *(" ".join(["nan"] * len(row.split())) for row in rest)]) + "\n"


def _coco_edit(change: Callable[[dict[str, object]], None], only_first: bool) -> Callable[[str], str]:
    def edit(text: str) -> str:
        data = json.loads(text)
        for annotation in data["annotations"][: 1 if only_first else None]:
            change(annotation)
        return json.dumps(data, separators=(",", ":")) + "\n"

    return edit


def _short(annotation: dict[str, object]) -> None:
    annotation["keypoints"] = [0.5] * 50


def _zero(annotation: dict[str, object]) -> None:
    annotation["keypoints"] = [0] * 51


def _word(annotation: dict[str, object]) -> None:
    annotation["keypoints"] = ["left"] + [1.0] * 50


# Line 4 (0-based) of a .skeleton file is the first joint, line 3 the joint count of the first body.
BROKEN: dict[str, dict[str, Callable[[str], str]]] = {
    "demo_ntu": {
        "truncated": _cut,
        "joint_count": _edit_line(3, lambda line: "24"),
        "not_a_number": _edit_line(4, _first("1.2.3")),
        "all_zeros": _ntu_zeros,
    },
    "demo_bvh": {
        "truncated": _cut,
        "value_count": _edit_line(-1, lambda line: " ".join(line.split()[:-2])),
        "not_a_number": _edit_line(-2, _first("abc")),
        "all_nan": _bvh_nan,
    },
    "demo_coco17": {
        "truncated": _cut,
        "keypoint_count": _coco_edit(_short, only_first=True),
        "not_a_number": _coco_edit(_word, only_first=True),
        "all_zeros": _coco_edit(_zero, only_first=False),
    },
}
"""Format -> kind of damage -> how a good file's text is spoilt."""

assert set(_KINECT) | set(_COCO) <= set(range(len(JOINTS)))
