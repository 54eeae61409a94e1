"""Builds the next steps' batches in a background thread and measures how long the consumer waits for them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL_S = 0.2


class Prefetcher(Generic[T]):
    """Iterates over build(first), build(first + 1), ..., build(last - 1), each built ahead of its use.

    Args:
        build: makes one item; runs in the thread. What it raises is raised to the consumer.
        first: first number.
        last: one past the last number.
        depth: items kept ready.
    """

    def __init__(self, build: Callable[[int], T], first: int, last: int, depth: int = 3) -> None:
        self.waited = 0.0
        self._ready: queue.Queue[T | BaseException] = queue.Queue(maxsize=depth)
        self._numbers = range(first, last)
        self._build = build
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def _put(self, item: T | BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=_POLL_S)
                return
            except queue.Full:
                continue

    def _work(self) -> None:
        try:
            for number in self._numbers:
                if self._stop.is_set():
                    return
                self._put(self._build(number))
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            self._put(error)

    def __iter__(self) -> Iterator[T]:
        for _ in self._numbers:
            start = time.perf_counter()
            item = self._ready.get()
            self.waited += time.perf_counter() - start
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join()
