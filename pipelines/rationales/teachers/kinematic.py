"""The built-in teacher: motion facts -> a short grounded rationale in plain English. No network, no model, no chance.

Every number in the text comes from `skeleton_io.kinematics.motion`; what the facts do not say is not written. The
vocabulary is small on purpose (about seventy words, and numbers), since a tiny language model must learn to write it.
Looks at positions only, never at frames.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipelines.rationales.grounding.rationale import Rationale, Step, rationale_text, sentence
from pipelines.rationales.teachers.base import Answer, TeacherError, TeacherRequest, Usage
from pipelines.rationales.teachers.kinematic_evidence import evidence_of, person_words, still_parts
from pipelines.rationales.teachers.kinematic_hands import hand_subject, join_fingers, speed_word
from pipelines.rationales.teachers.structured import to_json
from skeleton_io.kinematics.facts import MotionEvent, MotionFacts
from skeleton_io.kinematics.motion import motion_facts

# How much a torso length of travel says, by part: small movements of the trunk matter more than of a hand.
_WEIGHT = {"hand": 1.0, "foot": 1.1, "torso": 1.6, "head": 1.4, "body": 1.5}
_FLIGHT_WEIGHT = 4.0
_TOWARDS_WEIGHT = 1.5
_DEGREES_PER_LENGTH = 50.0
# A finger that closes (about 150 degrees) says as much as one and a half palm lengths of travel.
_DEGREES_PER_BEND = 100.0
# Events below this share of the strongest one are left out.
_LEAST_SHARE = 0.2
_TOGETHER = 0.4
# A pair weighs more than one of its parts but not double: it takes one step to tell.
_PAIR = 1.25
# The way back from an earlier movement says less than the way out.
_RETURN = 0.6
_PLURALS = {"hand": "hands", "foot": "feet", "arm": "arms", "leg": "legs", "body": "bodies", "torso": "torsos"}
_PLURALS |= {"head": "heads"}
_OPPOSITE = {"up": "down", "left": "right", "forward": "back", "towards": "away", "together": "apart"}
_OPPOSITE |= {b: a for a, b in _OPPOSITE.items()}


@dataclass(frozen=True, kw_only=True)
class _Deed:
    """One or two events that belong together: both hands, or the same part of both persons."""

    event: MotionEvent
    subject: str
    plural: bool
    direction: tuple[str, ...]
    weight: float


class KinematicTeacher:
    """Explains a clip from its own kinematics. Deterministic: the same clip and label give the same text."""

    name = "kinematic"
    version = 2
    wants_frames = False

    def __init__(self, max_steps: int = 4) -> None:
        """Args:
        max_steps: most steps of the causal chain; the strongest are kept, in the order of time.
        """
        self.max_steps = max_steps

    async def ask(self, request: TeacherRequest) -> Answer:
        """See `Teacher.ask`. Costs nothing."""
        return Answer(raw=to_json(self.explain(request)), model=f"{self.name} {self.version}", usage=Usage())

    def explain(self, request: TeacherRequest) -> Rationale:
        """Explains one clip; a clip without motion gets a rationale that says so.

        Raises:
            TeacherError: a blind question, since motion facts name no action, or an empty label.
        """
        label = (request.label or "").strip()
        if not label:
            raise TeacherError("unanswerable", f"{request.sequence.key}: no label to explain")
        facts = motion_facts(request.sequence)
        deeds = _choose_deeds(facts, self.max_steps)
        steps = tuple(s for s in _steps(deeds, facts) if not leaks(sentence(s), label))
        summary = _unless_leaking(_summary(facts, deeds), label)
        evidence = _unless_leaking(evidence_of(facts), label)
        text = rationale_text(summary, steps, evidence, label)
        return Rationale(summary=summary, steps=steps, evidence=evidence, label=label, text=text)


def leaks(text: str, label: str) -> bool:
    """Whether a text names the label: all words of the label in a row, whatever their endings."""
    words, wanted = _stems(text), _stems(label)
    return bool(wanted) and any(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1))


def _stems(text: str) -> list[str]:
    """Words without their endings: swing, swings and swinging are one; so are wave and waving, not by and bye."""
    # A small stemmer on purpose: too eager costs a sentence, too shy would leak the label.
    words = [re.sub(r"(?<=\w{2})(?:ing|ed|es|s)+$", "", word) for word in re.findall(r"[a-z0-9]+", text.lower())]
    return [re.sub(r"(?<=\w{3})e$", "", word) for word in words]


def _unless_leaking(text: str, label: str) -> str:
    """The sentences of a text that do not name the label."""
    return (
        " ".join(s for s in re.findall(r"[^.]+(?:\.\d+[^.]*)*\.", text) if not leaks(s, label))
        .replace("  ", " ")
        .strip()
    )


def _weight(event: MotionEvent) -> float:
    if event.motion == "leaves the floor":
        return _FLIGHT_WEIGHT * event.distance
    if event.motion == "rotates":
        return 3.0 if math.isnan(event.degrees) else event.degrees / _DEGREES_PER_LENGTH
    if event.motion in ("bends", "stretches"):
        return event.degrees / _DEGREES_PER_BEND * math.sqrt(event.repetitions)
    company = _TOWARDS_WEIGHT if event.direction[:1] == ("towards",) else 1.0
    return event.distance * math.sqrt(event.repetitions) * _WEIGHT[event.part.split("_")[-1]] * company


def _choose_deeds(facts: MotionFacts, most: int) -> list[_Deed]:
    """The events worth telling, paired where two sides or two persons do the same, in the order of time."""
    parts = {a.part for a in facts.activity}
    stand_ins = {f"{side}_{limb}" for side in ("left", "right") for limb in ("hand", "foot")} - parts
    deeds: list[_Deed] = []
    for event in facts.events:
        limb = event.part.split("_")[-1]
        if limb in ("arm", "leg"):
            # Elbows and knees only speak where the format has no hands or feet.
            outer = event.part.replace("arm", "hand").replace("leg", "foot")
            if outer not in stand_ins:
                continue
        subject = "both feet" if event.motion == "leaves the floor" else f"the {event.part.replace('_', ' ')}"
        if event.person in facts.hands:
            subject = hand_subject(event.part, facts)
        weight = _weight(replace(event, part=event.part.replace("arm", "hand").replace("leg", "foot")))
        plural = event.motion == "leaves the floor"
        deeds.append(
            _Deed(
                event=event,
                subject=subject + person_words(event.person, facts),
                plural=plural,
                direction=event.direction,
                weight=weight,
            )
        )
    # Fingers, then both sides of one person, then both persons: each joins what the one before made.
    deeds = _pair_deeds(_pair_deeds(_join_curls(deeds, facts), _same_person), _both_persons)
    deeds = [replace(deed, weight=deed.weight * (_RETURN if _returns(deed, deeds) else 1.0)) for deed in deeds]
    deeds.sort(key=lambda deed: -deed.weight)
    strongest = [deed for deed in deeds[:most] if deed.weight >= _LEAST_SHARE * deeds[0].weight]
    return sorted(strongest, key=lambda deed: (deed.event.start, deed.subject))


def _join_curls(deeds: list[_Deed], facts: MotionFacts) -> list[_Deed]:
    """Fingers of a hand that bend or stretch together become one deed."""
    curls = [deed for deed in deeds if deed.event.motion in ("bends", "stretches")]
    out = [deed for deed in deeds if deed not in curls]
    for event, subject, count in join_fingers([deed.event for deed in curls], facts):
        weight = _weight(event) * (1 + (_PAIR - 1) * (count - 1))
        person = person_words(event.person, facts)
        out.append(_Deed(event=event, subject=subject + person, plural=count > 1, direction=(), weight=weight))
    return out


def _returns(deed: _Deed, deeds: Sequence[_Deed]) -> bool:
    """Whether a deed goes back where an earlier one of the same subject came from."""
    if deed.event.motion != "moves" or not deed.direction:
        return False
    before = [d for d in deeds if d.subject == deed.subject and d.event.end <= deed.event.start + 0.05 and d.direction]
    return any(
        d.event.motion == "moves"
        and _OPPOSITE.get(d.direction[0]) == deed.direction[0]
        and d.event.distance > 0.75 * deed.event.distance
        for d in before
    )


def _pair_deeds(deeds: list[_Deed], join: Callable[[_Deed, _Deed], _Deed | None]) -> list[_Deed]:
    """Replaces pairs of deeds that happen together and agree by one."""
    # Greedy: a deed joins the first one that fits and no other.
    rest, out = list(deeds), []
    while rest:
        first = rest.pop(0)
        for second in rest:
            joined = join(first, second) if _overlap(first.event, second.event) > _TOGETHER else None
            if joined is not None:
                rest.remove(second)
                first = joined
                break
        out.append(first)
    return out


def _overlap(a: MotionEvent, b: MotionEvent) -> float:
    """Common time over total time."""
    common = min(a.end, b.end) - max(a.start, b.start)
    return common / max(max(a.end, b.end) - min(a.start, b.start), 1e-9)


def _alike(a: MotionEvent, b: MotionEvent) -> bool:
    # A hand that goes twice as far does something else.
    sizes = sorted((a.distance, b.distance))
    same_count = abs(a.repetitions - b.repetitions) <= 1 and (a.repetitions > 1) == (b.repetitions > 1)
    return a.motion == b.motion and a.motion in ("moves", "swings") and same_count and sizes[0] > 0.5 * sizes[1]


def _merge(a: _Deed, b: _Deed, subject: str, direction: tuple[str, ...]) -> _Deed:
    event = replace(
        a.event,
        start=min(a.event.start, b.event.start),
        end=max(a.event.end, b.event.end),
        distance=(a.event.distance + b.event.distance) / 2,
        metres=(a.event.metres + b.event.metres) / 2,
        peak_speed=max(a.event.peak_speed, b.event.peak_speed),
        repetitions=max(a.event.repetitions, b.event.repetitions),
    )
    weight = _PAIR * max(a.weight, b.weight)
    return _Deed(event=event, subject=subject, plural=True, direction=direction, weight=weight)


def _same_person(a: _Deed, b: _Deed) -> _Deed | None:
    """Left and right of one person: the same way, or mirrored towards and away from each other."""
    one, two = a.event, b.event
    limb = one.part.split("_")[-1]
    mirrored = {one.part, two.part} == {f"left_{limb}", f"right_{limb}"}
    if not mirrored or one.person != two.person or not _alike(one, two) or not one.direction or not two.direction:
        return None
    plural = {"hand": "both hands", "foot": "both feet", "arm": "both arms", "leg": "both legs"}[limb]
    subject = a.subject.replace(f"the {one.part.replace('_', ' ')}", plural)
    swings = one.motion == "swings"
    first, second = one.direction[0], two.direction[0]
    if {first, second} == {"left", "right"}:
        # A left hand that goes right comes to the middle.
        inward = (first == "right") == (one.part == f"left_{limb}")
        return _merge(a, b, subject, ("together" if inward else "apart",))
    if first == second or (swings and _OPPOSITE.get(first) == second):
        common = tuple(word for word in one.direction if word in two.direction)
        return _merge(a, b, subject, common if common and not swings else (first,))
    return None


def _both_persons(a: _Deed, b: _Deed) -> _Deed | None:
    """The same part of two persons, the same way as each of them has it."""
    one, two = a.event, b.event
    if one.person == two.person or one.part != two.part or a.plural != b.plural or not _alike(one, two):
        return None
    if not a.direction or not b.direction or a.direction[0] != b.direction[0]:
        return None
    *before, noun = a.subject.split(" of person")[0].split()
    subject = " ".join([*before, noun if a.plural else _PLURALS[noun], "of both persons"])
    return _merge(a, b, subject, tuple(word for word in a.direction if word in b.direction))


def _size(event: MotionEvent) -> str:
    if not math.isnan(event.metres):
        return f"{event.metres:.1f} m"
    return f"{event.distance:.1f} torso lengths"


def _motion(deed: _Deed, facts: MotionFacts) -> str:
    """What a deed does: verb, direction, size."""
    event = deed.event
    if event.motion == "leaves the floor":
        return f"leave the floor by {_size(event)}"
    if event.motion == "rotates":
        way = f" {deed.direction[0]}" if deed.direction else ""
        angle = "" if math.isnan(event.degrees) else f" by {event.degrees:.0f} degrees"
        return f"rotates{way}{angle}"
    if event.motion in ("bends", "stretches"):
        verb = event.motion if not deed.plural else {"bends": "bend", "stretches": "stretch"}[event.motion]
        return verb if event.repetitions == 1 else f"{verb} {event.repetitions} times"
    speed = speed_word(event, facts)
    if event.motion == "swings":
        way = deed.direction[0] if deed.direction else "sideways"
        back = f"{way} and {_OPPOSITE[way]}" if way in _OPPOSITE else way
        return f"{'swing' if deed.plural else 'swings'}{speed} {back} {event.repetitions} times by {_size(event)}"
    ways = ["towards the other" if way == "towards" else way for way in deed.direction]
    verb = ("go" if ways else "move") + ("" if deed.plural else "es" if ways else "s")
    return " ".join([verb + speed, " and ".join(ways), "by", _size(event)]).replace("  ", " ")


def _steps(deeds: Sequence[_Deed], facts: MotionFacts) -> list[Step]:
    """Deeds -> links of the chain. "So" is only said where one person's hand came to the other before it went away."""
    out: list[Step] = []
    for k, deed in enumerate(deeds):
        before = deeds[k - 1].event if k else None
        if before is None:
            cause = "First"
        elif _was_pushed(deed.event, facts):
            cause = "So"
        elif deed.event.start < before.end - 0.5 * min(before.end - before.start, deed.event.end - deed.event.start):
            cause = "With it"
        else:
            cause = "Then"
        out.append(
            Step(
                start=deed.event.start, end=deed.event.end, part=deed.subject, motion=_motion(deed, facts), cause=cause
            )
        )
    return out


def _was_pushed(event: MotionEvent, facts: MotionFacts) -> bool:
    return any(
        c.kind == "hand and other"
        and event.person == c.persons[1]
        and event.part != "head"
        and event.direction[:1] == ("away",)
        and c.start - 0.2 <= event.start <= c.end + 0.3
        for c in facts.contacts
    )


def _summary(facts: MotionFacts, deeds: Sequence[_Deed]) -> str:
    """Who moves what most, and what stays still."""
    if not facts.persons:
        return "Too little of the body is seen."
    if not deeds:
        return "The hand stays still." if facts.hands else "The body stays still."
    top = max(deeds, key=lambda deed: deed.weight)
    text = f"{top.subject[0].upper()}{top.subject[1:]} {'move' if top.plural else 'moves'} most"
    still = [] if len(facts.persons) > 1 else still_parts(facts)
    if not still:
        return text + "."
    names = " and ".join(still)
    plural = len(still) > 1 or still[0].startswith("both")
    return f"{text}; {names} {'stay' if plural else 'stays'} still."
