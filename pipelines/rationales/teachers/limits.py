"""Requests and tokens per minute, budget and circuit breaker, shared by all actors of a stage. Sends nothing itself.

One `Limits` lives in one Ray actor; whoever asks reserves first and reports afterwards. Times are monotonic seconds of
the process that holds the object; callers only ever get durations.

Rates: generic cell rate algorithm (ITU-T I.371) with `BURST_SECONDS` of burst. Breaker: after `breaker_failures`
failures in a row nothing is sent for `breaker_s`, then one probe at a time until an answer comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

BURST_SECONDS = 2.0
PROBE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class LimitConfig:
    """What may be spent. 0 means no limit.

    Attributes:
        requests_per_minute, tokens_per_minute: the server's limits for the account.
        budget_usd, budget_tokens: hard stop, over everything in the ledger.
        breaker_failures: failures in a row that open the circuit.
        breaker_s: how long it stays open, seconds.
    """

    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    budget_usd: float = 0.0
    budget_tokens: int = 0
    breaker_failures: int = 20
    breaker_s: float = 15.0


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Answer to a reservation.

    Attributes:
        wait_s: how long to wait before sending.
        granted: whether to send after the wait; if not, reserve again then.
        stop: why nothing may be sent any more; empty while work goes on.
    """

    wait_s: float = 0.0
    granted: bool = True
    stop: str = ""


class _Rate:
    """One limit per minute. `take` returns how long to wait and books at once."""

    def __init__(self, per_minute: float) -> None:
        self.seconds_each = 60.0 / per_minute if per_minute else 0.0
        self.due = float("-inf")

    def take(self, amount: float, now: float) -> float:
        if not self.seconds_each:
            return 0.0
        # Time that nobody used is not saved up beyond the burst.
        self.due = max(self.due, now - BURST_SECONDS)
        wait = max(0.0, self.due - now)
        self.due += amount * self.seconds_each
        return wait


class Limits:
    """The shared account.

    Args:
        cfg: limits.
        spent_usd, spent_tokens: what the ledger holds already.
        clock: for tests.
    """

    def __init__(
        self,
        cfg: LimitConfig,
        spent_usd: float = 0.0,
        spent_tokens: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cfg, self._clock = cfg, clock
        self._requests, self._tokens = _Rate(cfg.requests_per_minute), _Rate(cfg.tokens_per_minute)
        self.usd, self.tokens = spent_usd, spent_tokens
        self._held: dict[str, tuple[float, int]] = {}
        self._failures = 0
        self._closed_until = float("-inf")
        self._probe_until = float("-inf")
        self._paused_until = float("-inf")
        self.stop = ""

    def enter(self, holder: str) -> None:
        """A sender starts, or starts again after its process was killed: what it held then is free."""
        self._held[holder] = (0.0, 0)

    def reserve(self, holder: str, tokens: int, usd: float) -> Grant:
        """Asks to send one request.

        Args:
            holder: who asks.
            tokens: expected input + output.
            usd: expected price.
        """
        now = self._clock()
        if self.stop:
            return Grant(granted=False, stop=self.stop)
        over = self._over(tokens, usd)
        if over and self._over(tokens, usd, held=False):
            # What is in flight is kept; a cheaper request would not be worth another round.
            self.stop = over
            return Grant(granted=False, stop=over)
        if over:
            # Reservations are upper bounds: what is in flight may leave room for this one.
            return Grant(granted=False, wait_s=0.5)
        if now < max(self._closed_until, self._probe_until):
            return Grant(granted=False, wait_s=max(0.05, min(1.0, self._closed_until - now)))
        if self._failures >= self.cfg.breaker_failures > 0:
            # Not for ever: a probe may die with its process.
            self._probe_until = now + PROBE_SECONDS
        wait = max(self._requests.take(1, now), self._tokens.take(tokens, now), self._paused_until - now, 0.0)
        self._hold(holder, usd, tokens)
        return Grant(wait_s=wait)

    def report(
        self, holder: str, tokens: int, usd: float, held_tokens: int, held_usd: float, failed: bool, after_s: float
    ) -> None:
        """Settles one reservation.

        Args:
            holder: who reserved.
            tokens, usd: what was really spent.
            held_tokens, held_usd: as reserved.
            failed: the server did not answer or answered 5xx; counts for the breaker.
            after_s: the server asked everyone to wait so long (Retry-After); 0 where it did not.
        """
        now = self._clock()
        # The reservation was an upper bound; from now on the real amount counts.
        self._hold(holder, -held_usd, -held_tokens)
        self.usd, self.tokens = self.usd + usd, self.tokens + tokens
        self._probe_until = float("-inf")
        if after_s:
            self._paused_until = max(self._paused_until, now + after_s)
        if not failed:
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= self.cfg.breaker_failures > 0:
            self._closed_until = now + self.cfg.breaker_s

    def halt(self, reason: str) -> None:
        """Nothing is sent any more; the first reason stays."""
        self.stop = self.stop or reason

    def state(self) -> dict[str, float | int | str]:
        """Spent so far, for the summary."""
        return {"usd": round(self.usd, 6), "tokens": self.tokens, "stop": self.stop}

    def _hold(self, holder: str, usd: float, tokens: int) -> None:
        # Summed by holder, not by request: a holder that dies is freed as a whole (`enter`).
        money, count = self._held.get(holder, (0.0, 0))
        self._held[holder] = (money + usd, count + tokens)

    def _over(self, tokens: int, usd: float, held: bool = True) -> str:
        """Why one more request could cross the budget; `held` counts what is in flight as spent."""
        cfg = self.cfg
        if held:
            usd, tokens = usd + sum(h[0] for h in self._held.values()), tokens + sum(h[1] for h in self._held.values())
        # A hair's breadth for the rounding of sums.
        if cfg.budget_usd and self.usd + usd > cfg.budget_usd * (1 + 1e-9):
            return f"the budget of {cfg.budget_usd:g} USD is used up ({self.usd:.4f} spent)"
        if cfg.budget_tokens and self.tokens + tokens > cfg.budget_tokens:
            return f"the budget of {cfg.budget_tokens} tokens is used up ({self.tokens} spent)"
        return ""
