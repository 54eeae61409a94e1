"""One teacher, many requests: at most so many in flight, limits and budget shared over the cluster, retries, ledger.

A slot is held from the reservation until the answer's line is on storage, so a killed process re-sends at most what
was in flight. Back-off: full jitter over 0.5 s x 2^attempt up to 30 s (Brooker 2015), never less than what the server
asks for. Knows neither Ray nor files: the shared account comes as an async object, the ledger as a writer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pipelines.rationales.teachers.base import (
    Answer,
    RetryLater,
    StopAsking,
    Teacher,
    TeacherError,
    TeacherRequest,
    Usage,
)
from pipelines.rationales.teachers.ledger import LedgerWriter, Outcome, line_of
from pipelines.rationales.teachers.limits import Grant
from pipelines.rationales.teachers.task import TeacherTask

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
LIMITED_ATTEMPTS = 50


class Account(Protocol):
    """`limits.Limits` behind an await."""

    async def reserve(self, holder: str, tokens: int, usd: float) -> Grant:
        """See `Limits.reserve`."""
        ...

    async def report(
        self, holder: str, tokens: int, usd: float, held_tokens: int, held_usd: float, failed: bool, after_s: float
    ) -> None:
        """See `Limits.report`."""
        ...

    async def halt(self, reason: str) -> None:
        """See `Limits.halt`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a request is expected to cost at most, and what a usage costs."""

    usage: Callable[[TeacherRequest], Usage]
    price: Callable[[Usage], float]


@dataclass(frozen=True, kw_only=True)
class TeacherQuestion:
    """A task, ready to be sent.

    Attributes:
        task: what the ledger says about it.
        request: what the teacher gets.
        frames_sha: hash of the request's pictures; None where it has none.
    """

    task: TeacherTask
    request: TeacherRequest
    frames_sha: str | None = None


class Dispatcher:
    """See the module. All calls from one event loop.

    Args:
        teacher: whom to ask.
        account: shared limits.
        ledger: where lines go.
        holder: name of this asker in the account.
        in_flight: requests at a time.
        attempts: how often a request is sent at most.
        expected: cost model.
        check: raises TeacherError where an answer cannot be read.
    """

    def __init__(
        self,
        *,
        teacher: Teacher,
        account: Account,
        ledger: LedgerWriter,
        holder: str,
        in_flight: int,
        attempts: int,
        expected: Expected,
        check: Callable[[TeacherQuestion, Answer], None],
    ) -> None:
        self._teacher, self._account, self._ledger, self._holder = teacher, account, ledger, holder
        # Held until the line is on storage, not only until the answer: see the head of the module.
        self._slots, self._attempts = asyncio.Semaphore(in_flight), attempts
        self._expected, self._check = expected, check

    async def ask(self, question: TeacherQuestion) -> str:
        """Asks until there is a line in the ledger.

        Returns:
            "answered", "failed", or "stopped" where nothing was sent any more (then there is no line).
        """
        async with self._slots:
            start, attempt, limited, reason = time.monotonic(), 0, 0, ""
            # Being told to come later is no failure: such answers have a larger allowance of their own.
            while attempt - limited < self._attempts and limited < LIMITED_ATTEMPTS:
                grant = await self._reserve(question.request)
                if grant.stop:
                    return "stopped"
                attempt += 1
                try:
                    answer = await self._send(question)
                except TeacherError as error:
                    return await self._failed(question, error, start, attempt)
                except StopAsking as error:
                    await self._account.halt(str(error))
                    return "stopped"
                except RetryLater as error:
                    reason, limited = error.reason, limited + error.limited
                    if attempt - limited < self._attempts:
                        await asyncio.sleep(_backoff(attempt, error.after_s))
                    continue
                price, seconds = self._expected.price(answer.usage), round(time.monotonic() - start, 4)
                return await self._write(question, Outcome.answered(answer, price, seconds, attempt))
            error = TeacherError("unavailable", f"given up after {attempt} attempts: {reason}")
            return await self._failed(question, error, start, attempt)

    async def _reserve(self, request: TeacherRequest) -> Grant:
        held = self._expected.usage(request)
        while True:
            grant = await self._account.reserve(self._holder, held.total, self._expected.price(held))
            if grant.stop:
                return grant
            # Outside the account: others may reserve meanwhile.
            await asyncio.sleep(grant.wait_s)
            if grant.granted:
                return grant

    async def _send(self, question: TeacherQuestion) -> Answer:
        """One attempt; whatever comes of it is reported to the account."""
        held = self._expected.usage(question.request)
        usage, failed, after = Usage(), False, 0.0
        try:
            answer = await self._teacher.ask(question.request)
            usage = answer.usage
            self._check(question, answer)
            return answer
        except TeacherError as error:
            usage = usage if usage.total else error.usage
            # What the check refuses was paid for: the error leaves with the usage of the answer.
            raise TeacherError(error.kind, error.reason, usage, error.raw) from None
        except RetryLater as error:
            failed, after = not error.limited, error.after_s
            raise
        finally:
            money, held_usd = self._expected.price(usage), self._expected.price(held)
            await self._account.report(self._holder, usage.total, money, held.total, held_usd, failed, after)

    async def _failed(self, question: TeacherQuestion, error: TeacherError, start: float, attempt: int) -> str:
        price, seconds = self._expected.price(error.usage), round(time.monotonic() - start, 4)
        return await self._write(question, Outcome.failed(error, price, seconds, attempt))

    async def _write(self, question: TeacherQuestion, outcome: Outcome) -> str:
        await self._ledger.append(line_of(question.task.facts(question.frames_sha), outcome))
        return outcome.status


def _backoff(attempt: int, after_s: float) -> float:
    """Seconds to wait after the n-th attempt: the server's wish and jitter on top, so that not all come at once."""
    jitter = random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)))
    return after_s + jitter
