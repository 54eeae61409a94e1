"""Losses and tasks of one step's clips -> sums that ranks can add up, and from the total the numbers of the step.

In metrics.jsonl: loss (mean over clips of the mean over answer tokens, without smoothing), loss/<task>, fallback/<task>
(clips that wanted the task and were asked another), objective (with smoothing and weights), tokens (images included).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.batches.tasks.book import FALLBACKS

FALLBACK_PREFIX = "fallback/"
"""Of the numbers that say, per wanted task, how many clips were asked something else."""


class StepMetrics:
    """Sums over the clips of one step on one rank.

    Args:
        tasks: of the stage's mix.
    """

    def __init__(self, tasks: Iterable[str]) -> None:
        self.mix = list(tasks)
        self.tasks = [*self.mix, *(task for task in FALLBACKS if task not in self.mix)]
        self.loss, self.clips = dict.fromkeys(self.tasks, 0.0), dict.fromkeys(self.tasks, 0)
        self.moved = dict.fromkeys(self.mix, 0)
        self.objective, self.tokens = 0.0, 0

    def add(
        self, wanted: Sequence[str], tasks: Sequence[str], losses: Sequence[float], objective: float, tokens: int
    ) -> None:
        """One micro batch of B clips.

        Args:
            wanted: (B,) tasks that the mix had drawn.
            tasks: (B,) tasks that the clips were asked instead or all the same.
            losses: (B,) mean loss of each answer's tokens, without smoothing and weights.
            objective: sum over the clips of what is minimised.
            tokens: in the batch.
        """
        self.objective += objective
        self.tokens += tokens
        for want, task, loss in zip(wanted, tasks, losses, strict=True):
            self.loss[task] += loss
            self.clips[task] += 1
            self.moved[want] += want != task

    def sums(self) -> list[float]:
        """The sums in one row, the same places on every rank."""
        return [self.objective, self.tokens, *self.loss.values(), *self.clips.values(), *self.moved.values()]

    def row(self, total: Sequence[float], global_batch: int) -> dict[str, Any]:
        """Numbers of the step from `sums` added up over the ranks; tasks and moves that did not occur are left out."""
        count = len(self.tasks)
        losses, clips, moved = total[2 : 2 + count], total[2 + count : 2 + 2 * count], total[2 + 2 * count :]
        row: dict[str, Any] = {"loss": sum(losses) / global_batch}
        row |= {f"loss/{task}": s / n for task, s, n in zip(self.tasks, losses, clips, strict=True) if n}
        row |= {f"{FALLBACK_PREFIX}{task}": int(n) for task, n in zip(self.mix, moved, strict=True) if n}
        return row | {"objective": total[0] / global_batch, "tokens": int(total[1])}


def count_fallbacks(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Wanted task -> clips that were asked something else, summed over the lines of a stage's metrics."""
    counts: dict[str, int] = {}
    for row in rows:
        for key in (key for key in row if key.startswith(FALLBACK_PREFIX)):
            task = key.removeprefix(FALLBACK_PREFIX)
            counts[task] = counts.get(task, 0) + int(row[key])
    return counts
