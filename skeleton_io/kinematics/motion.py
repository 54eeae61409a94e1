"""SkeletonSequence -> facts about the motion: who moves which part, when, which way, how far, how often.

Works on any topology through anatomical names, in 3D and in 2D, with missing joints, missing frames and single frames;
what cannot be known is absent, never guessed. Names no action and reads no labels.
"""

from __future__ import annotations

import math

import numpy as np

from skeleton_io.kinematics.facts import MotionEvent, MotionFacts, PartActivity, WholeBody
from skeleton_io.kinematics.hands import find_hand_facts, track_hands
from skeleton_io.kinematics.pairs import find_pairs, find_pauses
from skeleton_io.kinematics.relations import find_contacts, find_relations
from skeleton_io.kinematics.strokes import Stroke, find_active_spans, find_strokes
from skeleton_io.kinematics.tracks import PART_JOINTS, Array, PersonTracks, is_fixed_to_floor, person_tracks
from skeleton_io.record.sequence import SkeletonSequence

# Shortest travel that counts as an event, torso lengths (about half a metre each): above tracking noise.
_LEAST: dict[str, float] = {"hand": 0.18, "arm": 0.18, "foot": 0.22, "leg": 0.22, "torso": 0.16, "head": 0.14}
_LEAST_BODY = 0.18
_LEAST_TURN = math.radians(50)
_STILL_SPEED = 0.35
"""Torso lengths per second below which a part rests."""
_LIFT = 0.10
"""Torso lengths of both feet and the pelvis above their first height; noise of depth sensors stays below."""
# Nobody stays in the air for longer: a slower rise is the floor rising in a tilted camera, or stairs.
_LONGEST_FLIGHT = 0.9


def motion_facts(sequence: SkeletonSequence) -> MotionFacts:
    """Facts of one clip. Never raises for a valid sequence; an unusable person is left out."""
    tracks = {p: track for p in range(sequence.persons) if (track := person_tracks(sequence, p)) is not None}
    events: list[MotionEvent] = []
    activity: list[PartActivity] = []
    for person, track in tracks.items():
        others = [other.body * other.unit / track.unit for p, other in tracks.items() if p != person]
        partner = others[0] if len(others) == 1 else None
        for part in (*PART_JOINTS, "body"):
            place = track.part(part)
            if place is None:
                continue
            activity.append(_activity(place, part, person, sequence.fps))
            events += _moves(place, part, person, track, partner, sequence)
        events += _rotations(track, person, sequence.fps)
        events += _flights(track, person, sequence)
    contacts = find_contacts(tracks, sequence.fps)
    hands = _bare_hands(sequence, set(tracks))
    for person, track in hands.items():
        hand_events, hand_activity, pinches = find_hand_facts(track, person, sequence)
        events, activity, contacts = events + hand_events, activity + hand_activity, (*contacts, *pinches)
    events.sort(key=lambda event: (event.start, event.person, event.part))
    onsets = sorted((a.spans[0][0], a.person, a.part) for a in activity if a.spans)
    return MotionFacts(
        duration=sequence.duration,
        persons=(*tracks, *hands),
        metric=sequence.scale == "metric",
        views=tuple(track.view for track in (*tracks.values(), *hands.values())),
        events=tuple(events),
        activity=tuple(activity),
        onsets=tuple((person, part, start) for start, person, part in onsets),
        contacts=contacts,
        relations=find_relations(tracks),
        bodies=tuple(_whole(person, track, activity, events, sequence.fps) for person, track in tracks.items()),
        hands=tuple(hands),
        pairs=find_pairs(tracks, {(e.part, e.person) for e in events}, sequence.fps),
        pauses=find_pauses(activity),
    )


def _bare_hands(sequence: SkeletonSequence, bodies: set[int]) -> dict[int, PersonTracks]:
    """Persons of whom hands are seen but no body."""
    rest = (person for person in range(sequence.persons) if person not in bodies)
    return {person: track for person in rest if (track := track_hands(sequence, person)) is not None}


def _least(part: str) -> float:
    return _LEAST_BODY if part == "body" else _LEAST[part.split("_")[-1]]


def _activity(place: Array, part: str, person: int, fps: float) -> PartActivity:
    if len(place) < 2:
        return PartActivity(part=part, person=person, path=0.0, peak_speed=0.0, spans=())
    speed = np.linalg.norm(np.diff(place, axis=0), axis=-1) * fps
    # Beside a fast movement a slow drift is rest.
    floor = max(_STILL_SPEED, 0.15 * float(speed.max()))
    spans = find_active_spans(speed, floor, gap=round(0.15 * fps), least=max(1, round(0.1 * fps)))
    return PartActivity(
        part=part,
        person=person,
        path=float(speed.sum() / fps),
        peak_speed=float(speed.max()),
        spans=tuple((first / fps, (last + 1) / fps) for first, last in spans),
    )


def _moves(
    place: Array, part: str, person: int, track: PersonTracks, partner: Array | None, sequence: SkeletonSequence
) -> list[MotionEvent]:
    """Strokes of one part as events."""
    out = []
    for stroke in find_strokes(place, _least(part), sequence.fps):
        out.append(
            MotionEvent(
                part=part,
                person=person,
                start=stroke.start / sequence.fps,
                end=stroke.end / sequence.fps,
                motion="swings" if stroke.repetitions > 1 else "moves",
                direction=_direction(stroke, part, track, partner),
                distance=stroke.length,
                metres=stroke.length * track.unit if sequence.scale == "metric" else math.nan,
                degrees=math.nan,
                peak_speed=stroke.peak * sequence.fps,
                repetitions=stroke.repetitions,
            )
        )
    return out


def _direction(stroke: Stroke, part: str, track: PersonTracks, partner: Array | None) -> tuple[str, ...]:
    """Words for a displacement, strongest first; the second only where it is at least half as strong."""
    middle = (stroke.start + stroke.end) // 2
    left, up, ahead, sideways = track.direction(part, stroke.change, middle)
    if partner is not None:
        # In company what counts is the other person: the horizontal way is measured on the line between the two.
        line = (partner[stroke.start] - track.body[stroke.start]) * [1, 0, 1]
        line /= max(float(np.linalg.norm(line)), 1e-9)
        change = stroke.change
        if track.view == "space" and not is_fixed_to_floor(part):
            change = stroke.change @ track.axes[middle]
        near = float(change @ line)
        flat = float(np.linalg.norm(change * [1, 0, 1]))
        if flat > 1e-9 and abs(near) > 0.7 * flat:
            words = [(abs(near), "towards" if near > 0 else "away"), (abs(up), "up" if up > 0 else "down")]
            return _strongest(words)
    words = [
        (abs(left), "left" if left > 0 else "right"),
        (abs(up), "up" if up > 0 else "down"),
        (abs(ahead), "forward" if ahead > 0 else "back"),
        (sideways, "sideways"),
    ]
    return _strongest(words)


def _strongest(words: list[tuple[float, str]]) -> tuple[str, ...]:
    words = sorted(words, key=lambda item: -item[0])
    top = words[0][0]
    return tuple(word for size, word in words[:2] if size > 1e-6 and size >= 0.5 * top)


def _rotations(track: PersonTracks, person: int, fps: float) -> list[MotionEvent]:
    """Turns of the whole body by 50 degrees or more."""
    angle = np.stack([track.heading, np.zeros_like(track.heading), np.zeros_like(track.heading)], axis=-1)
    out = []
    for stroke in find_strokes(angle, _LEAST_TURN, fps):
        turn = float(stroke.change[0])
        out.append(
            MotionEvent(
                part="body",
                person=person,
                start=stroke.start / fps,
                end=stroke.end / fps,
                motion="rotates",
                direction=("left" if turn > 0 else "right",),
                distance=math.nan,
                metres=math.nan,
                degrees=abs(math.degrees(turn)),
                peak_speed=math.degrees(stroke.peak) * fps,
                repetitions=stroke.repetitions,
            )
        )
    if track.view != "space":
        out += _flat_turn(track, person, fps)
    return out


def _flat_turn(track: PersonTracks, person: int, fps: float) -> list[MotionEvent]:
    """In a picture a half turn shows as left and right shoulder changing places; its direction does not show."""
    left, right = track.joint("left_shoulder"), track.joint("right_shoulder")
    if left is None or right is None:
        return []
    width = (left - right)[:, 0]
    # Third values keep a single wild frame from making a turn.
    ends = [float(np.median(part)) for part in (width[: len(width) // 5 + 1], width[-(len(width) // 5 + 1) :])]
    if min(abs(ends[0]), abs(ends[1])) < 0.25 or ends[0] * ends[1] > 0:
        return []
    share = (width - ends[0]) / (ends[1] - ends[0])
    start = int(np.flatnonzero(share < 0.1)[-1]) if (share < 0.1).any() else 0
    late = np.flatnonzero(share > 0.9)
    end = int(late[late > start][0]) if (late > start).any() else len(width) - 1
    return [
        MotionEvent(
            part="body",
            person=person,
            start=start / fps,
            end=end / fps,
            motion="rotates",
            direction=(),
            distance=math.nan,
            metres=math.nan,
            degrees=math.nan,
            peak_speed=math.nan,
            repetitions=1,
        )
    ]


def _off_floor(track: PersonTracks) -> Array | None:
    """(T,) how far the lower foot and the pelvis are both above where they were at first; None without feet."""
    left, right = (track.joint(f"{side}_ankle", f"{side}_foot", f"{side}_toes") for side in ("left", "right"))
    if left is None or right is None:
        return None
    # The floor is where the feet are in the first tenth of the clip.
    start = slice(0, max(1, len(track.body) // 10))
    rise = [place[:, 1] - float(np.median(place[start, 1])) for place in (left, right, track.body)]
    return np.min(rise, axis=0)


def _flight_spans(rise: Array, fps: float) -> list[tuple[int, int]]:
    spans = find_active_spans(rise, _LIFT, gap=0, least=2)
    return [(first, last) for first, last in spans if last - first <= _LONGEST_FLIGHT * fps]


def _flights(track: PersonTracks, person: int, sequence: SkeletonSequence) -> list[MotionEvent]:
    """Moments at which both feet and the pelvis are higher than at the start."""
    rise = _off_floor(track)
    if rise is None:
        return []
    fps = sequence.fps
    out = []
    for first, last in _flight_spans(rise, fps):
        height = float(rise[first : last + 1].max())
        out.append(
            MotionEvent(
                part="body",
                person=person,
                start=first / fps,
                end=last / fps,
                motion="leaves the floor",
                direction=("up",),
                distance=height,
                metres=height * track.unit if sequence.scale == "metric" else math.nan,
                degrees=math.nan,
                peak_speed=math.nan,
                repetitions=1,
            )
        )
    return out


def _whole(
    person: int, track: PersonTracks, activity: list[PartActivity], events: list[MotionEvent], fps: float
) -> WholeBody:
    """Travel, turn and height of one person."""
    change = (track.body[-1] - track.body[0]) * [1, 0, 1]
    left, _, ahead, sideways = track.direction("body", change, 0)
    words = [
        (abs(left), "left" if left > 0 else "right"),
        (abs(ahead), "forward" if ahead > 0 else "back"),
        (sideways, "sideways"),
    ]
    height = track.body[:, 1] - track.body[0, 1]
    rise = _off_floor(track)
    hands = ("left_hand", "right_hand")
    paths = [a.path for a in activity if a.person == person and a.part in hands]
    # A path of noise alone says nothing about symmetry.
    moving = len(paths) == 2 and any(e.person == person and e.part in hands for e in events)
    return WholeBody(
        person=person,
        travel=float(np.linalg.norm(change)),
        direction=_strongest(words),
        nearer=math.nan if track.view == "space" else float(track.growth[-1] / track.growth[0]) - 1,
        turn=math.degrees(track.heading[-1] - track.heading[0]) if track.view == "space" else math.nan,
        lowest=float(height.min()),
        highest=float(height.max()),
        airborne=0.0 if rise is None else sum(last - first + 1 for first, last in _flight_spans(rise, fps)) / fps,
        symmetry=min(paths) / max(paths) if moving else math.nan,
    )
