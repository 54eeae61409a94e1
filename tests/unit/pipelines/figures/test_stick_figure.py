"""Stick figures: who raises the right hand shows it at image left, left is blue, missing is not drawn, time is real."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipelines.figures import stick_figure
from pipelines.figures.stick_figure import SIDE_COLOURS, flatten, gif, sheet
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, SBU15

# Centre, then left and right (x mirrored): metres in a sensor's frame, a person who faces the sensor 3 m away.
CENTRE = {"head": (0, 1.6), "neck": (0, 1.4), "spine": (0, 1.1)}
RIGHT = {"shoulder": (0.2, 1.4), "elbow": (0.4, 1.5), "hand": (0.45, 1.9), "hip": (0.1, 0.9), "knee": (0.1, 0.5)}
RIGHT |= {"foot": (0.1, 0.0)}
LEFT = RIGHT | {"elbow": (0.25, 1.1), "hand": (0.28, 0.85)}


def person(frames: int = 4, fps: float = 10.0) -> SkeletonSequence:
    """Right hand up. Sensor's frame: +x towards the person's right."""
    rows = []
    for joint in SBU15.joints:
        side, _, part = joint.partition("_")
        x, y = CENTRE[joint] if joint in CENTRE else (LEFT if side == "left" else RIGHT)[part]
        rows.append((-x if side == "left" else x, y, 3.0))
    positions = np.tile(np.array(rows, np.float32), (frames, 1, 1, 1))
    return SkeletonSequence(
        id="up", dataset="d", topology=SBU15, positions=positions, fps=fps, label="wave",
        source=Source(uri="u", sha256="0", reader="r", reader_version=1),
    )  # fmt: skip


def spread(image: Image.Image, colour: tuple[int, int, int]) -> tuple[float, int]:
    """Mean column and number of the pixels of a colour, the title's lines left out."""
    pixels = np.asarray(image.convert("RGB"), int)[20:]
    found = np.argwhere(np.abs(pixels - colour).max(-1) < 40)
    return (float(found[:, 1].mean()) if len(found) else -1.0), len(found)


@pytest.mark.parametrize("degrees", [0, 70, 180])
def test_right_hand_up_is_at_image_left_wherever_the_person_faces(degrees: int):
    clip = person()
    turn = np.radians(degrees)
    matrix = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    turned = replace(clip, positions=(clip.positions @ matrix.T).astype(np.float32))
    flat = flatten(turned)[0, 0]
    hand, head = SBU15.index["right_hand"], SBU15.index["head"]
    assert flat[hand, 0] < flat[head, 0] - 0.3
    assert flat[hand, 1] > flat[head, 1]
    image = Image.open(io.BytesIO(sheet(turned)))
    assert spread(image.crop((0, 0, 240, 240)), SIDE_COLOURS["right"])[0] < 120
    assert spread(image.crop((0, 0, 240, 240)), SIDE_COLOURS["left"])[0] > 120


def test_2d_clips_keep_their_image():
    positions = np.full((1, 1, 17, 2), np.nan, np.float32)
    positions[0, 0, COCO17.index["right_wrist"]] = (640 - 100, 480 - 50)  # at pixel (100, 50): left, high
    positions[0, 0, COCO17.index["left_wrist"]] = (640 - 500, 480 - 400)
    clip = replace(person(), topology=COCO17, positions=positions, scale="pixels", image_size=(640, 480))
    flat = flatten(clip)[0, 0]
    right, left = flat[COCO17.index["right_wrist"]], flat[COCO17.index["left_wrist"]]
    assert right[0] < left[0]
    assert right[1] > left[1]
    assert len(sheet(clip)) > 100


def test_gif_runs_in_real_time_and_never_too_long():
    image = Image.open(io.BytesIO(gif(person(frames=120, fps=60.0))))
    assert image.n_frames == 40  # 20 per second
    assert image.info["duration"] == 50
    long = Image.open(io.BytesIO(gif(person(frames=3000, fps=30.0), side=60)))
    assert long.n_frames <= stick_figure.MOST_FRAMES
    assert long.n_frames * long.info["duration"] == pytest.approx(100_000, rel=0.02)


def test_missing_joints_are_not_drawn_and_two_persons_are_seen_from_the_side():
    clip = person()
    both = np.concatenate([clip.positions, clip.positions + np.float32([0, 0, 2])], axis=1)
    flat = flatten(replace(clip, positions=both))
    assert abs(flat[0, 0, 0, 0] - flat[0, 1, 0, 0]) == pytest.approx(2, abs=1e-5)  # the line between them lies across
    lost = clip.positions.copy()
    lost[:, :, [i for i, joint in enumerate(SBU15.joints) if joint.startswith("left")]] = np.nan
    image = Image.open(io.BytesIO(sheet(replace(clip, positions=lost))))
    assert spread(image, SIDE_COLOURS["left"])[1] == 0
    assert spread(image, SIDE_COLOURS["right"])[1] > 100
