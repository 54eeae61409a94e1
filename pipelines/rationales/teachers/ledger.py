"""The account of paid answers: append-only, one JSON line per answer, on disk or in an object store.

    <uri>/<writer>.jsonl            on disk: lines are appended and flushed to the disk in groups
    <uri>/<writer>-000000.jsonl     in an object store: each group is an object of its own

A line is there when `append` returns, whatever happens to the process afterwards. A line that a killed process left
half-written is no answer and is skipped. Of several lines with one key the first answered one counts. Judges nothing
and forgets nothing: dead letters are lines too.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NotRequired, TypedDict, cast

from pipelines.rationales.teachers.base import Answer, FailureKind, Purpose, TeacherError, Usage
from skeleton_io import storage

PAUSES_S = (0.5, 2.0, 8.0)
"""Waits before the second, third and fourth attempt at writing a group."""


class UsageCounts(TypedDict):
    """Tokens, as `Usage` counts them."""

    input: int
    output: int
    cached: int


class Line(TypedDict):
    """One line: the facts of a `TeacherTask`, then how it ended (`Outcome`)."""

    key: str
    clip: str
    dataset: str
    label: str
    asked: str
    drawing: str
    purpose: Purpose
    sample: int
    prompt_sha: str
    frames_sha: NotRequired[str]
    status: Literal["answered", "failed"]
    kind: FailureKind | Literal[""]
    reason: str
    raw: str
    model: str
    usage: UsageCounts
    usd: float
    seconds: float
    attempts: int
    at: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one task ended.

    Attributes:
        status: "answered", or "failed" for a dead letter.
        kind, reason: sort of failure and one line about it; empty where it was answered.
        raw: the teacher's own words, as far as there are any.
        model: who answered, as the server names it; empty where it failed.
        usage: tokens that were paid.
        usd: their price, US dollars.
        seconds: from the first attempt to the answer; 0 where many tasks were asked at once.
        attempts: how often the request was sent.
        at: when, seconds since 1970.
    """

    status: Literal["answered", "failed"]
    kind: FailureKind | Literal[""] = ""
    reason: str = ""
    raw: str = ""
    model: str = ""
    usage: Usage
    usd: float
    seconds: float = 0.0
    attempts: int = 1
    at: float = field(default_factory=lambda: round(time.time(), 3))

    @classmethod
    def answered(cls, answer: Answer, usd: float, seconds: float = 0.0, attempts: int = 1) -> Outcome:
        """The outcome of a usable answer."""
        return cls(
            status="answered",
            raw=answer.raw,
            model=answer.model,
            usage=answer.usage,
            usd=usd,
            seconds=seconds,
            attempts=attempts,
        )

    @classmethod
    def failed(cls, error: TeacherError, usd: float, seconds: float = 0.0, attempts: int = 1) -> Outcome:
        """A dead letter; what was paid for it stands in the error."""
        return cls(
            status="failed",
            kind=error.kind,
            reason=error.reason,
            raw=error.raw,
            usage=error.usage,
            usd=usd,
            seconds=seconds,
            attempts=attempts,
        )


def line_of(facts: dict[str, Any], outcome: Outcome) -> Line:
    """The line of a task, from `TeacherTask.facts` and how it ended."""
    return cast("Line", {**facts, **asdict(outcome)})


class Ledger:
    """Reads an account.

    Args:
        uri: folder or fsspec URI; need not exist yet.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def lines(self) -> Iterator[Line]:
        """All whole lines, segment by segment in the order of their names; one segment in memory at a time."""
        names = storage.list_files(self.uri, ".jsonl") if storage.exists(self.uri) else []
        for name in names:
            for text in storage.read_bytes(storage.join(self.uri, name)).split(b"\n"):
                line = _whole(text)
                if line is not None:
                    yield line

    def latest(self) -> dict[str, Line]:
        """Key -> the line that counts: the first answered one, else the last failed one."""
        lines: dict[str, Line] = {}
        for line in self.lines():
            # A later dead letter must not hide an answer, a later answer replaces a dead letter.
            before = lines.get(line["key"])
            if before is None or before["status"] != "answered":
                lines[line["key"]] = line
        return lines

    def settled(self, retry_failed: bool) -> set[str]:
        """Keys that are not asked again.

        Args:
            retry_failed: whether dead letters are to be asked once more.
        """
        wanted = {"answered"} if retry_failed else {"answered", "failed"}
        return {line["key"] for line in self.lines() if line["status"] in wanted}

    def spent(self) -> tuple[float, int]:
        """(money in US dollars, tokens) over all lines, also of answers that nobody can use."""
        money, tokens = 0.0, 0
        for line in self.lines():
            money += line["usd"]
            tokens += line["usage"]["input"] + line["usage"]["output"]
        return money, tokens


def _whole(text: bytes) -> Line | None:
    if not text.strip():
        return None
    try:
        line = json.loads(text)
    except ValueError:
        return None  # the tail of a line whose writer was killed
    return cast("Line", line) if isinstance(line, dict) and "key" in line and "status" in line else None


def write_lines(uri: str, name: str, lines: list[Line]) -> None:
    """A segment of its own, whole or not at all; written again under the same name it takes the old one's place."""
    storage.write_atomic(storage.join(uri, f"{name}.jsonl"), b"".join(_encoded(line) for line in lines))


def _encoded(line: Line) -> bytes:
    # A server may send half of a surrogate pair, which no file can hold: it becomes a question mark.
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class LedgerWriter:
    """Appends lines from one event loop. Lines that arrive while a group is on its way form the next group.

    Args:
        uri: the ledger's folder.
    """

    def __init__(self, uri: str) -> None:
        self._uri, self._name = uri, uuid.uuid4().hex
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._busy: asyncio.Task[None] | None = None
        self._groups = 0
        self._file: int | None = None

    async def append(self, line: Line) -> None:
        """Returns when the line is on storage.

        Raises:
            OSError: it could not be written.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((_encoded(line), future))
        if self._busy is None or self._busy.done():
            self._busy = asyncio.create_task(self._drain())
        await future

    async def _drain(self) -> None:
        # Whatever has come while the last group was written: one fsync for many lines.
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                await self._patiently(b"".join(text for text, _ in group))
            except Exception as error:  # noqa: BLE001 - whoever waits for the line must learn that it is not there
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
                continue
            for _, future in group:
                if not future.done():
                    future.set_result(None)

    async def _patiently(self, data: bytes) -> None:
        """Writes a group; a storage that refuses for a moment must not cost answers that are paid for.

        The group has a number of its own: what was reported as refused may be there all the same, and stays.
        """
        number, self._groups = self._groups, self._groups + 1
        for pause in PAUSES_S:
            try:
                return await asyncio.to_thread(self._write, data, number)
            except Exception:  # noqa: BLE001 - clients of object stores raise what they like
                await asyncio.sleep(pause)
        return await asyncio.to_thread(self._write, data, number)

    def _write(self, data: bytes, number: int) -> None:
        if not storage.is_local(self._uri):
            storage.write_atomic(storage.join(self._uri, f"{self._name}-{number:06d}.jsonl"), data)
            return
        if self._file is None:
            folder = storage.local_path(self._uri)
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(folder / f"{self._name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            # An answer that is paid for must outlive the machine.
            os.fsync(self._file)
        except OSError:
            # Half a line may be there now, and the next line must not be glued to it: it goes to a segment of its own.
            os.close(self._file)
            self._file, self._name = None, uuid.uuid4().hex
            raise
