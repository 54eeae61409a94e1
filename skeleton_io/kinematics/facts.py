"""The facts that `motion` finds about a motion, as plain dataclasses. Computes nothing.

Distances are in torso lengths (about half a metre of an adult), times in seconds from the first frame, directions as
the moving PERSON has them. Of a person of whom only hands are seen (`MotionFacts.hands`), a length is a palm's instead
of a torso's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Motion = Literal["moves", "swings", "rotates", "leaves the floor", "bends", "stretches"]
ContactKind = Literal["own hands", "hand and head", "hands of both", "hand and other", "thumb and index"]


@dataclass(frozen=True, kw_only=True)
class MotionEvent:
    """One movement of one part of one person."""

    part: str
    """"left_hand" ... "right_leg", "torso", "head", "body" for the whole body; fingers of bare hands: "right_index"."""
    person: int
    start: float
    """Seconds from the first frame."""
    end: float
    motion: Motion
    direction: tuple[str, ...]
    """Strongest first, as the PERSON has it: up, down, left, right, forward, back; towards, away (another person);
    sideways where a picture does not tell more. Empty where unknown."""
    distance: float
    """Length of one stroke in torso lengths; NaN for rotations and bends."""
    metres: float
    """The same in metres; NaN where the clip is not metric."""
    degrees: float
    """Angle of rotations and of bends (summed along the finger); NaN otherwise."""
    peak_speed: float
    """Torso lengths per second (rotations, bends: degrees per second)."""
    repetitions: int
    """1, or how often a swing is repeated."""


@dataclass(frozen=True, kw_only=True)
class PartActivity:
    """How much one part moves over the clip."""

    part: str
    person: int
    path: float
    """Torso lengths travelled."""
    peak_speed: float
    """Torso lengths per second."""
    spans: tuple[tuple[float, float], ...]
    """Intervals of motion, seconds."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """Two parts that come close after having been apart."""

    kind: ContactKind
    persons: tuple[int, ...]
    side: str
    """"left" or "right" hand of the first person; "both" or "" where it does not matter."""
    count: int
    """How often they meet."""
    start: float
    end: float
    """First and last moment of closeness, seconds."""
    distance: float
    """Smallest distance, torso lengths."""


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Two persons: distance between their bodies, in torso lengths of the first."""

    persons: tuple[int, int]
    start: float
    end: float
    least: float
    facing: bool | None
    """Whether they face each other at the start; None where it cannot be seen."""


@dataclass(frozen=True, kw_only=True)
class PairMotion:
    """How both hands, or both feet, of a person move with each other over the clip."""

    person: int
    limb: Literal["hand", "foot"]
    kind: Literal["alike", "in turns"]


@dataclass(frozen=True, kw_only=True)
class WholeBody:
    """Travel of one person as a whole, from the first frame to the last."""

    person: int
    travel: float
    """Horizontal displacement, torso lengths."""
    direction: tuple[str, ...]
    nearer: float
    """How much the person grows in the picture from start to end, as a share; 0 where it does not, NaN in 3D."""
    turn: float
    """Degrees, positive to the person's left; NaN in 2D."""
    lowest: float
    highest: float
    """Pelvis relative to its first height, torso lengths."""
    airborne: float
    """Seconds with both feet off the floor together with the pelvis."""
    symmetry: float
    """Shorter over longer path of the two hands, 0 to 1; NaN where a hand is not seen or neither moves."""


@dataclass(frozen=True, kw_only=True)
class MotionFacts:
    """Everything known about a clip's motion."""

    duration: float
    persons: tuple[int, ...]
    """Persons of whom enough is seen."""
    metric: bool
    views: tuple[str, ...]
    """Per person: "space" in 3D, else "front", "side" or "oblique"."""
    events: tuple[MotionEvent, ...]
    """In the order in which they begin."""
    activity: tuple[PartActivity, ...]
    onsets: tuple[tuple[int, str, float], ...]
    """(person, part, seconds) in the order in which parts begin to move."""
    contacts: tuple[Contact, ...]
    relations: tuple[Relation, ...]
    bodies: tuple[WholeBody, ...]
    """None for persons of whom only hands are seen."""
    hands: tuple[int, ...] = ()
    """Persons of whom only hands are seen."""
    pairs: tuple[PairMotion, ...] = ()
    pauses: tuple[tuple[float, float], ...] = ()
    """Intervals between two active phases in which nothing moves, seconds."""

    def part(self, name: str, person: int = 0) -> PartActivity | None:
        """Activity of one part; None where it is not seen."""
        return next((a for a in self.activity if a.part == name and a.person == person), None)
