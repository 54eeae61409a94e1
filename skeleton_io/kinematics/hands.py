"""A clip of bare hands, or the fingers of a body -> tracks, bends of fingers, travel and turns of the palm, pinches.

A person of whom only hands are seen gets tracks in palm lengths (wrist to the knuckle of the middle finger, about 9 cm)
instead of torso lengths. The record's frame is that of a sensor which the person faces, so left is -x, forward -z.
Names no gesture.
"""

from __future__ import annotations

import math

import numpy as np

from skeleton_io.kinematics.facts import Contact, MotionEvent, PartActivity
from skeleton_io.kinematics.relations import find_meeting
from skeleton_io.kinematics.strokes import find_active_spans, find_strokes
from skeleton_io.kinematics.tracks import Array, PersonTracks, bridge_gaps, smooth
from skeleton_io.record.sequence import SkeletonSequence

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
# From the middle of the palm to the knuckle is half a palm.
_HALF = 2.0
_LEAST_TRAVEL = 0.5
"""Palm lengths of travel that count as an event, about 4 cm."""
_STILL_SPEED = 1.2
"""Palm lengths per second below which a hand or finger rests."""
# Sum of the angles along a finger, degrees; the thumb has one joint less.
_LEAST_BEND = dict.fromkeys(FINGERS, 55.0) | {"thumb": 35.0}
_LEAST_TURN = math.radians(50)
_PINCH = 0.35
"""Palm lengths between the tips: fingers have a thickness, so they never meet in a point."""
_TOGETHER_S = 0.15
"""Shorter rests do not divide a movement."""


def track_hands(sequence: SkeletonSequence, person: int) -> PersonTracks | None:
    """Tracks of a person of whom only hands are seen, in palm lengths; None where no palm or no finger is seen.

    The palms stand in as "left_wrist", "right_wrist"; `body` is the origin of the record, all zeros.
    """
    joints = bridge_gaps(sequence, person)
    palms, lengths = {}, []
    for side in ("left", "right"):
        palm = joints.get(f"{side}_hand", joints.get(f"{side}_wrist"))
        knuckle = joints.get(f"{side}_middle_1", joints.get(f"{side}_index_1"))
        if palm is None or knuckle is None:
            continue
        low, factor = (joints[f"{side}_wrist"], 1.0) if f"{side}_wrist" in joints else (palm, _HALF)
        palms[side] = palm
        lengths.append(factor * float(np.median(np.linalg.norm(knuckle - low, axis=-1))))
    unit = max(lengths, default=0.0)
    if unit < 1e-6:
        return None
    joints |= {f"{side}_wrist": palm for side, palm in palms.items()}
    scaled = {name: smooth(place, sequence.fps) / unit for name, place in joints.items()}
    frames = sequence.frames
    space = sequence.positions.shape[3] == 3
    axes = np.tile(np.diag([-1.0, 1.0, -1.0 if space else 0.0]), (frames, 1, 1))
    return PersonTracks(
        joints=scaled,
        body=np.zeros((frames, 3)),
        axes=axes,
        heading=np.zeros(frames),
        view="space" if space else "front",
        unit=unit,
        growth=np.ones(frames),
    )


def measure_bends(track: PersonTracks) -> dict[str, Array]:
    """("right_index" and so on) -> (T,) degrees by which a finger is bent: angles between its bones, summed."""
    out = {}
    for side in ("left", "right"):
        palm = track.joint(f"{side}_hand", f"{side}_wrist")
        for finger in FINGERS:
            names = [f"{side}_{finger}_{end}" for end in ("1", "2", "3", "4", "tip")]
            chain = [track.joints[name] for name in names if name in track.joints]
            if palm is None or len(chain) < 3:
                continue
            bones = np.diff(np.stack([palm, *chain]), axis=0)
            lengths = np.linalg.norm(bones, axis=-1)
            cosines = (bones[1:] * bones[:-1]).sum(-1) / np.maximum(lengths[1:] * lengths[:-1], 1e-9)
            out[f"{side}_{finger}"] = np.degrees(np.arccos(np.clip(cosines, -1, 1))).sum(0)
    return out


def find_palm_normal(track: PersonTracks, side: str) -> Array | None:
    """(T, 3) unit vector across the palm; None where the knuckles are not seen or the clip is flat."""
    palm = track.joint(f"{side}_hand", f"{side}_wrist")
    first, last = track.joint(f"{side}_index_1"), track.joint(f"{side}_pinky_1")
    if track.view != "space" or palm is None or first is None or last is None:
        return None
    normal = np.cross(first - palm, last - palm)
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)


def find_hand_facts(
    track: PersonTracks, person: int, sequence: SkeletonSequence
) -> tuple[list[MotionEvent], list[PartActivity], list[Contact]]:
    """Events, activity and pinches of a person of whom only hands are seen."""
    events: list[MotionEvent] = []
    activity: list[PartActivity] = []
    contacts: list[Contact | None] = []
    for side in ("left", "right"):
        place = track.part(f"{side}_hand")
        if place is None:
            continue
        activity.append(_activity(place, f"{side}_hand", person, sequence.fps))
        events += _travels(place, f"{side}_hand", person, track, sequence)
        events += _turns(track, side, person, sequence.fps)
        thumb, index = (track.joint(f"{side}_{finger}_tip") for finger in ("thumb", "index"))
        if thumb is not None and index is not None and track.view == "space":
            contacts.append(find_meeting(thumb, index, _PINCH, "thumb and index", (person,), side, sequence.fps))
    for part, bend in measure_bends(track).items():
        tip = track.joint(f"{part}_tip", f"{part}_4", f"{part}_3")
        palm = track.joint(f"{part.split('_')[0]}_wrist")
        if tip is not None and palm is not None:
            activity.append(_activity(tip - palm, part, person, sequence.fps))
        events += _bends(bend, part, person, sequence.fps)
    return events, activity, [contact for contact in contacts if contact]


def _activity(place: Array, part: str, person: int, fps: float) -> PartActivity:
    if len(place) < 2:
        return PartActivity(part=part, person=person, path=0.0, peak_speed=0.0, spans=())
    speed = np.linalg.norm(np.diff(place, axis=0), axis=-1) * fps
    # Beside a fast movement a slow drift is rest.
    floor = max(_STILL_SPEED, 0.15 * float(speed.max()))
    spans = find_active_spans(speed, floor, gap=round(_TOGETHER_S * fps), least=max(1, round(0.1 * fps)))
    times = tuple((first / fps, (last + 1) / fps) for first, last in spans)
    return PartActivity(
        part=part, person=person, path=float(speed.sum() / fps), peak_speed=float(speed.max()), spans=times
    )


def _travels(
    place: Array, part: str, person: int, track: PersonTracks, sequence: SkeletonSequence
) -> list[MotionEvent]:
    out = []
    for stroke in find_strokes(place, _LEAST_TRAVEL, sequence.fps):
        # `part` has turned a 3D track to left, up, forward; a picture is still in the record's axes.
        local = stroke.change if track.view == "space" else track.axes[0] @ stroke.change
        words = sorted(zip(np.abs(local), local, _WORDS, strict=True), key=lambda item: -float(item[0]))
        ways = tuple(
            pair[int(value < 0)] for size, value, pair in words[:2] if size > 1e-6 and size >= 0.5 * words[0][0]
        )
        out.append(
            MotionEvent(
                part=part,
                person=person,
                start=stroke.start / sequence.fps,
                end=stroke.end / sequence.fps,
                motion="swings" if stroke.repetitions > 1 else "moves",
                direction=ways,
                distance=stroke.length,
                metres=stroke.length * track.unit if sequence.scale == "metric" else math.nan,
                degrees=math.nan,
                peak_speed=stroke.peak * sequence.fps,
                repetitions=stroke.repetitions,
            )
        )
    return out


_WORDS = (("left", "right"), ("up", "down"), ("forward", "back"))


def _bends(bend: Array, part: str, person: int, fps: float) -> list[MotionEvent]:
    line = np.stack([bend, np.zeros_like(bend), np.zeros_like(bend)], axis=-1)
    return [
        MotionEvent(
            part=part,
            person=person,
            start=stroke.start / fps,
            end=stroke.end / fps,
            motion="bends" if stroke.change[0] > 0 else "stretches",
            direction=(),
            distance=math.nan,
            metres=math.nan,
            degrees=stroke.length,
            peak_speed=stroke.peak * fps,
            repetitions=stroke.repetitions,
        )
        for stroke in find_strokes(line, _LEAST_BEND[part.split("_")[1]], fps)
    ]


def _turns(track: PersonTracks, side: str, person: int, fps: float) -> list[MotionEvent]:
    """The palm faces another way: its normal turns by 50 degrees or more."""
    normal = find_palm_normal(track, side)
    if normal is None:
        return []
    out = []
    for stroke in find_strokes(normal, 2 * math.sin(_LEAST_TURN / 2), fps):
        angle = math.degrees(2 * math.asin(min(1.0, stroke.length / 2)))
        out.append(
            MotionEvent(
                part=f"{side}_hand",
                person=person,
                start=stroke.start / fps,
                end=stroke.end / fps,
                motion="rotates",
                direction=(),
                distance=math.nan,
                metres=math.nan,
                degrees=angle,
                peak_speed=math.degrees(stroke.peak) * fps,
                repetitions=stroke.repetitions,
            )
        )
    return out
