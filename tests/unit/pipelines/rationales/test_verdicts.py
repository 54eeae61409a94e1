"""Rules of acceptance and blind votes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.config.rationales import AcceptConfig
from pipelines.rationales.verdicts import blind_labels, rejections, same_label, says_given

GOOD = {
    "label_equal": True,
    "no_leakage": True,
    "grounding": 0.9,
    "score": 0.8,
    "contradicted": 0,
    "words": 40,
    "blind_equal": True,
    "consistency": 1.0,
}
STRICT = AcceptConfig(blind_equal=True, min_consistency=0.6, min_score=0.0)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"label_equal": False}, "label_equal"),
        ({"no_leakage": False}, "no_leakage"),
        ({"grounding": 0.2}, "min_grounding"),
        ({"score": -0.1}, "min_score"),
        ({"contradicted": 2}, "max_contradicted"),
        ({"words": 3}, "min_words"),
        ({"words": 900}, "max_words"),
        ({"blind_equal": False}, "blind_equal"),
        ({"blind_equal": None}, "blind_equal"),
        ({"consistency": 0.5}, "min_consistency"),
        ({"consistency": None}, "min_consistency"),
    ],
)
def test_each_rule_decides_alone(change: dict, rule: str):
    assert rejections(GOOD, STRICT) == []
    assert rejections(GOOD | change, STRICT) == [rule]


def test_rules_can_be_lifted():
    bad = {"label_equal": False, "no_leakage": False, "blind_equal": False, "consistency": None}
    lifted = replace(AcceptConfig(), label_equal=False, no_leakage=False)
    assert rejections(GOOD | bad, lifted) == []


def test_labels_are_equal_but_for_their_dress():
    assert same_label("Drink water.", "drink  water")
    assert same_label("put on a hat/cap", "Put on a hat cap")
    assert not same_label("throw", "throw up cap")


@pytest.mark.parametrize(
    "text",
    ["As stated, the hand goes up.", "The given label fits.", "I was told that it is a wave.", "the true action"],
)
def test_who_admits_to_know_is_found_out(text: str):
    assert says_given(text)


def test_plain_words_admit_nothing():
    assert not says_given("The right hand is given a push and the label of the shirt shows. The action continues.")


def test_blind_answers_are_votes_in_order():
    def line(sample: int, raw: str, status: str = "answered", purpose: str = "blind") -> dict:
        return {"purpose": purpose, "clip": "s/a", "sample": sample, "raw": raw, "status": status}

    lines = [
        line(1, '{"label": "sit"}'),
        line(0, '{"label": "wave"}'),
        line(2, "", "failed"),
        line(0, "", "x", "explain"),
    ]
    assert blind_labels(lines) == {"s/a": ["wave", "sit", ""]}
