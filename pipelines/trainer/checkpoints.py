"""Where a stage stands -> storage while training goes on, and back. One `Checkpoints` per rank; all ranks call alike.

Saving copies this rank's state and returns; a thread writes it, one at a time. A write that fails is told, tried again
and given up: training goes on, and the next checkpoint is the next chance. Kept are the last ones and the best by
validation accuracy. Writes no exports: `model` does. What lies in the files says `checkpoint_files`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pipelines.runtime.progress import say
from pipelines.trainer import checkpoint_files
from pipelines.trainer.checkpoint_files import Damaged, Found
from pipelines.trainer.context import TrainContext
from pipelines.trainer.engine import Engine
from skeleton_io import storage

ACCURACY = "validation_accuracy"
PAUSES_S = (0.5, 2.0, 8.0)
"""Waits before the second, third and fourth attempt at writing or listing."""


def patiently(work: Callable[[], Any], pauses: tuple[float, ...] = PAUSES_S) -> Any:
    """What `work` returns, tried again after errors of the storage.

    Raises:
        Exception: what the last attempt raised.
    """
    for pause in pauses:
        try:
            return work()
        except Exception as error:  # clients of object stores raise what they like
            if isinstance(error, (Damaged, FileNotFoundError)):
                raise
            time.sleep(pause)
    return work()


def kept(found: list[Found], last: int, best: int) -> list[Found]:
    """Those of complete checkpoints, oldest first, that stay: the newest `last`, and the `best` most accurate ones.

    Of equally accurate ones the earlier stays.
    """
    scored = [f for f in found if f.metrics.get(ACCURACY) is not None]
    ranked = sorted(scored, key=lambda f: (-f.metrics[ACCURACY], f.step, f.attempt))
    stay = {f.uri for f in [*found[len(found) - min(last, len(found)) :], *ranked[:best]]}
    return [f for f in found if f.uri in stay]


class Checkpoints:
    """The checkpoints of one stage, as one rank writes and reads them.

    Args:
        root: URI of their folder; empty: nothing is written, there is nothing to go on from.
        ctx: this rank's surroundings.
        last: newest ones kept.
        best: most accurate ones kept.
    """

    def __init__(self, root: str, ctx: TrainContext, last: int, best: int) -> None:
        self.root, self.ctx, self.last, self.best = root, ctx, last, best
        self.thread: threading.Thread | None = None
        self.failed = 0
        """Checkpoints that this rank could not write."""
        self.damaged: set[tuple[int, int]] = set()
        """Checkpoints that turned out damaged: they count neither among the newest nor among the best."""
        self.attempt = 0
        if root:
            self.attempt = self._agree(self._next_attempt() if ctx.rank == 0 else 0)

    def _agree(self, number: int) -> int:
        """Rank 0's number on all ranks."""
        return int(self.ctx.sum([float(number if self.ctx.rank == 0 else 0)])[0])

    def _next_attempt(self) -> int:
        """Larger than any before: the clock in ms, unless it went back."""
        used = [int(name.rsplit("-", 1)[1], 16) for name in patiently(lambda: checkpoint_files.folders(self.root))]
        return max([int(time.time() * 1000), *(number + 1 for number in used)])

    def restore(self, engine: Engine, best: bool = False) -> int:
        """Loads the newest complete checkpoint, or the most accurate; one that turns out damaged is passed over.

        Returns:
            Steps done: 0 where there is no checkpoint.
        """
        if not self.root:
            return 0
        while True:
            found = patiently(self._sound)
            if best:
                found = kept(found, 0, 1)
            chosen = _place(found[-1]) if found else (0, 0)
            chosen = self._agree(chosen[0]), self._agree(chosen[1])
            if chosen == (0, 0):
                return 0
            problem = self._read([f for f in found if _place(f) == chosen], engine)
            if problem:
                say(f"[checkpoint] step {chosen[0]} is damaged and passed over: {problem}")
            if self.ctx.sum([float(problem == "")])[0] == self.ctx.world_size:
                engine.loaded(chosen[0])
                return chosen[0]
            self.damaged.add(chosen)

    def _sound(self) -> list[Found]:
        """The complete checkpoints that are not known to be damaged."""
        return [f for f in checkpoint_files.complete(self.root) if _place(f) not in self.damaged]

    def _read(self, found: list[Found], engine: Engine) -> str:
        """What is wrong with the agreed checkpoint, nothing where it was read."""
        try:
            if not found:
                return "its markers are gone"
            patiently(lambda: checkpoint_files.read_into(found[0], engine.pieces()))
        except Damaged as error:
            return str(error)
        return ""

    def save(self, engine: Engine, step: int, metrics: Mapping[str, Any]) -> None:
        """Copies the state now, writes it in the background; waits first where the one before is still being written.

        Args:
            engine: whose state.
            step: optimiser steps done.
            metrics: plain numbers; `validation_accuracy` is what the best are chosen by.
        """
        self.wait()
        if not self.root:
            return
        pieces = [
            replace(p, **{k: getattr(p, k).detach().to("cpu", copy=True) for k in ("weight", "mean", "square")})
            for p in engine.pieces()
            if self.ctx.rank == 0 or not p.shared
        ]
        uri = storage.join(self.root, checkpoint_files.folder_name(step, self.attempt))
        rank, ranks = self.ctx.rank, self.ctx.world_size

        def write() -> None:
            try:
                patiently(lambda: checkpoint_files.write_part(uri, rank, ranks, step, pieces, metrics))
                if rank == 0:
                    patiently(self.prune)
            except Exception as error:  # noqa: BLE001 - a lost checkpoint must not end the training
                self.failed += 1
                say(f"[checkpoint] rank {rank} could not write step {step}: {type(error).__name__}: {error}")

        self.thread = threading.Thread(target=write, name="checkpoint", daemon=True)
        self.thread.start()

    def wait(self) -> None:
        """Returns once nothing of this rank is being written."""
        if self.thread is not None:
            self.thread.join()
            self.thread = None

    def prune(self) -> None:
        """Removes complete checkpoints that are not kept, and what was cut off or damaged before the newest of them."""
        whole = self._sound()
        if not whole:
            return
        stay = {f.uri for f in kept(whole, self.last, self.best)}
        complete = {f.uri for f in whole}
        newest = storage.name(whole[-1].uri)
        for name in checkpoint_files.folders(self.root):
            uri = storage.join(self.root, name)
            # Another rank may still be writing a later one.
            if uri not in stay and (uri in complete or name < newest):
                storage.remove(uri)

    def close(self) -> None:
        """Everything of all ranks is on storage, and what is not kept is gone, when this returns."""
        self.wait()
        self.ctx.barrier()
        if self.root and self.ctx.rank == 0:
            patiently(self.prune)


def _place(found: Found) -> tuple[int, int]:
    """What identifies a checkpoint of a stage."""
    return found.step, found.attempt
