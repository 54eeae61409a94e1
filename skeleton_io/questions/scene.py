"""SkeletonSequence -> what questions are made from: facts, tracks, names of the persons; margins; what a question is.

A part of `questions`, which makes them. Left and right of a body are the person's own; two persons are named as the
picture shows them, left and right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from skeleton_io.kinematics.facts import MotionEvent, MotionFacts
from skeleton_io.kinematics.motion import motion_facts
from skeleton_io.kinematics.tracks import PersonTracks, person_tracks
from skeleton_io.record.sequence import SkeletonSequence

YES, NO = "yes", "no"
MORE_RATIO = 1.6
"""How many times as far a part must travel to have moved "more"."""
ALIKE_RATIO = 1.4
"""At most this many times as far may one side travel where both move alike or in turns."""
LEAST_TRAVEL, LEAST_TURN = 1.0, 60.0
"""Shortest way of a whole person, torso lengths, and smallest turn, degrees, whose direction is asked for."""
APART_S = 0.3
"""Seconds between two beginnings (endings) that count as one after the other."""
HALF_RATIO = 2.0
REST_PATH, REST_SHARE = 0.35, 0.12
"""A part rests that has no event and a path below this many torso lengths (per 2 s), or this share of the longest."""
COUNTS = ("1", "2", "3", "4", "5", "6 or more")
_FAMILIES = {
    "which hand": "spatial",
    "which foot": "spatial",
    "which finger": "spatial",
    "hand to head": "spatial",
    "moves": "spatial",
    "direction": "spatial",
    "travel": "spatial",
    "turn": "spatial",
    "together": "spatial",
    "repetitions": "count",
    "meetings": "count",
    "jumps": "count",
    "persons": "count",
    "begins first": "temporal",
    "ends last": "temporal",
    "order": "temporal",
    "after": "temporal",
    "half": "temporal",
    "who moves more": "persons",
    "who begins first": "temporal",
    "who ends last": "temporal",
    "towards": "persons",
    "away": "persons",
    "distance": "persons",
    "why nearer": "causal",
    "why apart": "causal",
    "why meet": "causal",
    "reaction": "causal",
    "take-off": "causal",
}
KINDS = tuple(_FAMILIES)


@dataclass(frozen=True)
class Question:
    """One question; `answer` is one of `choices`, verbatim. The order of the choices tells nothing.

    Attributes:
        question: a sentence.
        answer: a few words.
        kind: one of `KINDS`.
        choices: at least two.
    """

    question: str
    answer: str
    kind: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """What the questions are made from.

    Attributes:
        key: the clip's; decides which of two equally good questions is asked.
        facts: of the clip.
        tracks: person -> tracks; persons of whom only hands are seen have none.
        names: person -> "the person", "the person on the left" ...; persons that cannot be told apart have none.
        fps: frames per second.
    """

    key: str
    facts: MotionFacts
    tracks: dict[int, PersonTracks]
    names: dict[int, str]
    fps: float

    def coin(self, name: str) -> bool:
        """The same side for a clip and its mirror image."""
        # A hash, no random number: the clip asks the same in every run and on every machine.
        return hashlib.sha256(f"{self.key}/{name}".encode()).digest()[0] % 2 == 0

    def of(self, part: str, person: int) -> str:
        """ "the left hand" or "the left hand of the person on the left"."""
        word = part.replace("_", " ")
        return f"the {word}" if len(self.names) == 1 else f"the {word} of {self.names[person]}"

    def events(self, person: int, *parts: str) -> list[MotionEvent]:
        """Events of these parts, in the order in which they begin."""
        return [e for e in self.facts.events if e.person == person and e.part in parts]

    def path(self, part: str, person: int) -> float | None:
        """Torso lengths travelled; None where the part is not seen."""
        activity = self.facts.part(part, person)
        return None if activity is None else activity.path


def family(kind: str) -> str:
    """spatial, count, temporal, persons or causal."""
    return _FAMILIES[kind]


def scene_of(seq: SkeletonSequence) -> Scene:
    """Facts, tracks and names of a clip's persons."""
    facts = motion_facts(seq)
    tracks = {p: t for p in facts.persons if p not in facts.hands and (t := person_tracks(seq, p)) is not None}
    names = {facts.persons[0]: "the person"} if len(facts.persons) == 1 else _names(tracks)
    return Scene(seq.key, facts, tracks, names, seq.fps)


def _names(tracks: dict[int, PersonTracks]) -> dict[int, str]:
    """Names of two persons who stand side by side in the picture all the time; else none.

    The record's +x is the image's left, of a sensor as of the framing camera that looks across the line between two.
    """
    if len(tracks) != 2:
        return {}
    (a, one), (b, two) = tracks.items()
    gap = two.body * (two.unit / one.unit) - one.body
    # Side by side means: further apart across the picture than in depth, and never past each other.
    if abs(gap[0, 0]) < 0.6 or abs(gap[0, 0]) < abs(gap[0, 2]) or (gap[:, 0] * gap[0, 0] <= 0).any():
        return {}
    left, right = (b, a) if gap[0, 0] > 0 else (a, b)
    return {left: "the person on the left", right: "the person on the right"}


def compare_lengths(pair: Sequence[float | None], ratio: float) -> int | None:
    """0 or 1, whichever of two lengths is clearly larger; None where neither is."""
    one, two = pair
    if one is None or two is None or max(one, two) < ratio * max(min(one, two), 1e-9):
        return None
    return 0 if one > two else 1


def count_choice(number: int) -> str:
    """A number as one of the choices."""
    return COUNTS[min(number, len(COUNTS)) - 1]
