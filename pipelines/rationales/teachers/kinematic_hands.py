"""Words of the built-in teacher for fingers, bare hands and speed. Writes no sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from skeleton_io.kinematics.facts import MotionEvent, MotionFacts

FINGER_WORDS = {"thumb": "thumb", "index": "index", "middle": "middle", "ring": "ring", "pinky": "little"}
# Peak speeds, torso lengths (half a metre) per second, that are clearly fast or slow for a part: a hand that is raised
# at ease reaches 2 to 4, a throwing or striking one 6 and more.
FAST = {"hand": 6.0, "arm": 5.0, "foot": 6.0, "leg": 5.0, "torso": 3.0, "head": 3.0, "body": 4.0}
SLOW = {"hand": 1.2, "arm": 1.0, "foot": 1.2, "leg": 1.0, "torso": 0.6, "head": 0.6, "body": 0.6}
# Bare hands, palm lengths (9 cm) per second.
FAST_PALM, SLOW_PALM = 12.0, 2.5
# Least share of the common time: fingers of one grip start a few frames apart.
_TOGETHER = 0.3


def speed_bounds(part: str, bare: bool) -> tuple[float, float]:
    """(slow, fast) peak speeds of a part, in torso lengths per second, of bare hands in palm lengths per second."""
    if bare:
        return SLOW_PALM, FAST_PALM
    limb = part.split("_")[-1]
    return SLOW[limb], FAST[limb]


def speed_word(event: MotionEvent, facts: MotionFacts) -> str:
    """ " fast", " slowly", or nothing where the peak speed is neither."""
    slow, fast = speed_bounds(event.part, event.person in facts.hands)
    if event.peak_speed >= fast:
        return " fast"
    return " slowly" if event.peak_speed <= slow else ""


def hand_subject(part: str, facts: MotionFacts) -> str:
    """ "the hand", "the index finger"; with its side where both hands are seen."""
    side, name = part.split("_")
    both = len({a.part for a in facts.activity if a.part.endswith("_hand")}) > 1
    before = f"the {side} " if both else "the "
    if name in ("hand", "thumb"):
        return before + name
    return f"{before}{FINGER_WORDS[name]} finger"


def join_fingers(events: Sequence[MotionEvent], facts: MotionFacts) -> list[tuple[MotionEvent, str, int]]:
    """Events of fingers -> (event, subject, how many fingers): those of one hand that do the same at the same time."""
    rest, out = sorted(events, key=lambda event: event.start), []
    while rest:
        first = rest.pop(0)
        group = [first]
        for other in list(rest):
            # A finger that bends twice makes two events; the second is another movement of the hand.
            if _same(first, other) and other.part not in {event.part for event in group}:
                group.append(other)
                rest.remove(other)
        event = replace(
            first,
            start=min(e.start for e in group),
            end=max(e.end for e in group),
            degrees=sum(e.degrees for e in group) / len(group),
        )
        out.append((event, _subject(group, facts), len(group)))
    return out


def _same(a: MotionEvent, b: MotionEvent) -> bool:
    common = min(a.end, b.end) - max(a.start, b.start)
    total = max(a.end, b.end) - min(a.start, b.start)
    hand = a.person == b.person and a.part.split("_")[0] == b.part.split("_")[0]
    return hand and a.motion == b.motion and a.repetitions == b.repetitions and common > _TOGETHER * total


def _subject(group: Sequence[MotionEvent], facts: MotionFacts) -> str:
    if len(group) == 1:
        return hand_subject(group[0].part, facts)
    names = [event.part.split("_")[1] for event in group]
    words = [word for name, word in FINGER_WORDS.items() if name in names and name != "thumb"]
    before = hand_subject(group[0].part.split("_")[0] + "_hand", facts).removesuffix("hand")
    if len(group) == len(FINGER_WORDS):
        return "all fingers" + (f" of {before}hand" if before != "the " else "")
    # "Index, middle and ring finger": the thumb is no finger in plain English and stands first.
    last = " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[-1]
    fingers = f"{before}{last} finger{'s' if len(words) > 1 else ''}"
    return f"{before}thumb and {fingers}" if "thumb" in names else fingers
