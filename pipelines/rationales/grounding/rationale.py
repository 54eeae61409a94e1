"""A rationale as structure and as the text that the student learns. Knows no teacher."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Step:
    """One link of the causal chain over time.

    Attributes:
        start, end: seconds from the first frame.
        part: what moves, for example "right hand"; motion: what it does, for example "goes up 0.5 m".
        cause: how it follows from the steps before, for example "then"; empty for the first.
    """

    start: float
    end: float
    part: str
    motion: str
    cause: str


@dataclass(frozen=True, kw_only=True)
class Rationale:
    """A teacher's answer, as structure and as the text that the student learns.

    Attributes:
        summary: one short sentence.
        steps: in the order of time.
        evidence: what sets the motion apart (contacts, repetitions, what stays still).
        label: as the teacher says it.
        text: summary, steps, evidence and a last line "Label: X", which alone names the label.
    """

    summary: str
    steps: tuple[Step, ...]
    evidence: str
    label: str
    text: str


def sentence(step: Step) -> str:
    """A step as the student learns it; only what the teacher said of it."""
    # Teachers end causes with commas or full stops of their own.
    cause = f"{step.cause.rstrip('., ')}, " if step.cause.strip(" .,") else ""
    text = f"{cause}from {step.start:.1f} to {step.end:.1f} s, {step.part} {step.motion}".strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def rationale_text(summary: str, steps: tuple[Step, ...], evidence: str, label: str) -> str:
    """Training text of a rationale: summary, one sentence per step, evidence, and the label in the last line."""
    lines = [summary.strip(), *(sentence(step) for step in steps), evidence.strip(), f"Label: {label}"]
    return "\n".join(line for line in lines if line)
