"""A task keeps what it says on its way through Ray Data's columns into a line of the ledger."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipelines.rationales.teachers.base import Answer, TeacherError, Usage
from pipelines.rationales.teachers.ledger import Outcome, line_of
from pipelines.rationales.teachers.task import TeacherTask

FACTS = ["key", "clip", "dataset", "label", "asked", "drawing", "purpose", "sample", "prompt_sha"]
OUTCOME = ["status", "kind", "reason", "raw", "model", "usage", "usd", "seconds", "attempts", "at"]


def task(purpose: str = "blind", candidates: tuple[str, ...] = ("sit down", "stand up")) -> TeacherTask:
    return TeacherTask(
        key="k",
        clip="s/a",
        dataset="s",
        label="sit down",
        asked="a",
        drawing="d",
        purpose=purpose,
        sample=1,
        prompt_sha="p",
        candidates=candidates,
    )


@pytest.mark.parametrize("one", [task(), task("explain", ())])
def test_a_row_gives_the_task_back(one: TeacherTask):
    row = one.to_row()
    assert all(isinstance(value, str | int) for value in row.values())
    as_numpy = {name: np.str_(value) if isinstance(value, str) else np.int64(value) for name, value in row.items()}
    back = TeacherTask.from_row({**as_numpy, "images": [b"x"]})
    assert back == one
    json.dumps(back.facts())


def test_a_line_of_the_ledger_has_its_keys_in_their_order():
    answer = Answer(raw="{}", model="m", usage=Usage(input=3, output=2, cached=1))
    line = line_of(task().facts("f"), Outcome.answered(answer, usd=0.5, seconds=1.5, attempts=2))
    assert list(line) == [*FACTS, "frames_sha", *OUTCOME]
    assert (line["status"], line["kind"], line["reason"], line["raw"], line["model"]) == ("answered", "", "", "{}", "m")
    assert line["usage"] == {"input": 3, "output": 2, "cached": 1}
    assert (line["usd"], line["seconds"], line["attempts"]) == (0.5, 1.5, 2)
    failed = line_of(
        task().facts(), Outcome.failed(TeacherError("empty", "nothing came", Usage(input=3), "x"), usd=0.1)
    )
    assert list(failed) == [*FACTS, *OUTCOME]
    assert (failed["status"], failed["kind"], failed["reason"]) == ("failed", "empty", "nothing came")
    assert (failed["raw"], failed["model"], failed["usage"]["input"], failed["attempts"]) == ("x", "", 3, 1)
