"""Scored rows -> the most frequent confusions, each with one clip: what the model saw, chose and wrote.

Of the clips of a confusion the one is shown that the model was surest about. Chooses by scores of the finished
evaluation and changes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.report.page_clips import Confusion, PageClip, WorstClip
from pipelines.scores import rules
from pipelines.scores.rows import read_rows
from skeleton_io import storage

PER_SET = 3
MOST = 18
"""Over all sets: each clip costs about 15 kB of the page."""
CONFUSIONS = 8
"""Confusions listed per set."""


def worst_confusions(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[Confusion]:
    """The most frequent wrong predictions of a confusion matrix (row = truth)."""
    wrong = [
        Confusion(truth=labels[i], predicted=labels[j], count=count, of=sum(row))
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(wrong, key=lambda w: (-w.count, -w.count / w.of, w.truth, w.predicted))[:CONFUSIONS]


def confidence_of(row: Mapping[str, Any]) -> float:
    """Probability of a row's prediction: softmax over the candidates of the mean log-probability per token."""
    # As the headline scores: a confidence under another rule would pick other clips.
    means = rules.closed_set(np.asarray(row["log_prob"]), np.asarray(row["tokens"]))
    return float(rules.probabilities(means).max())


def choose_worst(folder: str, evaluate: Mapping[str, Any]) -> list[WorstClip]:
    """A clip for each of the worst confusions of every set.

    Args:
        folder: where the evaluation wrote, with `rows-*`.
        evaluate: summary of the evaluation; without "rows" there is nothing to choose from.
    """
    rows_uri = storage.join(folder, str(evaluate.get("rows", "")))
    if "rows" not in evaluate or not storage.exists(rows_uri):
        return []
    rows = read_rows(rows_uri).to_pylist()
    # Many sets: fewer of each, but at least one.
    per_set = min(PER_SET, max(1, MOST // max(1, len(evaluate["sets"]))))
    worst = []
    for name, block in evaluate["sets"].items():
        confusions = worst_confusions(block["labels"], block["confusion"])[:PER_SET]
        examples = [_surest_clip(rows, name, confusion, block["labels"]) for confusion in confusions]
        worst += [example for example in examples if example is not None][:per_set]
    return worst


def _surest_clip(
    rows: Sequence[Mapping[str, Any]], name: str, confusion: Confusion, labels: Sequence[str]
) -> WorstClip | None:
    """The clip of a confusion that the model was surest about; None where no row has it."""
    wanted = (name, confusion.truth, confusion.predicted)
    clips = [row for row in rows if (row["set"], row["label"], row["prediction"]) == wanted]
    if not clips:
        return None
    row = max(clips, key=lambda row: (confidence_of(row), row["key"]))
    clip = PageClip(key=row["key"], set=name, split="test", label=row["label"], candidates=tuple(labels))
    return WorstClip(clip=clip, confusion=confusion, written=row["generated"])
