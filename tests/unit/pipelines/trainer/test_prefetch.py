"""Batches built ahead: in order, a few at a time, with the builder's errors and the time that was waited."""

from __future__ import annotations

import threading
import time

import pytest

from pipelines.trainer.prefetch import Prefetcher


def test_items_come_in_order_and_only_a_few_ahead() -> None:
    built: list[int] = []

    def build(number: int) -> int:
        built.append(number)
        return number

    ahead = Prefetcher(build, 3, 100, depth=2)
    items = iter(ahead)
    assert [next(items), next(items)] == [3, 4]
    time.sleep(0.1)
    assert len(built) <= 2 + 2 + 1  # taken, ready, and one that waits for room
    ahead.close()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_waiting_is_measured() -> None:
    def build(number: int) -> int:
        time.sleep(0.05)
        return number

    slow = Prefetcher(build, 0, 3)
    assert list(slow) == [0, 1, 2]
    assert slow.waited >= 0.1
    slow.close()


def test_an_error_of_the_builder_reaches_the_loop() -> None:
    def build(number: int) -> int:
        if number == 1:
            raise FileNotFoundError("shard-3")
        return number

    broken = Prefetcher(build, 0, 5)
    items = iter(broken)
    assert next(items) == 0
    with pytest.raises(FileNotFoundError, match="shard-3"):
        next(items)
    broken.close()
