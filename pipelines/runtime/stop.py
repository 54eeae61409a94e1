"""Requests to end a run early, from wherever they come -> one number that ranks can add up, and an exit code.

SIGTERM to the driver, or a file `stop` in the stage's folder: every rank saves a checkpoint after the step it is in,
and the run ends with exit code 75 (EX_TEMPFAIL of sysexits.h: do it again later). SIGTERM to one worker (its machine is
taken away): a checkpoint, then that worker alone ends, and Ray Train starts the group again. Saves nothing itself.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from pipelines.runtime.progress import say
from skeleton_io import storage

EXIT_STOPPED = 75
STOP_FILE = "stop"
GRACE_S = 110.0
"""Spot machines are taken away two minutes after they are told."""
RUN_WEIGHT = 1 << 20
"""A request to end the whole run counts so much in the sum over ranks, one of a single worker 1."""

_TERMINATED = threading.Event()
"""Set by SIGTERM to a worker process."""


class Stopped(Exception):
    """A run that was asked to end has written a checkpoint; the same command goes on from there."""


def catch_in_worker() -> None:
    """From now on SIGTERM to this process asks for a checkpoint first. Must run in the main thread.

    A second one, or `GRACE_S` without a checkpoint, ends the process all the same.
    """
    _TERMINATED.clear()

    def handle(_signum: int, _frame: FrameType | None) -> None:
        if _TERMINATED.is_set():
            os._exit(EXIT_STOPPED)
        _TERMINATED.set()
        timer = threading.Timer(GRACE_S, os._exit, (EXIT_STOPPED,))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, handle)


@contextmanager
def on_sigterm(act: Callable[[], None]) -> Iterator[None]:
    """The first SIGTERM in the block calls `act` in a thread of its own; a second one does what it did before.

    Does nothing outside of the main thread, which alone may handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def handle(_signum: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, before)
        say("[train] SIGTERM: a checkpoint is written, then the run ends; a second SIGTERM ends it at once")
        threading.Thread(target=act, daemon=True).start()

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is handle:
            signal.signal(signal.SIGTERM, before)


def request(out: str) -> None:
    """Asks a stage to end after a checkpoint."""
    storage.write_atomic(storage.join(out, STOP_FILE), f"{os.getpid()}\n")


def withdraw(out: str) -> None:
    """Removes a request that an earlier run was given."""
    uri = storage.join(out, STOP_FILE)
    if storage.exists(uri):
        storage.remove(uri)


def requested(out: str) -> bool:
    """Whether a stage has a request that nobody has withdrawn."""
    return storage.exists(storage.join(out, STOP_FILE))


class StopWatch:
    """Looks for requests. The file is looked for by rank 0, in the background.

    Args:
        out: URI of the stage.
        rank: of this process.
        poll_s: seconds between two looks.
    """

    def __init__(self, out: str, rank: int, poll_s: float) -> None:
        self.uri, self.poll_s = storage.join(out, STOP_FILE), poll_s
        self.rank, self.seen, self.closed = rank, threading.Event(), threading.Event()

    def start(self) -> None:
        """Looks in the background from now on."""
        self.closed = threading.Event()
        if self.rank == 0:
            threading.Thread(target=self._look, args=(self.closed,), name="stop-watch", daemon=True).start()

    def _look(self, closed: threading.Event) -> None:
        while not self.seen.is_set() and not closed.wait(self.poll_s):
            # A storage that does not answer just now is asked again; clients of object stores raise what they like.
            with suppress(Exception):
                if storage.exists(self.uri):
                    self.seen.set()

    def weight(self) -> int:
        """0, or what this rank adds to the sum: see RUN_WEIGHT."""
        return RUN_WEIGHT * self.seen.is_set() + _TERMINATED.is_set()

    @property
    def leaving(self) -> bool:
        """Whether this process itself was told to end."""
        return _TERMINATED.is_set()

    def close(self) -> None:
        """Ends the background thread."""
        self.closed.set()
