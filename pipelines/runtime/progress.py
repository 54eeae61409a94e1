"""Progress as plain lines: what a job's log can carry. At most one line every few seconds, with rate and time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def say(message: str) -> None:
    """One line on standard output, at once."""
    print(message, flush=True)
    sys.stdout.flush()


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Progress:
    """Counts work and prints a line with share, rate and time left.

    Args:
        name: stage, printed in brackets.
        total: units of work.
        unit: what is counted, for example "clips".
        every: seconds between lines.
        tell: takes a line.
    """

    def __init__(self, name: str, total: int, unit: str, every: float = 5.0, tell: Callable[[str], None] = say) -> None:
        self.name, self.total, self.unit, self.every, self.tell = name, total, unit, every, tell
        self.start = self.last = time.monotonic()
        self.done = self.initial = 0

    def skip(self, count: int) -> None:
        """Work that an earlier run did: shown as done, left out of the rate."""
        self.done += count
        self.initial += count

    def add(self, count: int, note: str = "") -> None:
        """`count` more units are done."""
        self.done += count
        now = time.monotonic()
        if now - self.last >= self.every or self.done >= self.total:
            self.last = now
            rate = (self.done - self.initial) / max(now - self.start, 1e-9)
            left = (self.total - self.done) / rate if rate else 0.0
            share = 100 * self.done / max(self.total, 1)
            note = f", {note}" if note else ""
            self.tell(
                f"[{self.name}] {self.done}/{self.total} {self.unit} ({share:.0f} %), "
                f"{rate:.1f} {self.unit}/s, {clock(left)} left{note}"
            )
