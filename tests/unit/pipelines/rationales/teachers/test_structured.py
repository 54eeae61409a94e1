"""Reading of teachers' words: the schema, and what comes instead of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rationales.teachers.base import TeacherError
from pipelines.rationales.teachers.structured import parse, parse_label, to_json

ANSWER = {
    "summary": "One arm goes up.",
    "steps": [
        {"start": 0.0, "end": 0.8, "part": "right hand", "motion": "goes up by 0.5 m", "cause": "First"},
        {"start": 0.8, "end": 1.5, "part": "right hand", "motion": "goes down", "cause": ""},
    ],
    "evidence": "The legs stay still.",
    "label": "wave",
}
TEXT = (
    "One arm goes up.\nFirst, from 0.0 to 0.8 s, right hand goes up by 0.5 m.\n"
    "From 0.8 to 1.5 s, right hand goes down.\nThe legs stay still.\nLabel: wave"
)


def test_the_schema() -> None:
    found = parse(json.dumps(ANSWER))
    assert found.text == TEXT
    assert [(s.start, s.end) for s in found.steps] == [(0.0, 0.8), (0.8, 1.5)]
    assert parse(to_json(found)) == found


@pytest.mark.parametrize(
    "raw",
    [
        "Here it is:\n```json\n" + json.dumps(ANSWER, indent=2) + "\n```\nHope this helps.",
        json.dumps(ANSWER).replace("]", ",]").replace('"wave"', '"wave",'),
        json.dumps(ANSWER).replace("0.0,", '"0.0 s",').replace('"start"', '"from"').replace('"end"', '"t1"'),
    ],
)
def test_json_in_disguise(raw: str) -> None:
    assert parse(raw).text == TEXT


def test_plain_text() -> None:
    raw = (
        "Summary: One arm goes up.\n1. First, from 0.0 to 0.8 s, the right hand goes up by 0.5 m.\n"
        "2. 0.8-1.5 s: right hand goes down.\nThe legs stay still.\n**Label:** wave\n"
    )
    assert parse(raw).text == TEXT
    assert parse(TEXT).text == TEXT


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": "none"}, "list of steps"),
        ({"label": ""}, "no label"),
        ({"steps": ["up"]}, "step 1 is str"),
        ({"steps": [{"part": "hand", "motion": "up"}]}, "no interval"),
        ({"steps": [{"start": 0, "end": 1, "part": "", "motion": "up"}]}, "no part"),
        ({"steps": [{"start": True, "end": 1, "part": "hand", "motion": "up"}]}, "no interval"),
    ],
)
def test_what_cannot_be_read_says_why(change: dict, said: str) -> None:
    with pytest.raises(TeacherError, match=said) as caught:
        parse(json.dumps({**ANSWER, **change}))
    assert caught.value.kind == "malformed"


NAMES = st.sampled_from(["summary", "steps", "label", "start", "end", "part", "motion"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(st.text(max_size=400) | VALUES.map(json.dumps))
def test_any_words_are_read_or_refused(raw: str) -> None:
    for read in (parse, parse_label):
        kind = "read"
        try:
            read(raw)
        except TeacherError as error:
            kind = error.kind
        assert kind in ("read", "malformed")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(TeacherError):
        parse('{"steps": ' + "[" * 100_000)


@pytest.mark.parametrize("raw", ['{"label": "wave"}', "Label: wave", "wave.", "I think\nLabel: **wave**"])
def test_blind_labels(raw: str) -> None:
    assert parse_label(raw) == "wave"


def test_no_blind_label() -> None:
    with pytest.raises(TeacherError):
        parse_label("I am\nnot sure")
