"""A scene -> questions about time in one person's motion: what begins first, what ends last, what comes after what.

A part of `questions`. Times come from events, which hold only travel that is well above noise.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, pairwise

import numpy as np

from skeleton_io.kinematics.facts import MotionEvent
from skeleton_io.questions.scene import APART_S, HALF_RATIO, Question, Scene

NamedEvent = tuple[MotionEvent, str]
_ENDS = ("left_hand", "right_hand", "left_foot", "right_foot")
_MOST_CHOICES = 4
_SINK = 0.15
"""Torso lengths that a body sinks which takes a swing before it jumps."""


def order_questions(scene: Scene, person: int) -> Iterable[Question | None]:
    """All questions about the order of one person's movements."""
    yield from _beginnings(scene, person)
    yield from _order(scene, person)
    yield from _halves(scene, person)
    yield from _take_off(scene, person)


def _beginnings(scene: Scene, person: int) -> Iterable[Question]:
    """Which of two parts begins first, which ends last: the pair that is clearest."""
    spans = {p: (e[0].start, max(x.end for x in e)) for p in _ENDS if (e := scene.events(person, p))}
    whose = "" if len(scene.names) == 1 else f" of {scene.names[person]}"
    for at, sign, words, kind in ((0, 1, "begins to move first", "begins first"), (1, -1, "stops last", "ends last")):
        gaps = {(a, b): sign * (spans[b][at] - spans[a][at]) for a, b in combinations(spans, 2)}
        if not gaps:
            continue
        # Ties of the gap are broken by a name that a mirror leaves alone.
        a, b = max(gaps, key=lambda pair: (round(abs(gaps[pair]), 6), sorted(p[-4:] for p in pair)))
        if abs(gaps[a, b]) < APART_S or _tied(gaps, (a, b)):
            continue
        choices = tuple(f"the {part.replace('_', ' ')}" for part in (a, b))
        question = f"Which{whose} {words}: {choices[0]} or {choices[1]}?"
        yield Question(question, choices[0] if gaps[a, b] > 0 else choices[1], kind, choices)


def _tied(gaps: dict[tuple[str, str], float], best: tuple[str, str]) -> bool:
    """Whether another pair is as far apart, so that a mirror image might ask for that one."""
    return sum(abs(abs(gap) - abs(gaps[best])) < 1e-6 for gap in gaps.values()) > 1


def describe_event(event: MotionEvent) -> str | None:
    """An event in words that name one direction; None where it has none or several."""
    part = event.part.replace("_", " ")
    if event.motion == "leaves the floor":
        return "leaving the floor"
    if event.part == "body":
        turns = event.motion == "rotates" and len(event.direction) == 1
        return f"turning to the {event.direction[0]}" if turns else None
    if event.motion == "swings":
        return f"swinging the {part} back and forth"
    if event.motion == "moves" and len(event.direction) == 1:
        way = {"towards": "towards the other person", "away": "away from the other person"}
        return f"moving the {part} {way.get(event.direction[0], event.direction[0])}"
    if event.motion in ("bends", "stretches"):
        return f"{event.motion[:-1] if event.motion == 'bends' else 'stretch'}ing the {part}"
    return None


def _name_events(scene: Scene, person: int) -> list[NamedEvent]:
    """Events whose words fit nothing else that the person does."""
    out = []
    events = [e for e in scene.facts.events if e.person == person and not e.part.endswith(("arm", "leg", "torso"))]
    for event in events:
        words = describe_event(event)
        twins = [
            e
            for e in events
            if e is not event
            and (e.part, e.motion) == (event.part, event.motion)
            and (not event.direction or not e.direction or event.direction[0] in e.direction)
        ]
        if words is not None and not twins and event.part != "head":
            out.append((event, words))
    return out


def _order(scene: Scene, person: int) -> Iterable[Question]:
    """Which of two movements comes first; which comes next after one that has two or more others around it."""
    named_events = _name_events(scene, person)
    apart = [
        (one, two)
        for one, two in combinations(named_events, 2)
        if one[0].end <= two[0].start + 1e-6 or two[0].end <= one[0].start + 1e-6
    ]
    name = scene.names[person]
    one, two = _furthest(apart) or (None, None)
    if one is not None and two is not None:
        choices = tuple(sorted((one[1], two[1])))
        question = f"What does {name} do first: {choices[0]} or {choices[1]}?"
        yield Question(question, one[1], "order", choices)
    chain = _chain(named_events)
    if 3 <= len(chain) <= _MOST_CHOICES + 1:
        middle = 1 if scene.coin("after") or len(chain) == 3 else len(chain) - 2
        others = tuple(sorted(words for i, (_, words) in enumerate(chain) if i != middle))
        question = f"What does {name} do directly after {chain[middle][1]}?"
        yield Question(question, chain[middle + 1][1], "after", others)


def _furthest(pairs: list[tuple[NamedEvent, NamedEvent]]) -> tuple[NamedEvent, NamedEvent] | None:
    """The two movements that lie furthest apart, the earlier one first; of pairs that lie as far apart none, since a
    mirror image would have no reason to take the same one."""
    gaps = [round(abs(two[0].start - one[0].start), 4) for one, two in pairs]
    single = [(gap, pair) for gap, pair in zip(gaps, pairs, strict=True) if gaps.count(gap) == 1]
    if not single:
        return None
    one, two = max(single, key=lambda item: item[0])[1]
    return (one, two) if one[0].start < two[0].start else (two, one)


def _chain(named_events: list[NamedEvent]) -> list[NamedEvent]:
    """The events in order if no two of them overlap by more than a tenth of a second; else nothing."""
    ordered = sorted(named_events, key=lambda item: item[0].start)
    clear = all(a[0].end <= b[0].start + 0.1 for a, b in pairwise(ordered))
    return ordered if clear else []


def _halves(scene: Scene, person: int) -> Iterable[Question]:
    """In which half of the clip the person moves more: how long each part is in motion there."""
    middle, shares = scene.facts.duration / 2, np.zeros(2)
    for activity in scene.facts.activity:
        if activity.person == person and scene.events(person, activity.part):
            for start, end in activity.spans:
                shares += max(0.0, min(end, middle) - start), max(0.0, end - max(start, middle))
    if shares.max() >= 0.3 and shares.max() >= HALF_RATIO * shares.min():
        choices = ("the first half", "the second half")
        question = f"In which half of the clip does {scene.names[person]} move more?"
        yield Question(question, choices[int(shares.argmax())], "half", choices)


def _take_off(scene: Scene, person: int) -> Iterable[Question]:
    """What comes before a jump: the body sinks or it does not."""
    track = scene.tracks.get(person)
    jump = next((e for e in scene.events(person, "body") if e.motion == "leaves the floor"), None)
    if track is None or jump is None:
        return
    last = round(jump.start * scene.fps)
    before = track.body[max(0, last - round(0.9 * scene.fps)) : max(1, last), 1] - track.body[0, 1]
    sunk = -float(before.min())
    # In between either word could be said.
    if 0.3 * _SINK < sunk < _SINK:
        return
    choices = ("sinks down", "stays upright")
    question = f"What does {scene.names[person]} do just before leaving the floor, to make it possible?"
    yield Question(question, choices[0] if sunk >= _SINK else choices[1], "take-off", choices)
