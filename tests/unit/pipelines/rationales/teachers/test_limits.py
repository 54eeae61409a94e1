"""Shared limits: rates, budget, circuit breaker, and senders that die."""

from __future__ import annotations

import pytest

from pipelines.rationales.teachers.limits import BURST_SECONDS, PROBE_SECONDS, LimitConfig, Limits


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def limits(clock: Clock | None = None, **values: float) -> Limits:
    return Limits(LimitConfig(**values), clock=clock or Clock())  # type: ignore[arg-type]


def settle(account: Limits, tokens: int = 0, usd: float = 0.0, failed: bool = False, after_s: float = 0.0) -> None:
    account.report("a", tokens, usd, 0, 0.0, failed, after_s)


def test_requests_per_minute_hold_over_any_minute() -> None:
    clock = Clock()
    account = limits(clock, requests_per_minute=60)
    sent = [clock.now + account.reserve("a" if i % 2 else "b", 10, 0).wait_s for i in range(180)]
    for start in sent:
        assert sum(start <= t < start + 60 for t in sent) <= 60 + BURST_SECONDS + 1
    assert max(sent) - clock.now == pytest.approx(180 - 1 - BURST_SECONDS, abs=1)


def test_tokens_per_minute() -> None:
    account = limits(tokens_per_minute=6000)
    waits = [account.reserve("a", 1000, 0).wait_s for _ in range(4)]
    assert waits[-1] == pytest.approx(30 - BURST_SECONDS)


def test_the_budget_counts_what_is_in_flight() -> None:
    account = limits(budget_usd=1.0)
    assert [account.reserve("a", 1, 0.4).granted for _ in range(2)] == [True, True]
    waits = account.reserve("a", 1, 0.4)
    assert not waits.granted
    assert not waits.stop, "what is in flight may turn out cheaper"
    assert waits.wait_s > 0
    for _ in range(2):
        account.report("a", 1, 0.4, 1, 0.4, failed=False, after_s=0)
    refused = account.reserve("a", 1, 0.4)
    assert not refused.granted
    assert "budget of 1 USD" in refused.stop
    assert account.reserve("b", 1, 0.0).stop == refused.stop


def test_cheap_answers_make_room_in_the_budget() -> None:
    account = limits(budget_usd=1.0)
    assert account.reserve("a", 1, 0.9).granted
    assert not account.reserve("a", 1, 0.9).granted
    account.report("a", 1, 0.05, 1, 0.9, failed=False, after_s=0)
    assert account.reserve("a", 1, 0.9).granted


def test_a_ledger_counts_towards_the_budget() -> None:
    account = Limits(LimitConfig(budget_tokens=100), spent_tokens=95)
    assert "95 spent" in account.reserve("a", 10, 0).stop


def test_a_dead_sender_gives_back_what_it_held() -> None:
    account = limits(budget_tokens=100)
    account.enter("a")
    account.reserve("a", 90, 0)
    account.enter("a")
    assert account.reserve("a", 90, 0).granted


def test_the_circuit_opens_waits_probes_and_closes() -> None:
    clock = Clock()
    account = limits(clock, breaker_failures=3, breaker_s=10)
    for _ in range(3):
        assert account.reserve("a", 1, 0).granted
        settle(account, failed=True)
    assert not account.reserve("a", 1, 0).granted
    clock.now += 11
    assert account.reserve("a", 1, 0).granted
    assert not account.reserve("a", 1, 0).granted  # one probe at a time
    settle(account, failed=True)
    assert not account.reserve("a", 1, 0).granted
    clock.now += 11
    assert account.reserve("a", 1, 0).granted
    settle(account)
    assert all(account.reserve("a", 1, 0).granted for _ in range(5))


def test_a_probe_that_dies_does_not_close_the_circuit_for_ever() -> None:
    clock = Clock()
    account = limits(clock, breaker_failures=1, breaker_s=1)
    account.reserve("a", 1, 0)
    settle(account, failed=True)
    clock.now += 2
    assert account.reserve("a", 1, 0).granted
    assert not account.reserve("b", 1, 0).granted
    clock.now += PROBE_SECONDS + 1
    assert account.reserve("b", 1, 0).granted


def test_everybody_waits_as_long_as_the_server_asks() -> None:
    clock = Clock()
    account = limits(clock)
    account.reserve("a", 1, 0)
    settle(account, after_s=7.0)
    assert account.reserve("b", 1, 0).wait_s == pytest.approx(7.0)
    clock.now += 8
    assert account.reserve("b", 1, 0).wait_s == 0


def test_the_first_reason_to_halt_stays() -> None:
    account = limits()
    account.halt("no credit")
    account.halt("wrong key")
    assert account.reserve("a", 1, 0).stop == account.state()["stop"] == "no credit"
