"""Questions as scored: external files, free and closed answers, chance, the most frequent answer, balance."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipelines.evaluation.question_scores import (
    QuestionItem,
    judge_answer,
    make_questions,
    read_questions,
    summarise_verdicts,
)
from pipelines.runtime.errors import UserError
from pipelines.scores.metrics import Scoreboard
from skeleton_io.demo.body import INDEX, Body
from skeleton_io.demo.formats import Sensor
from skeleton_io.demo.motion import ACTIONS, Style, perform
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import TOPOLOGIES

JUDGE = Scoreboard({}, 200, 0)
SIDES = ("the left hand", "the right hand")


def item(
    answer: str = SIDES[0], choices: tuple[str, ...] = SIDES, kind: str = "which hand", clip: str = "s/1"
) -> QuestionItem:
    return QuestionItem(clip=clip, question="Which hand moves more?", answer=answer, kind=kind, choices=choices)


def row(prediction: str = "", generated: str | None = None) -> dict[str, object]:
    return {"prediction": prediction, "generated": generated}


def test_closed_and_free_answers_are_judged_apart():
    found = judge_answer(item(), row(SIDES[0], "It is The Right Hand."))
    assert (found.closed, found.free) == (True, False)
    assert judge_answer(item(), row(SIDES[1], "the left hand!")).free is True
    assert judge_answer(item(), row(SIDES[1], None)).free is None
    open_question = item("Three times", ())
    assert judge_answer(open_question, row(generated="three times.")).free is True
    assert judge_answer(open_question, row(generated="four")).free is False
    assert judge_answer(open_question, row()).closed is None


def test_blocks_hold_chance_majority_and_counts():
    verdicts = [judge_answer(item(clip=f"s/{i}"), row(SIDES[i % 2], None)) for i in range(6)]
    verdicts += [judge_answer(item(SIDES[1], clip=f"s/{i}"), row(SIDES[1], None)) for i in range(2)]
    verdicts += [judge_answer(item("2", ("1", "2", "3", "4"), "repetitions", "s/9"), row("1", "2"))]
    told = summarise_verdicts(JUDGE, verdicts)
    hand, count = told["kinds"]
    assert (hand["kind"], hand["n"], hand["chance"], hand["majority"]) == ("which hand", 8, 0.5, 0.75)
    assert hand["closed"]["value"] == pytest.approx(5 / 8)
    assert hand["answers"] == {SIDES[0]: 6, SIDES[1]: 2}
    assert hand["free"] is None
    assert (count["closed"]["value"], count["free"]["value"], count["chance"]) == (0.0, 1.0, 0.25)
    assert [f["family"] for f in told["families"]] == ["count", "spatial"]
    assert told["overall"]["n"] == 9
    assert told["overall"]["majority"] == pytest.approx(7 / 9, abs=1e-4)
    low, high = told["overall"]["closed"]["ci95"]
    assert low < told["overall"]["closed"]["value"] < high


def test_external_questions_are_read_and_scored(tmp_path: Path):
    rows = [
        {"clip": "s/1", "question": "What does the person hold?", "answer": "a cup"},
        {"clip": "s/2", "question": "Which?", "answer": "b", "choices": ["a", "b"], "kind": "mine"},
    ]
    for data in (rows, {"questions": rows}):
        (tmp_path / "q.json").write_text(json.dumps(data))
        found = read_questions(str(tmp_path / "q.json"), {"s/1", "s/2"})
        assert [(i.kind, i.choices) for i in found] == [("other", ()), ("mine", ("a", "b"))]
    assert found[0].to_prompt(12).prompt.endswith("Answer in a few words.")
    told = summarise_verdicts(
        JUDGE, [judge_answer(found[0], row(generated="A cup.")), judge_answer(found[1], row("a", "b"))]
    )
    assert [(k["kind"], k["free"]["value"]) for k in told["kinds"]] == [("mine", 1.0), ("other", 1.0)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "expected a list of questions"),
        ('[{"clip": "s/1", "question": "?"}]', "question 0: expected texts clip, question, answer"),
        ('[{"clip": "s/1", "question": "?", "answer": "c", "choices": ["a"]}]', "none of the choices"),
        ('[{"clip": "s/7", "question": "?", "answer": "c"}]', "no clip 's/7' in the shards"),
        ('[{"clip": "s/1", "question": "?", "answer": "c", "choices": "abc"}]', "choices must be a list"),
    ],
)
def test_files_that_are_no_questions_say_where(data: str, said: str, tmp_path: Path):
    (tmp_path / "q.json").write_text(data)
    with pytest.raises(UserError, match=said):
        read_questions(str(tmp_path / "q.json"), {"s/1"})


def test_the_order_of_the_choices_does_not_depend_on_the_answer():
    orders = {item(clip=f"s/{i}").to_prompt(4).prompt for i in range(20)}
    assert len(orders) == 2
    for i in range(20):
        one, two = item(SIDES[0], clip=f"s/{i}"), item(SIDES[1], clip=f"s/{i}")
        assert one.to_prompt(4).prompt == two.to_prompt(4).prompt


def wave(number: int, side: str) -> SkeletonSequence:
    table = TOPOLOGIES["ntu25"]
    action = next(a for a in ACTIONS if a.label == "wave")
    made = perform(action, (Body(),), Style(side=side, repeats=3), np.random.default_rng(number))
    places = Sensor(yaw=0, distance=3.2, height=1.0).view(made.motions[0])[:, [INDEX[j] for j in table.joints]]
    source = Source(uri="made", sha256="0", reader="test", reader_version=1)
    places = places[:, None].astype(np.float32)
    return SkeletonSequence(id=str(number), dataset="s", topology=table, positions=places, fps=30, source=source)


def test_questions_of_the_motion_are_balanced_and_limited():
    clips = [wave(i, "left" if i < 5 else "right") for i in range(20)]
    items = make_questions(clips, 0)
    hands = Counter(i.answer for i in items if i.kind == "which hand")
    assert hands == {SIDES[0]: 5, SIDES[1]: 10}
    few = Counter(i.kind for i in make_questions(clips, 3))
    assert max(few.values()) == 3
    assert Counter(i.answer for i in make_questions(clips, 4) if i.kind == "which hand") == dict.fromkeys(SIDES, 2)
    assert items == make_questions(clips[::-1], 0)
