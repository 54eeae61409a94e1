"""A teacher's raw words -> Rationale: the JSON schema that is asked for, and tolerant reading of what comes instead.

Accepted: JSON, JSON in a code fence or within prose, trailing commas, intervals as strings ("0.5 s"), and plain text
with numbered steps and a last line "Label: X". Judges no content.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

from pipelines.rationales.grounding.rationale import Rationale, Step, rationale_text
from pipelines.rationales.teachers.base import TeacherError

MOST_STEPS = 24
_TEXT = {"type": "string"}
_STEP = {
    "type": "object",
    "properties": {
        "start": {"type": "number", "description": "seconds from the first frame"},
        "end": {"type": "number", "description": "seconds from the first frame"},
        "part": {"type": "string", "description": "body part with its side, for example right hand"},
        "motion": {"type": "string", "description": "what the part does, with its direction"},
        "cause": {"type": "string", "description": "how it follows from the step before; empty for the first"},
    },
    "required": ["start", "end", "part", "motion", "cause"],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "summary": _TEXT,
        "steps": {"type": "array", "items": _STEP},
        "evidence": _TEXT,
        "label": _TEXT,
    },
    "required": ["summary", "steps", "evidence", "label"],
    "additionalProperties": False,
}
"""JSON schema of an answer, in the subset that servers with structured output accept."""
BLIND_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"label": _TEXT},
    "required": ["label"],
    "additionalProperties": False,
}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LABEL = re.compile(r"\W*label[^\w:]*:\W*(\w.*)?", re.IGNORECASE)
_STEP_LINE = re.compile(
    r"^\s*(?:\d+[.)]|[-*])?\s*(?:(?P<cause>[^,\d]{0,40}),\s*)?(?:from\s+)?\(?(?P<start>\d+(?:\.\d+)?)\s*s?\s*"
    r"(?:-|–|to)\s*(?P<end>\d+(?:\.\d+)?)\s*s?(?:ec(?:onds)?)?\)?\s*[:,]?\s*(?P<what>.+)$",
    re.IGNORECASE,
)
_PART = re.compile(
    r"^(?:the\s+)?(?P<part>(?:(?:left|right|both|upper|lower|whole|each|their|his|her)\s+)*[a-z]+(?:\s+of\s+(?:person\s+\d|both\s+persons))?)"
    r"\s*:?\s*(?P<motion>.*)$",
    re.IGNORECASE,
)


def parse(raw: str) -> Rationale:
    """Reads an explanation.

    Raises:
        TeacherError: malformed, with what is wrong.
    """
    data = _json_object(raw)
    if data is None:
        return _from_text(raw)
    summary, evidence, label = (_text(data, name) for name in ("summary", "evidence", "label"))
    steps = data.get("steps")
    if not isinstance(steps, list):
        raise TeacherError("malformed", f"no list of steps but {type(steps).__name__}", raw=raw)
    if not label:
        raise TeacherError("malformed", "no label", raw=raw)
    first = tuple(_step(step, place, raw) for place, step in enumerate(steps[:MOST_STEPS]))
    text = rationale_text(summary, first, evidence, label)
    return Rationale(summary=summary, steps=first, evidence=evidence, label=label, text=text)


def parse_label(raw: str) -> str:
    """The label of a blind answer: the field of that name, a line "Label: X", or the whole of a one-line answer.

    Raises:
        TeacherError: malformed.
    """
    data = _json_object(raw)
    label = _text(data, "label") if data is not None else ""
    if not label and (lines := _labels(raw)):
        label = lines[-1]
    if not label and data is None and len(raw.strip().splitlines()) == 1:
        label = raw.strip().strip(".\"'")
    if not label:
        raise TeacherError("malformed", "no label", raw=raw)
    return label


def to_json(rationale: Rationale) -> str:
    """A rationale as an answer that `parse` reads back."""
    steps = [vars(step) for step in rationale.steps]
    body = {"summary": rationale.summary, "steps": steps, "evidence": rationale.evidence, "label": rationale.label}
    return json.dumps(body)


def _json_object(raw: str) -> dict[str, Any] | None:
    """The first JSON object in a text; None where there is none."""
    # Prose or a code fence may stand before it.
    start = raw.find("{")
    if start < 0:
        return None
    # As it stands first: the cure for trailing commas could spoil a text that needs none.
    for text in (raw[start:], re.sub(r",(\s*[}\]])", r"\1", raw[start:])):
        try:
            value, _ = json.JSONDecoder().raw_decode(text)
        # A model that repeats itself writes brackets a thousand deep.
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    return None


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name, "")
    # Some models write the evidence as a list of sentences.
    if isinstance(value, list):
        value = " ".join(str(item) for item in value)
    text = " ".join(str(value).split()) if isinstance(value, str | int | float) else ""
    return text.encode("utf-8", "replace").decode()  # half of a surrogate pair fits no table


def _labels(raw: str) -> list[str]:
    """What stands after "Label:" in lines that begin with it, or in the next line; without punctuation around.

    Line by line: a pattern over the whole text takes minutes for an answer of nothing but punctuation.
    """
    lines, labels = [line for line in raw.splitlines() if re.search(r"\w", line)], []
    for line, following in pairwise([*lines, ""]):
        if match := _LABEL.match(line):
            labels.append(_trim(match[1] or following))
    return [label for label in labels if label]


def _trim(text: str) -> str:
    """From the first letter or digit to the last."""
    inside = [place for place, letter in enumerate(text) if letter.isalnum()]
    return text[inside[0] : inside[-1] + 1] if inside else ""


def _step(value: Any, place: int, raw: str) -> Step:
    if not isinstance(value, dict):
        raise TeacherError("malformed", f"step {place + 1} is {type(value).__name__}, not an object", raw=raw)
    start, end = (_seconds(value, names) for names in (("start", "from", "t0"), ("end", "to", "t1")))
    if start is None or end is None:
        raise TeacherError("malformed", f"step {place + 1} has no interval in seconds", raw=raw)
    part, motion, cause = (_text(value, name) for name in ("part", "motion", "cause"))
    if not part or not motion:
        raise TeacherError("malformed", f"step {place + 1} names no part or no motion", raw=raw)
    return Step(start=start, end=end, part=part, motion=motion, cause=cause)


def _seconds(value: dict[str, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        seconds = value.get(name)
        if isinstance(seconds, str) and (match := _NUMBER.search(seconds)):
            seconds = float(match.group())
        # A number with a dozen digits is no time, and overflows what comes after.
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and abs(seconds) < 1e6:
            return float(seconds)
    return None


def _from_text(raw: str) -> Rationale:
    labels = _labels(raw)
    if not labels:
        raise TeacherError("malformed", "neither a JSON object nor a line 'Label: X'", raw=raw)
    summary: list[str] = []
    evidence: list[str] = []
    steps: list[Step] = []
    for line in raw.strip().splitlines():
        text = line.strip()
        if not text or _LABEL.match(text):
            continue
        match = _STEP_LINE.match(text)
        if match and (what := _PART.match(match["what"])) and what["motion"]:
            cause = (match["cause"] or "").strip()
            times = float(match["start"]), float(match["end"])
            steps.append(
                Step(start=times[0], end=times[1], part=what["part"], motion=what["motion"].rstrip("."), cause=cause)
            )
        else:
            # Before the first step it introduces, after it it concludes.
            (evidence if steps else summary).append(re.sub(r"^(summary|evidence)\s*:\s*", "", text, flags=re.I))
    first = tuple(steps[:MOST_STEPS])
    parts = " ".join(summary), first, " ".join(evidence), labels[-1]
    return Rationale(summary=parts[0], steps=first, evidence=parts[2], label=parts[3], text=rationale_text(*parts))
