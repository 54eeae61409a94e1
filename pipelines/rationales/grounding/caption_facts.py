"""A caption + the clip -> does it state what the joints show? Motion-fact precision and recall. Reads no references.

Precision: of the statements that can be checked, the share that the motion bears out. Recall: of the clearest facts of
the motion, the share that some statement names. The words are read by `claims`, the motion is judged by `verify`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pipelines.rationales.grounding.claims import Claim, claims_of
from pipelines.rationales.grounding.rationale import Rationale, Step
from pipelines.rationales.grounding.verify import SUPPORTED, check_claims
from skeleton_io.kinematics.facts import MotionEvent, MotionFacts
from skeleton_io.kinematics.motion import motion_facts
from skeleton_io.record.sequence import SkeletonSequence

_CLAUSE = re.compile(r"\s*(?:[,;.!?]|\b(?:and then|then|and|while|before|after|as)\b)\s*", re.IGNORECASE)
_PARTS = ("left_hand", "right_hand", "left_foot", "right_foot", "body")
_SALIENT = 0.6
"""Share of the clip's longest stroke from which on a hand's or foot's stroke is a fact that a caption should name."""
# Torso lengths from which on anybody would say that the person goes somewhere.
_TRAVEL = 1.0
_LIMB = re.compile(
    r"(?:\b(?:left|right|both|two|each)\s+)?\b(?:hand|arm|foot|feet|leg|head|knee|elbow|wrist|fist)s?\b", re.IGNORECASE
)
_PERSON = re.compile(
    r"\b(?:person|someone|man|woman|figure|he|she|they|walk\w*|run\w*|jump\w*|jog\w*)\b", re.IGNORECASE
)
_LIMBS = {"arm": "hand", "leg": "foot"}


@dataclass(frozen=True)
class FactScore:
    """How a caption fares against the motion.

    Attributes:
        stated: statements that can be checked in this clip; right: those that the motion bears out.
        facts: clear facts of the motion; named: those that a statement that is right names.
    """

    stated: int
    right: int
    facts: int
    named: int


def caption_claims(caption: str, duration: float) -> tuple[Claim, ...]:
    """Checkable statements of a caption, clause by clause. A clause without a body part speaks of the whole person."""
    steps, subject = [], ""
    # "And" would cut "back and forth" in two.
    for clause in _CLAUSE.split(caption.replace("back and forth", "repeatedly")):
        if not re.search(r"[a-z]", clause, re.IGNORECASE):
            continue
        limb = _LIMB.search(clause)
        if limb is not None:
            subject = limb[0]
        elif _PERSON.search(clause) or not subject:
            subject = "body"
        # "Raises the right hand and waves": what has no part of its own goes on with the last one.
        steps.append(Step(start=0.0, end=duration, part=subject, motion=clause, cause=""))
    rationale = Rationale(summary=caption, steps=tuple(steps), evidence="", label="", text=caption)
    claims = [claim for claim in claims_of(rationale) if not _empty(claim)]
    return tuple(dict.fromkeys(replace(claim, start=None, end=None) for claim in claims))


def _empty(claim: Claim) -> bool:
    """A whole person that "moves" somehow says nothing."""
    return claim.kind == "moves" and not claim.ways and claim.parts == ("body",)


def score_caption(caption: str, sequence: SkeletonSequence) -> FactScore:
    """Precision and recall counts of one caption.

    A statement without a time is right if it holds over the whole clip or in any one movement of the clip.
    """
    facts = motion_facts(sequence)
    claims = caption_claims(caption, sequence.duration)
    # A caption gives no times: whichever movement bears it out will do.
    spans = [(None, None), *dict.fromkeys((e.start, e.end) for e in facts.events)]
    tried = [replace(claim, start=start, end=end) for claim in claims for start, end in spans]
    # All at once: the tracks of the clip are made a single time.
    values = iter(check_claims(tried, sequence))
    right: list[Claim] = []
    stated = 0
    for claim in claims:
        known = [value for _ in spans if (value := next(values)) is not None]
        # "Still" must hold all the time; anything else at some time.
        fits = bool(known) and (known[0] if claim.kind in ("still", "most") else max(known)) >= SUPPORTED
        stated += bool(known)
        right += [claim] if fits else []
    clear = clear_facts(facts)
    named = sum(any(names(claim, part, word) for claim in right) for part, word in clear)
    return FactScore(stated, len(right), len(clear), named)


def clear_facts(facts: MotionFacts) -> tuple[tuple[str, str], ...]:
    """(part, word) that anybody would see: the largest strokes of hands and feet, travel, turns and jumps.

    The word is a direction, "swings", "rotates" or "leaves".
    """
    out: list[tuple[str, str]] = []
    limbs = [e for e in facts.events if e.part in _PARTS[:4] and e.motion in ("moves", "swings")]
    most = max((e.distance for e in limbs), default=0.0)
    # Relative to the longest stroke: a caption names what stands out in this clip.
    out += [(e.part, _word(e)) for e in limbs if e.distance >= _SALIENT * most and _word(e)]
    for body in facts.bodies:
        # A diagonal has no one word that a caption must use.
        if body.travel >= _TRAVEL and len(body.direction) == 1:
            out.append(("body", body.direction[0]))
    for event in facts.events:
        if event.part == "body" and event.motion in ("rotates", "leaves the floor"):
            out.append(("body", "rotates" if event.motion == "rotates" else "leaves"))
    return tuple(dict.fromkeys(out))


def _word(event: MotionEvent) -> str:
    if event.motion == "swings":
        return "swings"
    return event.direction[0] if len(event.direction) == 1 else ""


def names(claim: Claim, part: str, word: str) -> bool:
    """Whether a statement names a fact. An arm stands for its hand, a leg for its foot."""
    parts = {_hand(name) for name in claim.parts}
    if part not in parts:
        return False
    return word in claim.ways or word == claim.kind


def _hand(name: str) -> str:
    side, _, limb = name.partition("_")
    return f"{side}_{_LIMBS[limb]}" if limb in _LIMBS else name
