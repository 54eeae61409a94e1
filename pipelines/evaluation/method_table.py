"""Scored clips of one or more models -> one table: the model, others beside it, baselines, floors, chance.

All rows are of the same clips; each difference is paired. Baselines read the clips, models have been run before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import numpy as np

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import Selection
from pipelines.scores.baselines import score_baselines
from pipelines.scores.blocks import DifferenceBlock, Ends
from pipelines.scores.bootstrap import compare_paired
from pipelines.scores.metrics import HEADLINE, ClipScore, Scoreboard

OURS = "model"


class MethodRow(TypedDict):
    """One method on the test clips of one set.

    kind: "model", "beside", "baseline" or "floor" (a number of the configuration: no interval). difference: the model's
    accuracy minus this row's; null in the model's own row and the floor's.
    """

    set: str
    name: str
    kind: Literal["model", "beside", "baseline", "floor"]
    chance: float
    value: float | None
    n: int | None
    ci95: Ends | None
    difference: DifferenceBlock | None


def compare_methods(
    cfg: FullConfig,
    store: ClipStore,
    selection: Selection,
    scoreboard: Scoreboard,
    clips: Sequence[ClipScore],
    rivals: Mapping[str, Sequence[ClipScore]],
) -> list[MethodRow]:
    """The table, set by set.

    A zero-shot set has no baselines: no training clip has one of its labels.
    """
    rows: list[MethodRow] = []
    for name in sorted({clip.set for clip in clips}):
        mine = [clip for clip in clips if clip.set == name]
        own = np.array([scoreboard.ranked(clip, HEADLINE, 1) for clip in mine])
        entries: list[tuple[str, Literal["model", "beside", "baseline"], Any]] = [(OURS, "model", own)]
        for rival, theirs in rivals.items():
            by_clip = {clip.key: scoreboard.ranked(clip, HEADLINE, 1) for clip in theirs if clip.set == name}
            entries.append((rival, "beside", np.array([by_clip[clip.key] for clip in mine])))
        if cfg.evaluate.baselines and not selection.unseen[name]:
            # Baselines choose nothing by validation, so its clips may train.
            train = [*selection.train[name], *selection.validation[name]]
            methods = score_baselines(store, train, [clip.key for clip in mine], store.labels())
            for method, hits in methods.items():
                entries.append((method, "baseline", hits))
        # One number for all rows: each method chooses among the same candidates.
        chance = round(1 / len(scoreboard.candidates[name]), 4)
        for label, kind, hits in entries:
            share = scoreboard.share(hits.tolist())
            difference = None if kind == "model" else compare_pair(own, hits, scoreboard)
            rows.append({"set": name, "name": label, "kind": kind, "chance": chance, **share, "difference": difference})
        if name in cfg.evaluate.floors:
            rows.append(
                {
                    "set": name,
                    "name": "floor",
                    "kind": "floor",
                    "chance": chance,
                    "value": cfg.evaluate.floors[name],
                    "n": None,
                    "ci95": None,
                    "difference": None,
                }
            )
    return rows


def compare_pair(ours: Any, theirs: Any, scoreboard: Scoreboard) -> DifferenceBlock:
    """Ours minus theirs; (N,) bools of the same clips."""
    difference = compare_paired(ours, theirs, scoreboard.seed, scoreboard.resamples)
    return {
        "value": round(difference.value, 4),
        "ci95": [round(difference.low, 4), round(difference.high, 4)],
        "p": round(difference.p, 4),
        # Significant digits: a p-value of 1e-9 rounded to 4 places would say 0.
        "mcnemar": float(f"{difference.mcnemar:.3g}"),
    }
