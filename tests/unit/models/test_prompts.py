"""Prompt texts: what they must contain, and reading a stated label back."""

from __future__ import annotations

import pytest

from models.prompts import (
    caption_prompt,
    mqa_prompt,
    prompt_corpus,
    rationale_prompt,
    rationale_target,
    stated_label,
    yesno_prompt,
)


def test_candidates_stand_one_per_line_in_order():
    lines = mqa_prompt(["wave", "sit down"]).splitlines()
    assert lines[1:3] == ["wave", "sit down"]


@pytest.mark.parametrize("labels", [[], ["a\nb"]])
def test_bad_candidates_are_refused(labels):
    with pytest.raises(ValueError, match="mqa_prompt"):
        mqa_prompt(labels)


def test_rationale_ends_in_exactly_one_label_line():
    target = rationale_target("The arm rises.\nlabel: clap\nIt falls.\n", "wave")
    assert target == "The arm rises.\nIt falls.\nLabel: wave"
    assert stated_label(target) == "wave"


@pytest.mark.parametrize(
    ("answer", "label"),
    [("wave", None), ("x\nlabel : Sit Down ", "Sit Down"), ("Label: a\nLabel: b", "b"), ("Label:\nwave", "")],
)
def test_stated_label(answer, label):
    assert stated_label(answer) == label


def test_students_rationale_prompt_names_no_candidate():
    assert "wave" not in rationale_prompt() + caption_prompt()
    assert "wave" in yesno_prompt("wave")


def test_corpus_holds_every_wording():
    text = "\n".join(prompt_corpus(["wave", "clap", "wave"]))
    for piece in (mqa_prompt(["clap", "wave"]), yesno_prompt("clap"), rationale_prompt(), caption_prompt(), "yes"):
        assert piece in text
