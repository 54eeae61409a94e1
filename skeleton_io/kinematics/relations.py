"""Tracks of one or two persons -> contacts of hands with hands, heads and other bodies, and distances between persons.

Distances are in torso lengths of the first person named.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from skeleton_io.kinematics.facts import Contact, ContactKind, Relation
from skeleton_io.kinematics.tracks import Array, PersonTracks

_HAND = ("hand", "wrist", "hand_tip")
# Closeness that counts as meeting, and how far apart the two must have been before, torso lengths. The wrist stands in
# for the hand in many formats and stays a hand's length away.
_NEAR = {"hand": 0.36, "wrist": 0.42, "hand_tip": 0.36}
_APART = 0.25


def find_contacts(tracks: dict[int, PersonTracks], fps: float) -> tuple[Contact, ...]:
    """All contacts of a clip, in the order in which they begin."""
    out: list[Contact | None] = []
    for person, track in tracks.items():
        hands = {side: _hand(track, side) for side in ("left", "right")}
        left, right = hands["left"], hands["right"]
        # In a picture from the side, or of a turn, everything in front of the body overlaps.
        steady = bool((track.axes[:, 0, 0] == track.axes[0, 0, 0]).all())
        if track.view == "space" or (track.view == "front" and steady):
            if left and right:
                out.append(find_meeting(left[0], right[0], left[1], "own hands", (person,), "both", fps))
            # The middle of the head is further from a hand at the mouth than the nose is.
            nose, head = track.joint("nose"), track.joint("head")
            goal, extra = (head, 0.14) if nose is None else (nose, 0.08)
            for side, hand in hands.items():
                if hand and goal is not None:
                    out.append(find_meeting(hand[0], goal, hand[1] + extra, "hand and head", (person,), side, fps))
    for a, b in combinations(tracks, 2):
        out += _between(tracks, a, b, fps)
    return tuple(sorted((c for c in out if c), key=lambda contact: (contact.start, contact.kind, contact.persons)))


def _between(tracks: dict[int, PersonTracks], a: int, b: int, fps: float) -> list[Contact | None]:
    """Hands of two persons on each other, else the hands of one on the body of the other."""
    scale = tracks[b].unit / tracks[a].unit
    mine = {side: _hand(tracks[a], side) for side in ("left", "right")}
    yours = {side: _hand(tracks[b], side) for side in ("left", "right")}
    out: list[Contact | None] = []
    for side, hand in mine.items():
        for other in yours.values():
            if hand and other:
                out.append(find_meeting(hand[0], other[0] * scale, hand[1], "hands of both", (a, b), side, fps))
    if any(out):
        return out
    for first, second, hands in ((a, b, mine), (b, a, yours)):
        ratio = tracks[second].unit / tracks[first].unit
        chest = tracks[second].joint("chest", "neck", "spine2")
        if chest is None:
            shoulders = [tracks[second].joint(f"{side}_shoulder") for side in ("left", "right")]
            chest = None if shoulders[0] is None or shoulders[1] is None else (shoulders[0] + shoulders[1]) / 2
        # The joint lies inside the chest: a hand on shoulder, belly or back is most of a torso length away.
        for side, hand in hands.items():
            if hand and chest is not None:
                out.append(find_meeting(hand[0], chest * ratio, 0.80, "hand and other", (first, second), side, fps))
    return out


def _hand(track: PersonTracks, side: str) -> tuple[Array, float] | None:
    """Place of a hand and how close it must come."""
    for part in _HAND:
        place = track.joint(f"{side}_{part}")
        if place is not None:
            return place, _NEAR[part]
    return None


def find_meeting(
    a: Array, b: Array, near: float, kind: ContactKind, persons: tuple[int, ...], side: str, fps: float
) -> Contact | None:
    """Counts how often two places come closer than `near` after having been `_APART` further away."""
    gap = np.linalg.norm(a - b, axis=-1)
    count, close, apart = 0, False, False
    frames: list[int] = []
    for t, distance in enumerate(gap):
        apart = apart or bool(distance > near + _APART)
        if distance < near and apart:
            # Leaving by a third of the threshold ends the contact, so that noise does not count twice.
            count += not close
            close = True
            frames.append(t)
        elif distance > 1.33 * near:
            close = False
    # A hand that flies past a head has not been there.
    if not frames or (kind == "hand and head" and frames[-1] - frames[0] < 0.12 * fps):
        return None
    return Contact(
        kind=kind,
        persons=persons,
        side=side,
        count=count,
        start=frames[0] / fps,
        end=frames[-1] / fps,
        distance=float(gap[frames].min()),
    )


def find_relations(tracks: dict[int, PersonTracks]) -> tuple[Relation, ...]:
    """Distance and facing of every pair of persons."""
    out = []
    for a, b in combinations(tracks, 2):
        line = tracks[b].body * (tracks[b].unit / tracks[a].unit) - tracks[a].body
        gap = np.linalg.norm(line, axis=-1)
        facing: bool | None = None
        if tracks[a].view in ("space", "side") and tracks[b].view in ("space", "side"):
            ahead = tracks[a].axes[0, 2] @ line[0], tracks[b].axes[0, 2] @ -line[0]
            facing = bool(min(ahead) > 0.5 * gap[0])
        out.append(
            Relation(persons=(a, b), start=float(gap[0]), end=float(gap[-1]), least=float(gap.min()), facing=facing)
        )
    return tuple(out)
