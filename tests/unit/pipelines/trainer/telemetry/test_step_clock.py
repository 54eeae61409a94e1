"""Time of a step by region, forward and backward. Time is a number here, which sleeping moves on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipelines.trainer.telemetry import step_clock
from pipelines.trainer.telemetry.step_clock import StepClock

NAP = 0.05


class Time:
    """Stands still but for `sleep`."""

    now = 0.0

    @classmethod
    def sleep(cls, seconds: float) -> None:
        cls.now += seconds

    @classmethod
    def perf_counter(cls) -> float:
        return cls.now


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_clock, "time", Time)


class Slow(torch.autograd.Function):
    """Takes its time, forward and backward."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        Time.sleep(NAP)
        return x * 1.0

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        Time.sleep(2 * NAP)
        return gradient


class Part(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Slow.apply(x)


def test_regions_of_a_step() -> None:
    clock, renderer, vision = StepClock(torch.device("cpu"), ("rendering", "vision", "llm")), Part(), Part()
    clock.watch_module(renderer, "rendering")
    clock.watch_module(vision, "vision")
    clock.begin()
    x = torch.ones(2, requires_grad=True)
    with clock.region("llm"):
        loss = Slow.apply(vision(renderer(x))).sum()
    with clock.region("llm"):
        loss.backward()
    Time.sleep(NAP)
    seconds = clock.end()
    assert list(seconds) == ["data", "rendering", "vision", "llm", "communication", "optimizer", "other"]
    for name in ("rendering", "vision", "llm"):
        assert seconds[name] == pytest.approx(3 * NAP), seconds
    assert seconds["other"] == pytest.approx(NAP)
    assert seconds["communication"] == 0


def test_collectives_are_taken_out_of_their_region(monkeypatch: pytest.MonkeyPatch) -> None:
    class Work:
        def wait(self) -> None:
            Time.sleep(NAP)

    def all_reduce(tensor: torch.Tensor, async_op: bool = False) -> Work | None:
        Time.sleep(0 if async_op else NAP)
        return Work() if async_op else None

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    step_clock.watch_collectives()
    clock = StepClock(torch.device("cpu"))
    torch.distributed.all_reduce(torch.ones(1))  # outside of a measured step: nothing happens
    clock.begin()
    with clock.region("optimizer"):
        torch.distributed.all_reduce(torch.ones(1))
        Time.sleep(NAP / 5)
        torch.distributed.all_reduce(torch.ones(1), async_op=True).wait()
    seconds = clock.end()
    assert seconds["communication"] == pytest.approx(2 * NAP)
    assert seconds["optimizer"] == pytest.approx(NAP / 5)
