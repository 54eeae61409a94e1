"""Claims and their grounding, on motions made here: right words hold, wrong ones are found out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.rationales.grounding.rationale import Rationale, Step, rationale_text
from pipelines.rationales.grounding.verify import Grounding, ground
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, NTU25

FPS = 30.0
# A person who faces the sensor: its own right is +x, up is +y, forward is -z.
_SIDE = {"shoulder": (0.2, 1.4), "elbow": (0.25, 1.15), "wrist": (0.27, 0.9), "hand": (0.27, 0.82)}
_SIDE |= {"hand_tip": (0.27, 0.78), "thumb": (0.25, 0.8), "hip": (0.1, 0.9), "knee": (0.1, 0.5), "ankle": (0.1, 0.08)}
_SIDE |= {"foot": (0.1, 0.02), "eye": (0.03, 1.68), "ear": (0.07, 1.66)}
_MIDDLE = {"pelvis": 0.95, "spine": 1.15, "chest": 1.4, "neck": 1.45, "head": 1.65, "nose": 1.66}


def standing(joints: tuple[str, ...]) -> np.ndarray:
    """(J, 3) metres."""
    places = []
    for joint in joints:
        side, _, part = joint.partition("_")
        if side in ("left", "right"):
            x, y = _SIDE[part]
            places.append((x if side == "right" else -x, y, 3.0))
        else:
            places.append((0.0, _MIDDLE[joint], 3.0))
    return np.array(places)


def clip(
    moves: dict[str, list[tuple[float, float, tuple[float, float, float]]]], seconds: float = 3.0
) -> SkeletonSequence:
    """A standing person whose joints travel: joint -> (from, to, displacement), smooth in time."""
    frames = int(seconds * FPS)
    places = np.repeat(standing(NTU25.joints)[None], frames, axis=0)
    time = np.arange(frames) / FPS
    for joint, strokes in moves.items():
        names = [n for n in NTU25.joints if n == joint or (joint.endswith("hand") and n in _chain(joint))]
        for start, end, change in strokes:
            share = np.clip((time - start) / (end - start), 0, 1)
            share = share * share * (3 - 2 * share)
            for name in names:
                places[:, NTU25.index[name]] += share[:, None] * np.array(change)
    return SkeletonSequence(
        id="x",
        dataset="made",
        topology=NTU25,
        positions=places[:, None].astype(np.float32),
        fps=FPS,
        source=Source(uri="made", sha256="0", reader="test", reader_version=1),
    )


def _chain(hand: str) -> set[str]:
    side = hand.split("_")[0]
    return {f"{side}_{part}" for part in ("wrist", "hand", "hand_tip", "thumb")}


def told(*steps: tuple[float, float, str, str], summary: str = "", evidence: str = "") -> Rationale:
    made = tuple(Step(start=a, end=b, part=part, motion=motion, cause="") for a, b, part, motion in steps)
    text = rationale_text(summary, made, evidence, "x")
    return Rationale(summary=summary, steps=made, evidence=evidence, label="x", text=text)


RAISE = clip({"right_hand": [(0.5, 1.0, (0, 0.5, 0)), (1.8, 2.4, (0, -0.5, 0))]})


def verdict(sequence: SkeletonSequence, rationale: Rationale) -> Grounding:
    return ground(rationale, sequence)


@pytest.mark.parametrize(
    "steps",
    [
        [(0.5, 1.0, "right hand", "goes up by 0.5 m"), (1.8, 2.4, "right hand", "goes down by 0.5 m")],
        [(0.5, 1.0, "the right wrist", "is raised")],
        [(0.4, 1.1, "right hand", "moves upward")],
        [(0.0, 3.0, "left hand", "stays still")],
        [(0.0, 3.0, "both feet", "remain still")],
    ],
)
def test_true_steps_hold(steps: list) -> None:
    found = verdict(RAISE, told(*steps))
    assert found.contradicted == 0
    assert found.share == 1.0
    assert found.score > 0.4


@pytest.mark.parametrize(
    "step",
    [
        (0.5, 1.0, "left hand", "goes up by 0.5 m"),
        (0.5, 1.0, "right hand", "goes down by 0.5 m"),
        (1.8, 2.4, "right hand", "goes up"),
        (0.5, 1.0, "right foot", "goes up"),
        (1.2, 1.6, "right hand", "goes up by 0.5 m"),
        (0.5, 1.0, "both hands", "go up"),
        (0.5, 1.0, "right hand", "goes left"),
        (0.5, 1.0, "the body", "rotates left by 90 degrees"),
        (0.5, 1.0, "both feet", "leave the floor"),
        (0.0, 3.0, "right hand", "stays still"),
        (0.5, 1.0, "right hand", "goes up by 2.5 m"),
    ],
)
def test_each_false_step_is_found(step: tuple) -> None:
    found = verdict(RAISE, told(step))
    assert found.contradicted == 1, found
    assert found.score < 0.2


def test_order_is_checked() -> None:
    steps = [(1.8, 2.4, "right hand", "goes down"), (0.5, 1.0, "right hand", "goes up")]
    assert verdict(RAISE, told(*steps)).disordered == 1
    assert verdict(RAISE, told(*reversed(steps))).disordered == 0


@pytest.mark.parametrize(
    ("way", "change"),
    [("left", (-0.5, 0, 0)), ("right", (0.5, 0, 0)), ("forward", (0, 0, -0.5)), ("back", (0, 0, 0.5))],
)
def test_directions_are_the_persons_own(way: str, change: tuple) -> None:
    made = clip({"right_hand": [(0.5, 1.0, change)]})
    for word in ("left", "right", "forward", "back"):
        found = verdict(made, told((0.5, 1.0, "right hand", f"goes {word}")))
        assert (found.contradicted == 0) == (word == way), word


def test_what_a_picture_cannot_tell_is_not_counted() -> None:
    columns = [NTU25.index["head" if j in ("nose",) or j.endswith(("eye", "ear")) else j] for j in COCO17.joints]
    flat = replace(
        RAISE,
        topology=COCO17,
        positions=(RAISE.positions[:, :, columns, :2] * 200 + 400).astype(np.float32),
        scale="pixels",
        image_size=(800, 800),
    )
    deep = verdict(flat, told((0.5, 1.0, "right hand", "goes forward")))
    assert deep.checked == ()
    assert deep.share == 1.0
    assert verdict(flat, told((0.5, 1.0, "right hand", "goes up"))).supported == 1
    assert verdict(flat, told((0.5, 1.0, "left hand", "goes up"))).contradicted == 1
