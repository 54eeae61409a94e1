"""One question until there is a line: retries, giving up, stopping, and what was paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.rationales.actors import LocalAccount
from pipelines.rationales.teachers import dispatcher
from pipelines.rationales.teachers.base import (
    Answer,
    RetryLater,
    StopAsking,
    TeacherError,
    TeacherRequest,
    Usage,
)
from pipelines.rationales.teachers.dispatcher import Dispatcher, Expected, TeacherQuestion
from pipelines.rationales.teachers.ledger import Ledger, LedgerWriter, Line
from pipelines.rationales.teachers.limits import LimitConfig, Limits
from pipelines.rationales.teachers.task import TeacherTask

ANSWER = Answer(raw="{}", model="m", usage=Usage(input=10, output=5))


class Scripted:
    """A teacher that gives its replies one after the other, the last one for ever."""

    name, version, wants_frames = "scripted", 1, False

    def __init__(self, *replies: Answer | Exception) -> None:
        self.replies, self.asked = replies, 0

    async def ask(self, request: TeacherRequest) -> Answer:
        reply = self.replies[min(self.asked, len(self.replies) - 1)]
        self.asked += 1
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_backoff", lambda attempt, after_s: 0.0)


def question(key: str) -> TeacherQuestion:
    fields = dict.fromkeys(("clip", "dataset", "label", "asked", "drawing", "prompt_sha"), "x")
    task = TeacherTask(key=key, **fields, purpose="explain", sample=0, candidates=())
    return TeacherQuestion(task=task, request=TeacherRequest(sequence=SimpleNamespace(), label="x"))  # type: ignore[arg-type]


def ask(
    folder: Path, teacher: Scripted, *keys: str, check: Callable[..., None] = lambda *_: None
) -> tuple[list[str], list[Line], Limits]:
    limits = Limits(LimitConfig(breaker_failures=0))

    async def run() -> list[str]:
        one = Dispatcher(
            teacher=teacher,
            account=LocalAccount(limits),
            ledger=LedgerWriter(str(folder)),
            holder="a",
            in_flight=1,
            attempts=3,
            expected=Expected(usage=lambda _: Usage(input=100), price=lambda usage: usage.total / 10),
            check=check,
        )
        return [await one.ask(question(key)) for key in keys]

    ends = asyncio.run(run())
    return ends, list(Ledger(str(folder)).lines()), limits


def test_what_may_succeed_is_sent_again(tmp_path: Path) -> None:
    ends, lines, limits = ask(tmp_path, Scripted(RetryLater("busy"), ANSWER), "k")
    assert ends == ["answered"]
    assert [(line["key"], line["status"], line["attempts"], line["usd"]) for line in lines] == [
        ("k", "answered", 2, 1.5)
    ]
    assert (limits.tokens, limits.usd) == (15, 1.5)


def test_after_the_last_attempt_it_is_a_dead_letter(tmp_path: Path) -> None:
    teacher = Scripted(RetryLater("busy"))
    ends, lines, _ = ask(tmp_path, teacher, "k")
    assert ends == ["failed"]
    assert teacher.asked == lines[0]["attempts"] == 3
    assert (lines[0]["kind"], lines[0]["reason"]) == ("unavailable", "given up after 3 attempts: busy")


def test_a_server_that_wants_fewer_requests_costs_no_attempts(tmp_path: Path) -> None:
    limited = [RetryLater("slow down", limited=True)] * 5
    ends, lines, _ = ask(tmp_path, Scripted(*limited, ANSWER), "k")
    assert ends == ["answered"]
    assert lines[0]["attempts"] == 6


def test_what_cannot_succeed_stops_all_and_writes_no_line(tmp_path: Path) -> None:
    teacher = Scripted(StopAsking("wrong key"))
    ends, lines, limits = ask(tmp_path, teacher, "k", "l")
    assert ends == ["stopped", "stopped"]
    assert (teacher.asked, lines, limits.stop) == (1, [], "wrong key")


def test_an_answer_that_cannot_be_read_was_paid_for(tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise TeacherError("malformed", "no label", raw="words")

    ends, lines, limits = ask(tmp_path, Scripted(ANSWER), "k", check=refuse)
    assert ends == ["failed"]
    assert (lines[0]["kind"], lines[0]["raw"], lines[0]["usd"]) == ("malformed", "words", 1.5)
    assert lines[0]["usage"] == {"input": 10, "output": 5, "cached": 0}
    assert limits.tokens == 15
