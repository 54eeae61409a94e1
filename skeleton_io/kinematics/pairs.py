"""Tracks of one person -> do both hands, or both feet, move alike or take turns; spans of activity -> pauses.

Graded from -1 to 1, since the verifier weighs what the facts only state. Knows no action.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skeleton_io.kinematics.facts import PairMotion, PartActivity
from skeleton_io.kinematics.tracks import Array, PersonTracks, smooth

CLEAR = 0.5
"""Least grade at which the facts say so."""
_LEAST_PATH = 0.8
"""Torso lengths that the busier side must travel."""
_LEAST_RATIO = 0.5
"""Share of that which the other side must travel too."""
_LEAST_PAUSE_S = 0.4
_PHASE_S = 0.2
"""Velocities are averaged over this time: both sides are never in step to the frame."""


def grade_pair(track: PersonTracks, limb: str, fps: float) -> tuple[float, float] | None:
    """How clearly both sides move (alike, in turns), each -1 to 1; None where a side or its depth is not seen, or
    where a side hardly moves.

    Alike: velocities agree when one side is mirrored. In turns: they oppose each other up and forward (arms of a
    walker), or one moves while the other rests (feet of a walker).
    """
    left, right = track.part(f"left_{limb}"), track.part(f"right_{limb}")
    if left is None or right is None or len(left) < 4 or track.view not in ("space", "front"):
        return None
    if limb == "foot":
        left, right = track.to_own_axes(left), track.to_own_axes(right)
    one, two = (smooth(np.diff(place, axis=0), fps, _PHASE_S) for place in (left, right))
    speeds = [np.linalg.norm(step, axis=-1) for step in (one, two)]
    paths = sorted(float(speed.sum()) for speed in speeds)
    if paths[1] < _LEAST_PATH or paths[0] < _LEAST_RATIO * paths[1]:
        return None
    same = _agreement(one, two * [-1, 1, 1])
    against = -_agreement(one[:, 1:], two[:, 1:])
    turns = -float(np.corrcoef(*speeds)[0, 1]) if min(float(speed.std()) for speed in speeds) > 1e-9 else 0.0
    # Correlation of speeds is less sharp than of directions: half rest and half motion overlap.
    alternate = max((against - 0.3) / 0.6, (turns - 0.1) / 0.5)
    return float(np.clip((same - 0.4) / 0.5, -1, 1)), float(np.clip(alternate, -1, 1))


def _agreement(one: Array, two: Array) -> float:
    size = float(np.sqrt((one * one).sum() * (two * two).sum()))
    return float((one * two).sum() / size) if size > 1e-9 else 0.0


def find_pairs(tracks: dict[int, PersonTracks], moving: set[tuple[str, int]], fps: float) -> tuple[PairMotion, ...]:
    """Clear cases only. `moving`: (part, person) that have events; noise alone says nothing."""
    out = []
    for person, track in tracks.items():
        for limb in ("hand", "foot"):
            if not {(f"left_{limb}", person), (f"right_{limb}", person)} <= moving:
                continue
            grades = grade_pair(track, limb, fps)
            if grades is None:
                continue
            alike, turns = grades
            if max(grades) >= CLEAR and abs(alike - turns) > CLEAR:
                out.append(PairMotion(person=person, limb=limb, kind="alike" if alike > turns else "in turns"))
    return tuple(out)


def find_pauses(activity: Iterable[PartActivity]) -> tuple[tuple[float, float], ...]:
    """Intervals of 0.4 s and more, between two active phases, in which nothing of anybody moves; seconds."""
    spans = sorted(span for part in activity for span in part.spans)
    out, until = [], spans[0][1] if spans else 0.0
    for start, end in spans:
        if start - until >= _LEAST_PAUSE_S:
            out.append((until, start))
        until = max(until, end)
    return tuple(out)
