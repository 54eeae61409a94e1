"""Questions of a stage: order of the candidates, questions from motion and from files, who has material for what."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import prompts
from pipelines.batches.negatives import build_negatives
from pipelines.batches.questions import QuestionSource, read_questions
from pipelines.batches.sampler import Draw, generator, stage_seed
from pipelines.batches.tasks.book import TaskBook, find_material
from pipelines.config.stages import NegativesConfig, QuestionsConfig
from pipelines.runtime.errors import UserError
from skeleton_io.questions.motion import Question
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import SBU15

LABELS = {"s": tuple(f"action {letter}" for letter in "abcdefgh"), "t": ("throw", "toss")}
ASKED = Question(
    "Which hand moves more?", "the left hand", "which hand", ("the left hand", "the right hand", "neither")
)
OPEN = Question("What happens last?", "the arm drops", "last", ())


def clip(number: int = 0, dataset: str = "s", label: str | None = "action c", captions: tuple[str, ...] = ()):
    positions = np.random.default_rng(number).normal(size=(6, 1, 15, 3)).astype(np.float32)
    source = Source(uri="x", sha256="0", reader="made", reader_version=1)
    return SkeletonSequence(
        id=f"c{number}", dataset=dataset, topology=SBU15, positions=positions, fps=30, source=source, label=label,
        captions=captions,
    )  # fmt: skip


def order(seed: int, visit: int, seq: SkeletonSequence) -> list[str]:
    """The candidates as the collator has them written."""
    rng = generator(seed, visit, seq.key, "text")
    return TaskBook(LABELS, {}).example(Draw(seq.key, visit, "mqa", True), seq, rng).prompt.splitlines()[1:-1]


def test_the_order_of_the_candidates_is_drawn_per_seed_epoch_and_clip() -> None:
    base = order(1, 0, clip())
    assert base == order(1, 0, clip())
    assert sorted(base) == sorted(LABELS["s"])
    others = [order(2, 0, clip()), order(1, 1, clip()), order(1, 0, clip(1)), order(stage_seed(1, "4"), 0, clip())]
    assert all(other != base for other in others)
    assert len({tuple(other) for other in others}) == 4


def test_every_candidate_comes_in_every_place_about_as_often() -> None:
    places = np.zeros((8, 8))
    for visit in range(1600):
        for place, label in enumerate(order(5, visit, clip())):
            places[place, LABELS["s"].index(label)] += 1
    assert abs(places - 200).max() < 75  # five standard deviations


def asked(task: str, seq: SkeletonSequence, seed: int = 0, **book):
    draw = Draw(seq.key, 0, task, False)
    return TaskBook(LABELS, {}, **book).example(draw, seq, np.random.default_rng(seed))


def test_questions_with_choices_in_an_order_of_their_own() -> None:
    found = [asked("qa", clip(label=None), seed, questions=lambda seq: (ASKED,)) for seed in range(20)]
    assert {example.answer for example in found} == {"the left hand"}
    assert len({example.prompt for example in found}) > 3
    for example in found:
        first, *choices, last = example.prompt.splitlines()
        assert first == ASKED.question
        assert sorted(choices) == sorted(ASKED.choices)
        assert last == "Answer with one of these only."
    assert asked("qa", clip(), questions=lambda seq: (OPEN,)).prompt.endswith("Answer in a few words.")


def test_a_clip_without_a_clear_question_is_asked_something_else() -> None:
    assert asked("qa", clip(), questions=lambda seq: ()).task == "mqa"
    assert asked("qa", clip(label=None, captions=("x",)), questions=lambda seq: ()).task == "caption"
    assert asked("qa", clip(label=None), questions=lambda seq: ()).answer == "1"


def test_a_label_without_negatives_gets_no_yes_or_no() -> None:
    book = {"negatives": build_negatives(NegativesConfig(), {"t": []}, {}, {"t": LABELS["t"]})}
    assert asked("yesno", clip(dataset="t", label="throw"), **book).task == "mqa"


def test_who_has_material_for_what() -> None:
    keys = {"s": ("s/1", "s/2", "s/3"), "t": ("t/1", "t/2")}
    labels = {"s/1": "action a", "s/2": "action b", "t/1": "throw"}
    book = TaskBook(LABELS, {"s/2": "text", "t/9": "text"})
    found = find_material(("yesno", "rationale", "caption", "qa"), keys, labels, {"s/3", "t/1"}, book, {"t/2"})
    assert {task: sorted(has) for task, has in found.items()} == {
        "mqa": ["s/1", "s/2", "t/1"],
        "yesno": ["s/1", "s/2"],  # throw and toss are one action
        "rationale": ["s/2"],
        "caption": ["s/3", "t/1"],
        "qa": ["t/2"],
    }
    assert len(find_material(("qa",), keys, labels, (), book, None)["qa"]) == 5


def write(folder: Path, *rows: object) -> str:
    file = folder / "questions.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(file)


def test_questions_of_a_file(tmp_path: Path) -> None:
    row = {"clip": "s/c0", "question": "Who wins?", "answer": "nobody"}
    uri = write(tmp_path, row, "", row | {"question": "Left?", "choices": ["nobody", "left"], "kind": "side"})
    cfg = QuestionsConfig(source="file", file=uri)
    source = QuestionSource(cfg)
    assert source.keys == {"s/c0"}
    assert [q.question for q in source(clip())] == ["Who wins?", "Left?"]
    assert source(clip(5)) == ()
    (found,) = QuestionSource(replace(cfg, kinds=("side",)))(clip())
    assert found == Question("Left?", "nobody", "side", ("nobody", "left"))
    both = QuestionSource(replace(cfg, source="both"))
    assert both.keys is None
    assert len(both(clip())) >= 2


def test_questions_from_motion_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def questions_of(seq: SkeletonSequence) -> tuple[Question, ...]:
        made.append(seq.key)
        return (ASKED, OPEN)

    monkeypatch.setattr("pipelines.batches.questions.questions_of", questions_of)
    source = QuestionSource(QuestionsConfig(kinds=("last",)))
    assert source.keys is None
    assert [source(clip(n)) for n in (0, 0, 1)] == [(OPEN,)] * 3
    assert made == ["s/c0", "s/c1"]


ROW = {"clip": "s/c0", "question": "Who?", "answer": "one"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 1: not JSON"),
        ([], "line 1: expected clip, question, answer"),
        ({"clip": "s/c0"}, "found clip"),
        (ROW | {"extra": 1}, "found clip, question, answer, extra"),
        (ROW | {"answer": " "}, "texts that are not empty"),
        (ROW | {"choices": ["one", 2]}, "texts that are not empty"),
        (ROW | {"choices": "one"}, "texts that are not empty"),
        (ROW | {"choices": ["one", "t\nwo"]}, "one line each"),
        (ROW | {"choices": ["two", "three"]}, "'one' is none of the choices"),
    ],
)
def test_mistakes_in_a_file_name_the_line(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_questions(write(tmp_path, row))
    with pytest.raises(UserError, match="no file at"):
        read_questions(str(tmp_path / "none"))


def test_prompts_of_questions_refuse_what_would_break_them() -> None:
    with pytest.raises(ValueError, match="expected a question"):
        prompts.qa_prompt(" ")
    with pytest.raises(ValueError, match="one line each"):
        prompts.qa_prompt("Who?", ("a\nb",))
