"""Where a stage stands -> storage while training goes on, and back. One `Checkpoints` per rank; all ranks call alike.

Saving copies this rank's state and returns; a thread writes it, one at a time. A write that fails is tried again, then
said and given up: training goes on, and the next checkpoint is the next chance. Kept are the last ones and the best by
validation accuracy. Writes no exports: a family's loop does. What lies in the files says `checkpoint_files`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pipelines.runtime.progress import say
from pipelines.trainer import checkpoint_files
from pipelines.trainer.checkpoint_files import Checkpoint, Damaged
from pipelines.trainer.context import TrainContext
from pipelines.trainer.engine import Engine
from skeleton_io import storage

T = TypeVar("T")
ACCURACY = "validation_accuracy"
PAUSES_S = (0.5, 2.0, 8.0)
"""Waits before the second, third and fourth attempt at writing or listing."""


def retry(work: Callable[[], T], pauses: tuple[float, ...] = PAUSES_S) -> T:
    """What `work` returns, tried again after errors of the storage.

    Raises:
        Exception: what the last attempt raised.
    """
    for pause in pauses:
        try:
            return work()
        except Exception as error:  # clients of object stores raise what they like
            if isinstance(error, (Damaged, FileNotFoundError)):  # will be no better next time
                raise
            time.sleep(pause)
    return work()


def select_kept(complete: list[Checkpoint], last: int, best: int) -> list[Checkpoint]:
    """Those of complete checkpoints, oldest first, that stay: the newest `last`, and the `best` most accurate ones.

    Of equally accurate ones the earlier stays.
    """
    scored = [c for c in complete if c.metrics.get(ACCURACY) is not None]
    ranked = sorted(scored, key=lambda c: (-c.metrics[ACCURACY], c.step, c.attempt))
    stay = {c.uri for c in [*complete[len(complete) - min(last, len(complete)) :], *ranked[:best]]}
    return [c for c in complete if c.uri in stay]


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
        used = [int(name.rsplit("-", 1)[1], 16) for name in retry(lambda: checkpoint_files.list_folders(self.root))]
        return max([int(time.time() * 1000), *(number + 1 for number in used)])

    def restore(self, engine: Engine, best: bool = False) -> int:
        """Loads the newest complete checkpoint, or the most accurate; one that turns out damaged is passed over.

        Returns:
            Steps done: 0 where there is no checkpoint.
        """
        if not self.root:
            return 0
        while True:
            sound = retry(self._list_sound)
            if best:
                sound = select_kept(sound, 0, 1)
            # Ranks may list a storage at different moments: all take what rank 0 sees.
            newest = _identify(sound[-1]) if sound else (0, 0)
            place = self._agree(newest[0]), self._agree(newest[1])
            if place == (0, 0):
                return 0
            problem = self._read([c for c in sound if _identify(c) == place], engine)
            if problem:
                say(f"[checkpoint] step {place[0]} is damaged and passed over: {problem}")
            # Only what every rank could read is taken: otherwise they would go on from different steps.
            if self.ctx.sum([float(problem == "")])[0] == self.ctx.world_size:
                engine.resume_at(place[0])
                return place[0]
            self.damaged.add(place)

    def _list_sound(self) -> list[Checkpoint]:
        """The complete checkpoints that are not known to be damaged."""
        return [c for c in checkpoint_files.list_complete(self.root) if _identify(c) not in self.damaged]

    def _read(self, agreed: list[Checkpoint], engine: Engine) -> str:
        """What is wrong with the agreed checkpoint, nothing where it was read."""
        try:
            if not agreed:
                return "its markers are gone"
            retry(lambda: checkpoint_files.read_into(agreed[0], engine.pieces()))
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
                retry(lambda: checkpoint_files.write_part(uri, rank, ranks, step, pieces, metrics))
                if rank == 0:
                    retry(self.prune)
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
        sound = self._list_sound()
        if not sound:
            return
        stay = {c.uri for c in select_kept(sound, self.last, self.best)}
        complete = {c.uri for c in sound}
        newest = storage.name(sound[-1].uri)
        for name in checkpoint_files.list_folders(self.root):
            uri = storage.join(self.root, name)
            # Another rank may still be writing a later one.
            if uri not in stay and (uri in complete or name < newest):
                storage.remove(uri)

    def close(self) -> None:
        """Everything of all ranks is on storage, and what is not kept is gone, when this returns."""
        self.wait()
        self.ctx.barrier()
        if self.root and self.ctx.rank == 0:
            retry(self.prune)


def _identify(checkpoint: Checkpoint) -> tuple[int, int]:
    """What identifies a checkpoint of a stage."""
    return checkpoint.step, checkpoint.attempt


def remove_other_keys(folder: str, key: str) -> None:
    """Leaves only the checkpoints of one key below a stage's folder of runs.

    Other keys are other results: their checkpoints must not be taken up by a later change back.
    """
    if storage.exists(folder):
        for name in {file.split("/", 1)[0] for file in storage.list_files(folder)} - {key}:
            storage.remove(storage.join(folder, name))
