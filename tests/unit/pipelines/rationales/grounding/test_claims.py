"""What is read out of a teacher's words: parts, sides, and nothing where nothing can be checked."""

from __future__ import annotations

import pytest

from pipelines.rationales.grounding.claims import claims_of, parts_of
from pipelines.rationales.grounding.rationale import Rationale, Step


def rationale(*steps: tuple[float, float, str, str], summary: str = "", evidence: str = "") -> Rationale:
    links = tuple(Step(start=a, end=b, part=part, motion=motion, cause="") for a, b, part, motion in steps)
    return Rationale(summary=summary, steps=links, evidence=evidence, label="x", text="")


def test_sentences_without_claims_make_none() -> None:
    assert claims_of(rationale(summary="A typical everyday motion.", evidence="It is done with care.")) == ()


def test_steps_come_first_and_keep_their_times() -> None:
    claims = claims_of(rationale((0.5, 1.0, "left hand", "goes up by 0.5 m"), summary="The left hand moves most."))
    assert [claim.kind for claim in claims] == ["moves", "most"]
    first, second = claims
    assert (first.start, first.end, first.parts, first.ways, first.metres) == (0.5, 1.0, ("left_hand",), ("up",), 0.5)
    assert second.start is None


def test_a_side_is_no_direction() -> None:
    (claim,) = claims_of(rationale((0.0, 1.0, "both hands", "swing back and forth in front of the left hip")))
    assert claim.kind == "swings"
    assert "left" not in claim.ways
    assert "back" not in claim.ways


@pytest.mark.parametrize(
    ("text", "parts", "every"),
    [
        ("the right hand", ("right_hand",), False),
        ("Both wrists", ("left_hand", "right_hand"), True),
        ("left forearm of person 2", ("left_arm",), False),
        ("person 1's right knee", ("right_leg",), False),
        ("upper body", ("torso",), False),
        ("whole body", ("body",), False),
        ("legs", ("left_leg", "right_leg"), True),
        ("the camera", (), False),
    ],
)
def test_parts(text: str, parts: tuple, every: bool) -> None:
    assert parts_of(text) == (parts, every)
