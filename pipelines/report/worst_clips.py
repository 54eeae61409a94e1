"""Scored rows -> the most frequent confusions, each with one clip: what the model saw, chose and wrote.

Of the clips of a confusion the one is shown that the model was surest about. Chooses by scores of the finished
evaluation and changes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.report.clips import Shown
from pipelines.scores import rules
from pipelines.scores.rows import read_rows
from skeleton_io import storage

PER_SET = 3
MOST = 18
"""Over all sets: each clip costs about 15 kB of the page."""
CONFUSIONS = 8
"""Confusions listed per set."""


def worst_confusions(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The most frequent wrong predictions of a confusion matrix (row = truth)."""
    wrong = [
        {"truth": labels[i], "predicted": labels[j], "count": count, "of": sum(row)}
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(wrong, key=lambda w: (-w["count"], -w["count"] / w["of"], w["truth"], w["predicted"]))[:CONFUSIONS]


def sure(row: Mapping[str, Any]) -> float:
    """Probability of a row's prediction: softmax over the candidates of the mean log-probability per token."""
    means = rules.closed_set(np.asarray(row["log_prob"]), np.asarray(row["tokens"]))
    return float(rules.probabilities(means).max())


def choose(folder: str, evaluate: Mapping[str, Any]) -> list[tuple[Shown, dict[str, Any]]]:
    """(clip, what it is an example of) for the worst confusions of every set.

    Args:
        folder: where the evaluation wrote, with `rows-*`.
        evaluate: summary of the evaluation; without "rows" there is nothing to choose from.
    """
    written = storage.join(folder, str(evaluate.get("rows", "")))
    if "rows" not in evaluate or not storage.exists(written):
        return []
    rows = read_rows(written).to_pylist()
    chosen = []
    for name, block in evaluate["sets"].items():
        for found in worst_confusions(block["labels"], block["confusion"])[:PER_SET]:
            wanted = (name, found["truth"], found["predicted"])
            clips = [row for row in rows if (row["set"], row["label"], row["prediction"]) == wanted]
            if not clips:
                continue
            clip = max(clips, key=lambda row: (sure(row), row["key"]))
            shown = Shown(clip["key"], name, "test", clip["label"], tuple(block["labels"]), "")
            chosen.append((shown, {**found, "set": name, "written": clip["generated"]}))
    per_set = max(1, MOST // max(1, len(evaluate["sets"])))
    kept: dict[str, int] = {}
    few = []
    for shown, example in chosen:
        kept[shown.set] = kept.get(shown.set, 0) + 1
        if kept[shown.set] <= per_set:
            few.append((shown, example))
    return few
