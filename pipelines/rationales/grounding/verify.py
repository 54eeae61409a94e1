"""Claims of a rationale + the clip -> does the motion bear them out? A value in [-1, 1] per claim, and their sum.

1: the motion shows it; 0: it does not tell; -1: it shows the contrary. What a clip cannot tell (a joint that is not
there, depth in a picture) is not counted. Positions are smoothed and measured in torso lengths in the person's own axes
(`skeleton_io.kinematics.tracks`); intervals may be off by `SLACK`. Judges no wording.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipelines.rationales.grounding.claims import Claim, claims_of
from pipelines.rationales.grounding.rationale import Rationale
from skeleton_io.kinematics.facts import MotionFacts
from skeleton_io.kinematics.motion import motion_facts
from skeleton_io.kinematics.tracks import Array, PersonTracks, person_tracks
from skeleton_io.record.sequence import SkeletonSequence

GROUNDING_VERSION = 1
"""Raised whenever the same rationale of the same clip gets another verdict."""
# Between the two the clip does not tell clearly: neither counted for nor against a rationale.
CONTRADICTED = -0.25
SUPPORTED = 0.25
SLACK_S, SLACK_SHARE = 0.12, 0.15
"""How far an interval may be off: seconds, and share of its own length."""
# Torso lengths below which a part has not moved, by part.
_MOVED = {"hand": 0.14, "arm": 0.10, "foot": 0.14, "leg": 0.12, "torso": 0.08, "head": 0.07, "body": 0.12}
_HAND = {side: (f"{side}_hand", f"{side}_wrist", f"{side}_hand_tip") for side in ("left", "right")}
_ENDS = ("left_hand", "right_hand", "left_foot", "right_foot")
# Torso lengths that a part may range over in a second and still count as still: breathing, sway, noise.
_STILL_PATH = 0.5
# A turn that nobody would miss.
_TURNED = math.radians(25)


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """Verdict on one rationale.

    Attributes:
        values: one per claim, None where the clip cannot tell.
        claims: the claims.
        disordered: steps that begin clearly before the step that is told ahead of them.
    """

    claims: tuple[Claim, ...]
    values: tuple[float | None, ...]
    disordered: int

    @property
    def checked(self) -> tuple[float, ...]:
        """Values of the claims that the clip can tell."""
        return tuple(value for value in self.values if value is not None)

    @property
    def supported(self) -> int:
        """Claims that the motion shows."""
        return sum(value >= SUPPORTED for value in self.checked)

    @property
    def contradicted(self) -> int:
        """Claims of which it shows the contrary, and steps out of order."""
        return sum(value <= CONTRADICTED for value in self.checked) + self.disordered

    @property
    def share(self) -> float:
        """Supported share of what can be told, 0 to 1; 1 where nothing can."""
        total = len(self.checked) + self.disordered
        return self.supported / total if total else 1.0

    @property
    def score(self) -> float:
        """One number for ranking, 1 to -3: how far the two worst claims fall short. A rationale is as good as its
        worst statements; what lasts a few frames only, or says only which part moves most, weighs less. Squares: two
        doubts are not one contradiction."""
        lacks = [_weight(c) * (1 - v) ** 2 for c, v in zip(self.claims, self.values, strict=True) if v is not None]
        worst = sorted([*lacks, *[4.0] * self.disordered, 0.0, 0.0])[-2:]
        return 1 - sum(worst) / 2


def _weight(claim: Claim) -> float:
    """How much a claim tells, 0.25 to 1."""
    if claim.kind == "most":
        return 0.35
    if claim.start is None or claim.end is None:
        return 1.0
    return min(1.0, max(0.25, (claim.end - claim.start) / 0.3))


@dataclass(frozen=True)
class _Scene:
    """What claims are checked against."""

    fps: float
    frames: int
    tracks: dict[int, PersonTracks]
    facts: MotionFacts

    def span(self, claim: Claim) -> tuple[int, int]:
        """First and last frame of a claim's interval, both inside the clip."""
        if claim.start is None or claim.end is None:
            return 0, self.frames - 1
        first = min(max(round(claim.start * self.fps), 0), self.frames - 1)
        return first, min(max(round(claim.end * self.fps), first + 1), self.frames - 1)

    def spans(self, claim: Claim) -> list[tuple[int, int]]:
        """The interval, and the same a little earlier and later."""
        first, last = self.span(claim)
        if claim.start is None:
            return [(first, last)]
        # People and models give times to a tenth of a second, and long movements have soft ends.
        slack = round(SLACK_S * self.fps + SLACK_SHARE * (last - first))
        moved = [(first + step, last + step) for step in (0, -slack, slack)]
        inside = [(max(0, a), min(self.frames - 1, b)) for a, b in moved]
        return [span for span in dict.fromkeys(inside) if span[1] > span[0]]


def ground(rationale: Rationale, sequence: SkeletonSequence) -> Grounding:
    """Checks every claim.

    Args:
        rationale: steps are expected in seconds from the clip's first frame.
        sequence: the clip.
    """
    claims = claims_of(rationale)
    starts = [step.start for step in rationale.steps]
    # A tenth of a second: steps that start together may be told in any order.
    disordered = sum(later < earlier - 0.1 for earlier, later in pairwise(starts))
    return Grounding(claims=claims, values=check_claims(claims, sequence), disordered=disordered)


def check_claims(claims: Sequence[Claim], sequence: SkeletonSequence) -> tuple[float | None, ...]:
    """One value in [-1, 1] per claim; None where the clip cannot tell."""
    tracks = {p: track for p in range(sequence.persons) if (track := person_tracks(sequence, p)) is not None}
    scene = _Scene(sequence.fps, sequence.frames, tracks, motion_facts(sequence))
    return tuple(_value(claim, scene) for claim in claims)


def _value(claim: Claim, scene: _Scene) -> float | None:
    persons = [p for p in (claim.persons or tuple(scene.tracks)) if p in scene.tracks]
    # Two frames have no path that noise would not explain.
    if not persons or scene.frames < 3:
        return None
    if claim.kind == "meet":
        return _meets(claim, scene, persons)
    if claim.kind == "at head":
        return _at_head(claim, scene, persons)
    values = [value for person in persons if (value := _of_person(claim, scene, person)) is not None]
    if not values:
        return None
    # "Both persons" means each of them; nobody named means whoever fits.
    return min(values) if len(claim.persons) > 1 else max(values)


def _of_person(claim: Claim, scene: _Scene, person: int) -> float | None:
    track = scene.tracks[person]
    if claim.kind == "leaves":
        return _leaves(claim, scene, person)
    if claim.kind == "rotates":
        return _rotates(claim, scene, track)
    values = []
    for part in claim.parts:
        place = track.part(part)
        if place is None:
            return None
        if claim.kind == "still":
            values.append(_still(place, scene, claim))
        elif claim.kind == "most":
            values.append(_most(part, track, scene))
        elif claim.kind == "swings":
            values.append(_swings(claim, place, part, track, scene))
        else:
            values.append(_moves(claim, place, part, track, scene, person))
    known = [value for value in values if value is not None]
    if not known:
        return None
    return min(known) if claim.every else max(known)


def _moves(claim: Claim, place: Array, part: str, track: PersonTracks, scene: _Scene, person: int) -> float | None:
    """A stroke: does the part travel in the interval, and which way?"""
    least = _MOVED[part.split("_")[-1]]
    best: float | None = None
    for first, last in scene.spans(claim):
        change = place[last] - place[first]
        length = float(np.linalg.norm(change))
        path = _path(place[first : last + 1])
        agreements = [
            value
            for place_of_word, way in enumerate(claim.ways)
            if (value := _along(way, change, part, track, scene, person, first, last, place_of_word > 0)) is not None
        ]
        if claim.ways and not agreements:
            return None
        moving = min(1.0, (length if agreements else path) / least) * 2 - 1
        # One wrong direction is enough to make the statement wrong.
        value = min(moving, *agreements, _as_far(claim, length, track, scene))
        best = value if best is None else max(best, value)
    # Only for what seems true: a statement that is false already needs no second look.
    if best is not None and best > 0 and part != "body":
        best = min(best, _against_twin(place, part, track, scene.span(claim)))
    return best


def _as_far(claim: Claim, length: float, track: PersonTracks, scene: _Scene) -> float:
    """1 where a distance is as stated, less the more it differs; 1 where none is stated."""
    stated = claim.lengths or (claim.metres / track.unit if scene.facts.metric else 0.0)
    if not stated:
        return 1.0
    # Statements are rounded to a tenth; noise of a hundredth of a metre does not matter beside that.
    off = max(0.0, abs(length - stated) - 0.12) / max(stated, 0.2)
    return float(np.clip(1 - 2.2 * off, -0.6, 1))


def _against_twin(place: Array, part: str, track: PersonTracks, span: tuple[int, int]) -> float:
    """1, or less where the same part of the other side does nearly all of the moving: the side may be wrong."""
    if not part.startswith(("left_", "right_")):
        return 1.0
    other = ("right_" if part.startswith("left_") else "left_") + part.split("_", 1)[1]
    twin = track.part(other)
    if twin is None:
        return 1.0
    first, last = span
    # Both hands swing a little in every stroke; nearly all of the motion decides.
    own, his = _path(place[first : last + 1]), _path(twin[first : last + 1])
    return 1.0 if own >= 0.3 * his else -0.6


def _along(
    way: str,
    change: Array,
    part: str,
    track: PersonTracks,
    scene: _Scene,
    person: int,
    first: int,
    last: int,
    besides: bool,
) -> float | None:
    """Agreement of a displacement with a direction word; None where a picture does not tell.

    Moving at a right angle is moving another way. A word that comes after another one (`besides`) may tell the smaller
    part of the displacement.
    """
    # The threshold is added so that the direction of a tiny displacement does not count as clear.
    size = float(np.linalg.norm(change)) + 0.25 * _MOVED[part.split("_")[-1]]
    if way in ("towards", "away"):
        return _towards(way, change, part, track, scene, person, first, size, besides)
    if way in ("together", "apart"):
        return _together(way, part, track, first, last)
    left, up, ahead, _ = track.direction(part, change, (first + last) // 2)
    axis = {"left": 0, "right": 0, "up": 1, "down": 1, "forward": 2, "back": 2}[way]
    # A picture knows up and, from the front, left, or, from the side, ahead.
    if track.view != "space" and axis != 1 and not track.axes[first, axis].any():
        return None
    value = {0: left, 1: up, 2: ahead}[axis] / size
    return _agreement(value if way in ("left", "up", "forward") else -value, besides)


def _agreement(cosine: float, besides: bool) -> float:
    return float(np.clip(1.75 * cosine - (0.35 if besides else 0.6), -1, 1))


def _towards(
    way: str,
    change: Array,
    part: str,
    track: PersonTracks,
    scene: _Scene,
    person: int,
    first: int,
    size: float,
    besides: bool,
) -> float | None:
    others = [other for p, other in scene.tracks.items() if p != person]
    # Among three persons "the other" names nobody.
    if len(others) != 1:
        return None
    # Both tracks are in lengths of their own torso; on the floor, since nobody walks up or down to another.
    line = (others[0].body[first] * (others[0].unit / track.unit) - track.body[first]) * [1, 0, 1]
    line = line / max(float(np.linalg.norm(line)), 1e-9)
    if track.view == "space" and not (part == "body" or part.endswith(("foot", "leg"))):
        change = change @ track.axes[first]
    value = float(change @ line) / size
    return _agreement(value if way == "towards" else -value, besides)


def _together(way: str, part: str, track: PersonTracks, first: int, last: int) -> float | None:
    sides = [track.part(f"{side}_{part.split('_', 1)[-1]}") for side in ("left", "right")]
    if sides[0] is None or sides[1] is None:
        return None
    gap = np.linalg.norm(sides[0] - sides[1], axis=-1)
    # 0.3 torso lengths are a full yes.
    change = float(gap[last] - gap[first]) / 0.3
    return float(np.clip(change if way == "apart" else -change, -1, 1))


def _swings(claim: Claim, place: Array, part: str, track: PersonTracks, scene: _Scene) -> float | None:
    """Back and forth: travel in the interval, along the axis that is named."""
    first, last = scene.span(claim)
    steps = np.diff(place[first : last + 1], axis=0)
    path = float(np.linalg.norm(steps, axis=-1).sum())
    # There and back.
    least = 2 * _MOVED[part.split("_")[-1]]
    value = min(1.0, path / least) * 2 - 1
    axes = {"up": 1, "down": 1, "left": 0, "right": 0, "forward": 2, "back": 2}
    named = {axes[way] for way in claim.ways if way in axes}
    if named and value > 0 and track.view == "space":
        middle = (first + last) // 2
        # All steps in the axes of the middle frame: a person who swings an arm may turn meanwhile.
        turned = np.array([track.direction(part, step, middle)[:3] for step in steps])
        share = np.abs(turned).sum(0) / max(float(np.abs(turned).sum()), 1e-9)
        value = min(value, float(np.clip((share[list(named)].max() - 0.2) * 4, -1, 1)))
    return min(value, _against_twin(place, part, track, (first, last)))


def _still(place: Array, scene: _Scene, claim: Claim) -> float:
    first, last = scene.span(claim)
    # Sway grows with the root of time, as a random walk does.
    seconds = max((last - first) / scene.fps, 1.0)
    extent = float(np.linalg.norm(np.ptp(place[first : last + 1], axis=0)))
    return float(np.clip(1 - 1.6 * extent / (_STILL_PATH * max(1.0, seconds**0.5)), -1, 1))


def _most(part: str, track: PersonTracks, scene: _Scene) -> float | None:
    """Whether a hand or foot travels as far as the other hands and feet, its twin above all. Trunk and body tell by
    small movements, which no length of path can weigh against a hand's: not checked."""
    if part not in _ENDS:
        return None
    paths = {name: _path(place) for name in _ENDS if (place := track.part(name)) is not None}
    twin = ("right_" if part.startswith("left_") else "left_") + part.split("_", 1)[1]
    against_all = (paths[part] / max(*paths.values(), 1e-9) - 0.35) * 3
    against_twin = (paths[part] / max(paths[twin], 1e-9) - 0.8) * 4 if twin in paths else 1.0
    return float(np.clip(min(against_all, against_twin), -1, 1))


def _rotates(claim: Claim, scene: _Scene, track: PersonTracks) -> float | None:
    if track.view != "space":
        return None
    best = -1.0
    for first, last in scene.spans(claim):
        turn = _largest_turn(track.heading[first : last + 1])
        # A turn of the threshold is a full yes, none a full no.
        size = min(1.0, abs(turn) / _TURNED) * 2 - 1
        if claim.degrees:
            size = min(size, 1 - 2 * max(0.0, abs(abs(math.degrees(turn)) - claim.degrees) - 15) / claim.degrees)
        way = claim.ways[0] if claim.ways and claim.ways[0] in ("left", "right") else ""
        sign = 1.0 if not way else math.copysign(1.0, turn if way == "left" else -turn)
        best = max(best, size if sign > 0 else -abs(size))
    return best


def _largest_turn(heading: Array) -> float:
    """The largest change of heading from an earlier to a later frame, with its sign."""
    # Not last minus first: who turns and turns back has turned.
    left = heading - np.minimum.accumulate(heading)
    right = heading - np.maximum.accumulate(heading)
    return float(left.max() if left.max() >= -right.min() else right.min())


def _leaves(claim: Claim, scene: _Scene, person: int) -> float:
    """Both feet off the floor during the interval."""
    # The facts have looked for flights over all of the clip already, with the floor as it is there.
    flights = [e for e in scene.facts.events if e.person == person and e.motion == "leaves the floor"]
    first, last = (t / scene.fps for t in scene.span(claim))
    return 1.0 if any(e.start <= last + SLACK_S and e.end >= first - SLACK_S for e in flights) else -0.7


def _meets(claim: Claim, scene: _Scene, persons: list[int]) -> float | None:
    """Hands come together: one person's own, or those of two persons."""
    first, last = scene.span(claim)
    gaps = []
    pairs = [(p, p) for p in persons] if len(claim.persons) < 2 else [(claim.persons[0], claim.persons[1])]
    for a, b in pairs:
        # Each person is measured by the own torso.
        scale = scene.tracks[b].unit / scene.tracks[a].unit
        for one, two in (
            (("left", "right"),)
            if a == b
            else (("left", "left"), ("left", "right"), ("right", "left"), ("right", "right"))
        ):
            mine, yours = scene.tracks[a].joint(*_HAND[one]), scene.tracks[b].joint(*_HAND[two])
            if mine is not None and yours is not None:
                gaps.append(float(np.linalg.norm(mine - yours * scale, axis=-1)[first : last + 1].min()))
    return float(np.clip((0.75 - min(gaps)) * 4, -0.6, 1)) if gaps else None


def _at_head(claim: Claim, scene: _Scene, persons: list[int]) -> float | None:
    """A hand is close to the head at some moment of the interval."""
    first, last = scene.span(claim)
    gaps = []
    for person in persons:
        head = scene.tracks[person].joint("nose", "head", "head_top")
        for side in {part.split("_")[0] for part in claim.parts}:
            hand = scene.tracks[person].joint(*_HAND[side])
            if head is not None and hand is not None:
                gaps.append(float(np.linalg.norm(hand - head, axis=-1)[first : last + 1].min()))
    return float(np.clip((0.95 - min(gaps)) * 4, -0.6, 1)) if gaps else None


def _path(place: Array) -> float:
    return float(np.linalg.norm(np.diff(place, axis=0), axis=-1).sum())
