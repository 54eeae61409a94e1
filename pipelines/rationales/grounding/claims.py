"""A rationale -> what it claims about the motion, as far as that can be checked: who, which part, when, which way.

Reads the teacher's words with a small lexicon and nothing else; a sentence that says nothing checkable makes no claim.
Checks nothing: that is `pipelines.rationales.grounding.verify`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.rationales.grounding.rationale import Rationale, Step

Kind = Literal["moves", "swings", "rotates", "leaves", "still", "most", "meet", "at head"]

_PARTS = {
    # Order counts: the first group that matches names the part.
    "hand": r"hands?|wrists?|palms?|fists?|fingers?|knuckles?",
    "arm": r"arms?|forearms?|elbows?",
    "foot": r"foot|feet|ankles?|toes?|heels?",
    "leg": r"legs?|knees?|thighs?|shins?|calf|calves",
    "torso": r"torsos?|trunks?|upper body|chests?|backs?|waists?|spines?|shoulders?",
    "head": r"heads?|necks?|faces?|gaze",
    "body": r"bod(?:y|ies)|hips?|pelvis|person|persons|people|they|he|she|subject|subjects|figures?",
}
_PART = re.compile(
    r"\b(?:(?P<side>left|right|both|two|each)\s+)?(?:(?!upper body)(?:lower|upper|whole|entire|extended|other)\s+)?"
    rf"(?P<part>{'|'.join(f'(?P<{name}>{words})' for name, words in _PARTS.items())})\b",
    re.IGNORECASE,
)
_PERSON = re.compile(r"\b(?:person|subject)\s+(\d)\b|\b(both)\s+(?:persons|people|subjects)\b", re.IGNORECASE)
_WAYS = {
    "up": r"up|upwards?|rais\w+|lift\w*|rises?|rising|overhead|higher",
    "down": r"down|downwards?|lower(?:s|ed|ing)|drops?|falls?|sinks?|squats?",
    "left": r"left|leftwards?",
    "right": r"right|rightwards?",
    "forward": r"forwards?|ahead|to the front|in front",
    "back": r"back|backwards?|to the rear|behind",
    "towards": r"towards? the other|towards? person \d|closer to (?:the other|person \d)",
    "away": r"away",
    "together": r"together",
    "apart": r"apart",
}
_WAY = {way: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for way, words in _WAYS.items()}
_STILL = re.compile(
    r"\b(?:stay\w*|remain\w*|keeps?|holds?|is|are)\s+(?:\w+\s+)?(?:still|static|motionless|at rest)\b", re.I
)
_ROTATE = re.compile(r"\b(?:rotat\w+|turn\w*|spin\w*|pivot\w*)\b", re.IGNORECASE)
_SWING = re.compile(r"\b(?:swing\w*|repeat\w*|back and forth|oscillat\w+|wav\w+|alternat\w+)\b", re.IGNORECASE)
_TIMES = re.compile(r"\b(\d+|once|twice|two|three|four|five|six)\s*times?\b|\b(once|twice)\b", re.IGNORECASE)
_NUMBERS = {"once": 1, "twice": 2, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_LEAVE = re.compile(r"\b(?:leaves?|leaving|off)\s+the\s+(?:floor|ground)\b|\bjumps?\b|\bin the air\b", re.IGNORECASE)
_MOST = re.compile(r"\bmoves?\s+(?:the\s+)?most\b|\bmost of the (?:motion|movement)\b", re.IGNORECASE)
_MEET = re.compile(r"\b(?:meet\w*|touch\w*|clap\w*|contact)\b", re.IGNORECASE)
_AT_HEAD = re.compile(r"\bat (?:the|his|her|their) (?:head|face|mouth|ear)\b", re.IGNORECASE)
_SIZE = re.compile(r"\b(\d+(?:\.\d+)?)\s*(m|metres?|meters?|cm|torso lengths?|degrees?)\b", re.IGNORECASE)
_INTERVAL = re.compile(r"\bfrom\s+(\d+(?:\.\d+)?)\s*s?\s+to\s+(\d+(?:\.\d+)?)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One checkable statement.

    Attributes:
        kind: what is said to happen.
        parts: names as `kinematics.tracks.PART_JOINTS` has them, or "body"; several mean any of them, `every` all.
        every: each of the parts is meant (both hands), not just one of them.
        persons: 0-based persons meant; empty: whoever fits.
        start, end: seconds; None where the whole clip is meant.
        ways: directions as the person has them.
        times: how often; 0 where not said.
        metres, lengths, degrees: how far, in whichever unit it is said; 0 where not said.
        text: the words.
    """

    kind: Kind
    parts: tuple[str, ...]
    every: bool = False
    persons: tuple[int, ...] = ()
    start: float | None = None
    end: float | None = None
    ways: tuple[str, ...] = ()
    times: int = 0
    metres: float = 0.0
    lengths: float = 0.0
    degrees: float = 0.0
    text: str


def claims_of(rationale: Rationale) -> tuple[Claim, ...]:
    """All claims: of the summary, of each step in order, of the evidence."""
    loose: list[Claim] = []
    for text in (rationale.summary, rationale.evidence):
        loose += [claim for sentence in re.split(r"(?<=[.;!?])\s+", text) for claim in _loose(sentence)]
    steps = [claim for step in rationale.steps for claim in _of_step(step)]
    return (*steps, *loose)


def _of_step(step: Step) -> list[Claim]:
    parts, every = parts_of(step.part)
    text = f"{step.part} {step.motion}"
    persons = _persons(text)
    if not parts:
        return []
    times: dict[str, Any] = {"start": step.start, "end": step.end, "persons": persons, "text": text}
    motion = step.motion
    times |= _size(motion)
    # Most telling kinds first: a jump also "moves up", but a checker of strokes would judge it wrongly.
    if _LEAVE.search(motion):
        return [Claim(kind="leaves", parts=("body",), **times)]
    if _STILL.search(text):
        return [Claim(kind="still", parts=parts, every=every, **times)]
    ways = _ways(motion)
    # A hand that turns is beyond what joints tell.
    if _ROTATE.search(motion) and {part.split("_")[-1] for part in parts} <= {"body", "torso", "foot"}:
        return [Claim(kind="rotates", parts=("body",), ways=ways[:1], **times)]
    if _SWING.search(motion):
        return [Claim(kind="swings", parts=parts, every=every, ways=ways, times=_times(motion), **times)]
    return [Claim(kind="moves", parts=parts, every=every, ways=ways, **times)]


def _loose(sentence: str) -> list[Claim]:
    """Claims of running text: only the kinds that need no interval, or say it themselves."""
    parts, every = parts_of(sentence)
    persons = _persons(sentence)
    if not parts:
        return []
    common: dict[str, Any] = {"persons": persons, "text": sentence.strip()}
    if _MOST.search(sentence):
        return [Claim(kind="most", parts=parts, every=every, **common)]
    if _STILL.search(sentence):
        # "Both feet and the head stay still" claims each of them.
        still = _all_parts(sentence)
        return [Claim(kind="still", parts=still, every=True, **common)] if still else []
    interval = _INTERVAL.search(sentence)
    when: dict[str, Any] = {"start": float(interval[1]), "end": float(interval[2])} if interval else {}
    hands = tuple(part for part in parts if part.endswith("hand"))
    if hands and _AT_HEAD.search(sentence):
        return [Claim(kind="at head", parts=hands[:1] if not every else hands, every=every, **common, **when)]
    if hands and every and _MEET.search(sentence):
        return [Claim(kind="meet", parts=hands, every=True, times=_times(sentence), **common, **when)]
    return []


def parts_of(text: str) -> tuple[tuple[str, ...], bool]:
    """The first body part that a text names -> (names, whether all of them are meant); empty where there is none."""
    for match in _PART.finditer(text):
        names, every = _names(match)
        if names == ("body",) and re.match(r"(?:person|subject)", match["part"], re.I) and _later_part(text, match):
            continue  # "person 1's right hand"
        return names, every
    return (), False


def _later_part(text: str, match: re.Match[str]) -> bool:
    return any(other["body"] is None for other in _PART.finditer(text, match.end()))


def _all_parts(text: str) -> tuple[str, ...]:
    parts = [name for match in _PART.finditer(text) if match["body"] is None for name in _names(match)[0]]
    return tuple(dict.fromkeys(parts))


def _names(match: re.Match[str]) -> tuple[tuple[str, ...], bool]:
    part = next(name for name in _PARTS if match[name])
    side = (match["side"] or "").lower()
    # There is one of each: a side beside it is a direction.
    if part in ("torso", "head", "body"):
        return (part,), False
    if side in ("left", "right"):
        return (f"{side}_{part}",), False
    # "Hands" means both, "a hand" whichever fits.
    plural = side in ("both", "two", "each") or (not side and match["part"].lower().endswith(("s", "feet")))
    return (f"left_{part}", f"right_{part}"), plural


def _persons(text: str) -> tuple[int, ...]:
    match = _PERSON.search(text)
    if match is None:
        return ()
    return (0, 1) if match[2] else (max(0, int(match[1]) - 1),)


def _ways(motion: str) -> tuple[str, ...]:
    """Directions in the order of the words; "back and forth" is none, "left hand" names a part."""
    # "Back" alone is a direction.
    text = re.sub(r"\bback and forth\b", " ", motion, flags=re.IGNORECASE)
    # Else "the left hand" would claim that something moves left.
    text = re.sub(rf"\b(?:left|right)\s+(?={'|'.join(_PARTS.values())})", " ", text, flags=re.IGNORECASE)
    ways = [(match.start(), way) for way, words in _WAY.items() if (match := words.search(text))]
    return tuple(way for _, way in sorted(ways))


def _size(text: str) -> dict[str, float]:
    """The first size that a text states, under the name of its unit."""
    match = _SIZE.search(text)
    if match is None:
        return {}
    value, unit = float(match[1]), match[2].lower()
    if unit.startswith("torso"):
        return {"lengths": value}
    if unit.startswith("degree"):
        return {"degrees": value}
    return {"metres": value / 100 if unit == "cm" else value}


def _times(text: str) -> int:
    match = _TIMES.search(text)
    if match is None:
        return 0
    word = (match[1] or match[2]).lower()
    return int(word) if word.isdigit() else _NUMBERS[word]
