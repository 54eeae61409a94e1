"""Action name, style and random numbers -> posture channels of one or two persons, for the synthetic motion set.

Every action is written for the right hand (or foot, or turn); a clip of the other side is the mirror image. Knows no
cameras and no files. `ACTIONS` is the table of everything that can be made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skeleton_io.demo import actions
from skeleton_io.demo.actions import Stage
from skeleton_io.demo.body import Array, Body, Motion, Posture, animate


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one person performs one clip.

    Attributes:
        tempo: speed relative to the average; amplitude: size of the movement relative to the average.
        side: "left" or "right", the hand, foot or direction of one-sided actions.
        repeats: 0 picks a usual number; otherwise how often a repeated movement is done.
    """

    tempo: float = 1.0
    amplitude: float = 1.0
    side: str = "right"
    repeats: int = 0


@dataclass(frozen=True)
class Clip:
    """A performed action.

    Attributes:
        motions: one per person, in a common frame: +y up, floor at y = 0, a single person faces +z.
        repeats: how often the repeated movement was done.
    """

    motions: tuple[Motion, ...]
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Action:
    """One row of the table.

    Attributes:
        label: name of the class.
        solo, duo: the function that fills the posture of one person or of two.
        seconds: usual length.
        sided: whether it is done with one hand or foot, or towards one side.
        repeats: fewest and most repetitions.
        distance: between the two persons, in mean reaches of their arms.
        captions: descriptions; {side} and {times} are filled in.
    """

    label: str
    solo: Callable[[Stage, Posture], None] | None = None
    duo: Callable[[Stage, Posture, Posture], None] | None = None
    seconds: float = 1.6
    sided: bool = False
    repeats: tuple[int, int] = (1, 1)
    distance: float = 0.0
    captions: tuple[str, ...] = ()


ACTIONS: tuple[Action, ...] = (
    Action(
        label="wave",
        solo=actions.wave,
        seconds=1.8,
        sided=True,
        repeats=(2, 4),
        captions=(
            "a person raises the {side} hand and waves.",
            "someone waves {times} with the {side} hand held high.",
            "the {side} hand goes up beside the head and swings from side to side.",
        ),
    ),
    Action(
        label="clap",
        solo=actions.clap,
        seconds=1.6,
        repeats=(3, 4),
        captions=(
            "a person claps both hands {times} in front of the chest.",
            "someone applauds.",
            "both hands come together in front of the body again and again.",
        ),
    ),
    Action(
        label="kick",
        solo=actions.kick,
        sided=True,
        repeats=(1, 2),
        captions=(
            "a person kicks forward {times} with the {side} foot.",
            "the {side} leg swings back and then kicks to the front.",
            "someone stands on one leg and kicks with the {side} leg.",
        ),
    ),
    Action(
        label="punch",
        solo=actions.punch,
        sided=True,
        repeats=(2, 3),
        captions=(
            "a person lifts both fists and punches {times} with the {side} hand.",
            "someone boxes into the air with the {side} fist.",
            "the {side} arm shoots forward and comes back to the chest {times}.",
        ),
    ),
    Action(
        label="squat",
        solo=actions.squat,
        seconds=1.8,
        repeats=(1, 2),
        captions=(
            "a person squats down and stands up again {times}.",
            "both knees bend, the hips sink and rise again while the arms reach forward.",
        ),
    ),
    Action(
        label="jump",
        solo=actions.jump,
        seconds=1.5,
        repeats=(1, 2),
        captions=(
            "a person jumps up {times}.",
            "someone bends the knees, swings both arms and jumps straight up.",
        ),
    ),
    Action(
        label="walk",
        solo=actions.walk,
        seconds=1.6,
        captions=(
            "a person walks forward.",
            "someone walks straight ahead with swinging arms.",
            "step by step a person goes forward.",
        ),
    ),
    Action(
        label="bow",
        solo=actions.bow,
        captions=(
            "a person bows.",
            "someone bends the upper body forward with straight legs and comes up again.",
        ),
    ),
    Action(
        label="throw",
        solo=actions.throw,
        seconds=1.5,
        sided=True,
        captions=(
            "a person throws something forward with the {side} hand.",
            "the {side} arm is drawn back over the shoulder and then swings forward and down.",
            "someone makes a step and throws with the {side} arm.",
        ),
    ),
    Action(
        label="drink",
        solo=actions.drink,
        seconds=1.7,
        sided=True,
        captions=(
            "a person drinks from a cup in the {side} hand.",
            "the {side} hand goes to the mouth, the head tilts back, then the hand goes down.",
        ),
    ),
    Action(
        label="turn around",
        solo=actions.turn,
        sided=True,
        captions=(
            "a person turns around to the {side}.",
            "someone turns about to the {side} and ends up facing the other way.",
        ),
    ),
    Action(
        label="shake hands",
        duo=actions.shake_hands,
        seconds=1.7,
        repeats=(2, 3),
        distance=1.98,
        captions=(
            "two persons shake hands.",
            "two people face each other, take each other's right hand and shake it {times}.",
        ),
    ),
    Action(
        label="push",
        duo=actions.push,
        distance=1.95,
        captions=(
            "one person pushes another with both hands.",
            "someone steps up to another person and shoves them backwards.",
            "a push with both arms makes the other person stumble back.",
        ),
    ),
)


def _sway(posture: Posture, seconds: float, rng: np.random.Generator) -> None:
    """Breathing and small shifts that nobody can suppress, in place."""
    t = np.linspace(0, seconds, posture.frames)

    def drift(size: float) -> Array:
        rate, phase = rng.uniform(0.15, 0.5), rng.uniform(0, 2 * np.pi)
        return size * np.sin(2 * np.pi * rate * t + phase)

    posture.pelvis[:, 0] += drift(0.008)
    posture.pelvis[:, 1] += -0.012 - abs(drift(0.006))
    posture.pelvis[:, 2] += drift(0.008)
    posture.bend += drift(0.02) + rng.uniform(0.0, 0.05)
    posture.look += drift(0.06) + rng.uniform(-0.1, 0.1)
    posture.nod += drift(0.03) + rng.uniform(-0.05, 0.1)
    for side in ("left", "right"):
        posture.hand[side] += np.stack([drift(0.012), drift(0.01), drift(0.015)], axis=-1)
        posture.hand[side] += rng.uniform(-0.02, 0.02, size=3)


def perform(action: Action, bodies: tuple[Body, ...], style: Style, rng: np.random.Generator, fps: float = 30) -> Clip:
    """One clip of one action, 30 to 60 frames at 30 fps. The same arguments and random state give the same clip.

    Raises:
        ValueError: the number of bodies is not that of the action.
    """
    persons = 2 if action.duo else 1
    if len(bodies) != persons:
        raise ValueError(f"{action.label} needs {persons} bodies, found {len(bodies)}")
    frames = int(np.clip(round(action.seconds * fps / style.tempo * rng.uniform(0.92, 1.08)), fps, 2 * fps))
    repeats = style.repeats or int(rng.integers(action.repeats[0], action.repeats[1] + 1))
    first, last = bodies[0], bodies[-1]
    taller = 2 * 0.81 * (last.height - first.height) / (first.reach + last.reach)
    stage = Stage(frames, repeats, style.amplitude * rng.uniform(0.93, 1.07), rng, taller)
    postures = [Posture(frames) for _ in bodies]
    if action.duo:
        action.duo(stage, postures[0], postures[1])
    elif action.solo:
        action.solo(stage, postures[0])
    for posture in postures:
        _sway(posture, frames / fps, rng)
    motions = [animate(body, posture) for body, posture in zip(bodies, postures, strict=True)]
    if action.duo:
        gap = action.distance * float(np.mean([body.reach for body in bodies])) / 2
        motions = [
            motions[0].turn_and_move(0, np.array([0, 0, -gap])),
            motions[1].turn_and_move(np.pi, np.array([0, 0, gap])),
        ]
    if action.sided and style.side == "left":
        motions = [motion.mirror() for motion in motions]
    return Clip(tuple(motions), repeats)
