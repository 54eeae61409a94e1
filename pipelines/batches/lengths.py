"""Rows of one rank's share of a step -> micro batches of rows that are about equally long, so that little is padding.

Numbers in, numbers out: knows no clips and no tokens. How many micro batches there are is fixed from outside, since
every rank must run as many as the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAMPLED = 64
"""Rows whose lengths stand for those of a stage."""
_TRIALS = 32


def count_parts(rows: int, micro_batch: int) -> int:
    """Fewest micro batches of at most `micro_batch` rows."""
    return -(-rows // micro_batch)


def cut(lengths: Sequence[int], micro_batch: int) -> list[list[int]]:
    """Which rows go together: the split with the fewest padded tokens.

    Rows are put in order of length, where the best split is one into stretches; a table over (row, stretches) finds it.

    Args:
        lengths: tokens of each row.
        micro_batch: most rows of a micro batch.

    Returns:
        Indices of the rows of each micro batch, `parts_of(rows, micro_batch)` of them, none empty, the longest rows
        first: a batch that does not fit into memory fails at once. Equal lengths keep their order.
    """
    rows, parts = len(lengths), count_parts(len(lengths), micro_batch)
    order = sorted(range(rows), key=lambda i: -lengths[i])
    endless = float("inf")
    cost = [[endless] * (rows + 1) for _ in range(parts + 1)]
    start = [[0] * (rows + 1) for _ in range(parts + 1)]
    cost[0][0] = 0
    for part in range(1, parts + 1):
        for end in range(part, rows + 1):
            for begin in range(max(part - 1, end - micro_batch), end):
                padded = cost[part - 1][begin] + (end - begin) * lengths[order[begin]]
                if padded < cost[part][end]:
                    cost[part][end], start[part][end] = padded, begin
    groups: list[list[int]] = []
    end = rows
    for part in range(parts, 0, -1):
        groups.append(order[start[part][end] : end])
        end = start[part][end]
    return groups[::-1]


def padding_share(lengths: Sequence[int], groups: Sequence[Sequence[int]]) -> float:
    """Share of tokens that are padding when each group is padded to its longest row, 0 to 1."""
    read = sum(len(group) * max(lengths[i] for i in group) for group in groups)
    return 1 - sum(lengths) / read if read else 0.0


def fitting_micro_batch(lengths: Sequence[int], rows: int, micro_batch: int, most: float) -> int:
    """The largest micro batch that keeps the expected padding within bounds.

    Args:
        lengths: tokens of some rows of the stage, as they come.
        rows: of one rank's share of a step.
        micro_batch: most rows of a micro batch.
        most: largest share of padding, 0 to 1.

    Returns:
        1 to `micro_batch`; the same on every rank, since it depends on the arguments only.
    """
    rng = np.random.default_rng(0)
    trials = [rng.choice(lengths, min(rows, SAMPLED)).tolist() for _ in range(_TRIALS)]
    for size in range(min(micro_batch, rows), 1, -1):
        groups = [[[trial[i] for i in group] for group in cut(trial, size)] for trial in trials]
        read = sum(len(group) * max(group) for trial in groups for group in trial)
        if 1 - sum(map(sum, trials)) / read <= most:
            return size
    return 1
