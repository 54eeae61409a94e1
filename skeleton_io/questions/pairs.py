"""A scene -> questions about persons and meetings: how many, who moves more, who approaches whom, and what causes what.

A part of `questions`. Two persons are asked about only where the picture tells them apart as left and right. A cause is
only what shows: who closes a gap, which hand goes to the other, what follows a touch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skeleton_io.questions.scene import APART_S, COUNTS, MORE_RATIO, Question, Scene, compare_lengths, count_choice

LEAST_APPROACH = 0.5
"""Torso lengths by which the distance of two persons must change to be asked about."""
_STOOD = 0.2
"""Torso lengths that somebody who stays in place may still shift."""
_BOTH_RATIO = 1.6
"""Ways that differ by less than this factor are of both."""
_ONE_RATIO = 3.0
"""Ways that differ by more are of one; in between nothing is asked."""
_REACTION_S = 1.2
"""What follows a touch within this time counts as an answer to it."""


def pair_questions(scene: Scene) -> Iterable[Question]:
    """All questions that concern more than one part or person."""
    if scene.tracks and not scene.facts.hands:
        yield Question("How many persons are seen?", count_choice(len(scene.tracks)), "persons", COUNTS)
    yield from _hands_meet(scene)
    if len(scene.names) != 2:
        return
    yield from _busier(scene)
    yield from _first_person(scene)
    yield from _distances(scene)
    yield from _reactions(scene)


def _people(scene: Scene) -> tuple[int, int, tuple[str, ...]]:
    """The person on the left, the one on the right, their names."""
    left, right = sorted(scene.names, key=lambda person: scene.names[person])
    return left, right, (scene.names[left], scene.names[right])


def _hands_meet(scene: Scene) -> Iterable[Question]:
    """Why the hands of a person meet: which of them goes to the other."""
    for contact in scene.facts.contacts:
        person = contact.persons[0]
        if contact.kind != "own hands" or person not in scene.names or person not in scene.tracks:
            continue
        last = round(contact.start * scene.fps)
        first = max(0, last - round(0.6 * scene.fps))
        ways = []
        for part in ("left_hand", "right_hand"):
            place = scene.tracks[person].part(part)
            ways.append(0.0 if place is None else float(np.linalg.norm(place[last] - place[first])))
        choices = ("the left hand goes to the right hand", "the right hand goes to the left hand", "both hands move")
        one = compare_lengths(ways, _ONE_RATIO)
        if min(ways) > 0 and max(ways) > 0.3 and (one is not None or max(ways) < _BOTH_RATIO * min(ways)):
            question = f"Why do the hands of {scene.names[person]} meet?"
            yield Question(question, choices[2 if one is None else one], "why meet", choices)


def _busier(scene: Scene) -> Iterable[Question]:
    """Who moves more: the ways of hands and feet together."""
    left, right, choices = _people(scene)
    parts = ("left_hand", "right_hand", "left_foot", "right_foot")
    paths = [[scene.path(part, person) for part in parts] for person in (left, right)]
    if any(path is None for row in paths for path in row):
        return
    winner = compare_lengths([sum(path for path in row if path is not None) for row in paths], MORE_RATIO)
    if winner is not None:
        yield Question("Who moves more?", choices[winner], "who moves more", choices)


def _first_person(scene: Scene) -> Iterable[Question]:
    """Who begins to move first, who stops last."""
    left, right, choices = _people(scene)
    spans = {}
    for person in (left, right):
        events = [e for e in scene.facts.events if e.person == person]
        if not events:
            return
        spans[person] = (min(e.start for e in events), max(e.end for e in events))
    begins = spans[right][0] - spans[left][0]
    ends = spans[left][1] - spans[right][1]
    if abs(begins) >= APART_S:
        yield Question("Who begins to move first?", choices[int(begins < 0)], "who begins first", choices)
    if abs(ends) >= APART_S:
        yield Question("Who stops moving last?", choices[int(ends < 0)], "who ends last", choices)


def _distances(scene: Scene) -> Iterable[Question]:
    """How the distance changes, who changes it, in words of motion and of cause."""
    left, right, names = _people(scene)
    one, two = scene.tracks[left], scene.tracks[right]
    line = (two.body * (two.unit / one.unit) - one.body) * [1, 0, 1]
    gap = np.linalg.norm(line, axis=-1)
    nearest = int(gap.argmin())
    ends = ("nearer to each other", "further apart", "as far apart as before")
    change = float(gap[-1] - gap[0])
    if abs(change) >= LEAST_APPROACH or (abs(change) < _STOOD and float(np.ptp(gap)) < LEAST_APPROACH):
        answer = ends[2] if abs(change) < _STOOD else ends[int(change > 0)]
        yield Question(
            "How are the two persons placed at the end, compared with the beginning?", answer, "distance", ends
        )
    choices = (*names, "both")
    for kind, words, span in (("towards", "towards", (0, nearest)), ("away", "away from", (nearest, len(gap) - 1))):
        first, last = span
        shift = float(gap[first] - gap[last])
        if abs(shift) < LEAST_APPROACH:
            continue
        way = line[first] / max(float(gap[first]), 1e-9) * (1 if kind == "towards" else -1)
        parts = [
            float((one.body[last] - one.body[first]) @ way),
            -float((two.body[last] - two.body[first]) @ way) * (two.unit / one.unit),
        ]
        mover = _mover(parts)
        if mover is None:
            continue
        yield Question(f"Who moves {words} the other person?", choices[mover], kind, choices)
        change_word = "smaller" if kind == "towards" else "larger"
        cause = tuple(f"{name} {'move' if name == 'both' else 'moves'}" for name in choices)
        why = "why nearer" if kind == "towards" else "why apart"
        yield Question(f"Why does the distance between the two persons become {change_word}?", cause[mover], why, cause)


def _mover(parts: list[float]) -> int | None:
    """0, 1 or 2 (both): whose way explains the change; None where that is not clear."""
    if min(parts) >= _STOOD and max(parts) < _BOTH_RATIO * min(parts):
        return 2
    if max(parts) >= 0.4 and min(parts) < max(parts) / _ONE_RATIO and abs(min(parts)) < max(parts):
        return int(parts[1] > parts[0])
    return None


def _reactions(scene: Scene) -> Iterable[Question]:
    """What a person does after the other's hand has reached the trunk."""
    contact = next((c for c in scene.facts.contacts if c.kind == "hand and other"), None)
    if contact is None or any(person not in scene.names for person in contact.persons):
        return
    doer, other = contact.persons
    one, two = scene.tracks[doer].body * (scene.tracks[doer].unit / scene.tracks[other].unit), scene.tracks[other].body
    first = round(contact.start * scene.fps)
    last = min(len(two) - 1, first + round(_REACTION_S * scene.fps))
    if last - first < round(0.4 * scene.fps):
        return
    away = (two[first] - one[first]) * [1, 0, 1]
    shift = float((two[last] - two[first]) @ (away / max(float(np.linalg.norm(away)), 1e-9)))
    choices = ("moves away", "comes nearer", "stays there")
    if _STOOD / 2 < abs(shift) < 0.4:
        return
    answer = choices[2] if abs(shift) <= _STOOD / 2 else choices[int(shift < 0)]
    question = f"What does {scene.names[other]} do after {scene.names[doer]} has reached out to them?"
    yield Question(question, answer, "reaction", choices)
