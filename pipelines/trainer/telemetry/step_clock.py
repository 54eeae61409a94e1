"""Where a step's time goes: the model's parts, communication, optimiser, waiting for data.

Regions are entered and left by hooks on the modules and, in the backward pass, by the gradients that arrive: the
gradient of a part's output ends what stands above it (the vision encoder's output ends the LLM's part).
Collectives are timed where they block, in whatever region they stand, and taken out of it; waiting for a slower rank
is therefore communication. Measures one rank, not all; which parts a model has says its family.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_measuring: list[StepClock] = []
"""The clock whose step is under way: torch.distributed is wrapped once in a process, whatever clocks follow."""
_COLLECTIVES = (
    "all_reduce",
    "all_gather",
    "all_gather_into_tensor",
    "_all_gather_base",
    "broadcast",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "_reduce_scatter_base",
    "all_gather_object",
    "barrier",
)


class StepClock:
    """Times of one step by region, in seconds; does nothing unless a step is measured.

    Args:
        device: a GPU is waited for at each border.
        parts: names of the model's parts.
    """

    def __init__(self, device: torch.device, parts: Sequence[str] = ()) -> None:
        self.regions = ("data", *parts, "communication", "optimizer", "other")
        self.cuda = device.type == "cuda"
        self.on = False
        self.seconds: dict[str, float] = dict.fromkeys(self.regions, 0.0)
        self.stack: list[str] = []
        self.last = 0.0

    def begin(self) -> None:
        """A measured step starts, in the region `other`."""
        self.seconds, self.stack = dict.fromkeys(self.regions, 0.0), ["other"]
        self.on, self.last = True, self._now()
        _measuring.append(self)

    def end(self) -> dict[str, float]:
        """Seconds by region of the step that ends here."""
        self._count()
        self.on = False
        _measuring.remove(self)
        return self.seconds

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def _count(self) -> None:
        now = self._now()
        self.seconds[self.stack[-1]] += now - self.last
        self.last = now

    def enter(self, name: str) -> None:
        """Time belongs to `name` until `leave`."""
        if self.on:
            self._count()
            self.stack.append(name)

    def leave(self) -> None:
        """Time belongs to the region around this one again."""
        if self.on and len(self.stack) > 1:
            self._count()
            self.stack.pop()

    def change(self, name: str) -> None:
        """The innermost region ends and `name` begins in its place."""
        if self.on and self.stack[-1] != name:
            self._count()
            self.stack[-1] = name

    @contextmanager
    def region(self, name: str) -> Iterator[None]:
        """`enter` and `leave`."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def watch_module(self, module: nn.Module, name: str) -> None:
        """Hooks on a part of the model: its forward and backward passes are the region `name`."""
        module.register_forward_pre_hook(lambda *_: self.enter(name))
        module.register_forward_hook(lambda _module, _args, output: self._end_forward(output, name))

    def _end_forward(self, output: Any, name: str) -> None:
        """A part's forward pass is over; when the gradient of its output arrives, its backward pass begins."""
        if self.on:
            for tensor in tensors(output):
                if tensor.requires_grad:
                    tensor.register_hook(lambda _gradient: self.change(name))
        self.leave()


def watch_collectives() -> None:
    """Times torch.distributed from now on, in this process. Before an engine is built: engines keep references."""
    for name in _COLLECTIVES:
        function = getattr(torch.distributed, name, None)
        if function is not None and not hasattr(function, "untimed"):
            setattr(torch.distributed, name, _timed(function))


class _Handle:
    """A collective under way; waiting for it is communication."""

    def __init__(self, work: Any, clock: StepClock) -> None:
        self._work, self._clock = work, clock

    def wait(self, *args: Any) -> Any:
        with self._clock.region("communication"):
            return self._work.wait(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)


def _timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its time and that of waiting for its result counted as communication."""

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        if not _measuring:
            return function(*args, **named)
        clock = _measuring[-1]
        with clock.region("communication"):
            work = function(*args, **named)
        return _Handle(work, clock) if hasattr(work, "wait") else work

    call.untimed = function  # pyright: ignore[reportAttributeAccessIssue]
    return call


def tensors(output: Any) -> Iterator[Tensor]:
    """Every tensor in a tensor, a sequence or a mapping of them."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for value in output.values():
            yield from tensors(value)
    elif isinstance(output, (list, tuple)):
        for value in output:
            yield from tensors(value)
