"""Scored clips of one or more models -> one table: the model, others beside it, baselines, floors, chance.

All rows are of the same clips; each difference is paired. Baselines read the clips, models have been run before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import Selection
from pipelines.scores import baselines, bootstrap
from pipelines.scores.metrics import HEADLINE, ClipScore, Scoreboard

OURS = "model"


def table(
    cfg: FullConfig,
    store: ClipStore,
    selection: Selection,
    judge: Scoreboard,
    clips: Sequence[ClipScore],
    rivals: Mapping[str, Sequence[ClipScore]],
) -> list[dict[str, Any]]:
    """Rows {"set", "name", "kind", "value", "chance", "n", "ci95", "difference"}, by set.

    kind: "model", "beside", "baseline" or "floor" (a number of the configuration: no interval). difference: the model's
    accuracy minus this row's, with `value`, `ci95`, `p` and `mcnemar`; null in the model's own row and the floor's.
    A zero-shot set has no baselines: no training clip has one of its labels.
    """
    rows = []
    for name in sorted({clip.set for clip in clips}):
        mine = [clip for clip in clips if clip.set == name]
        own = np.array([judge.ranked(clip, HEADLINE, 1) for clip in mine])
        entries: list[tuple[str, str, Any]] = [(OURS, "model", own)]
        for rival, theirs in rivals.items():
            found = {clip.key: judge.ranked(clip, HEADLINE, 1) for clip in theirs if clip.set == name}
            entries.append((rival, "beside", np.array([found[clip.key] for clip in mine])))
        if cfg.evaluate.baselines and not selection.unseen[name]:
            train = [*selection.train[name], *selection.validation[name]]
            told = baselines.hits(store, train, [clip.key for clip in mine], store.labels())
            entries += [(method, "baseline", hits) for method, hits in told.items()]
        chance = round(1 / len(judge.candidates[name]), 4)
        for label, kind, hits in entries:
            rows.append({"set": name, "name": label, "kind": kind, "chance": chance} | judge.share(hits.tolist()))
            rows[-1]["difference"] = None if kind == "model" else difference(own, hits, judge)
        if name in cfg.evaluate.floors:
            floor = {"value": cfg.evaluate.floors[name], "n": None, "ci95": None, "difference": None}
            rows.append({"set": name, "name": "floor", "kind": "floor", "chance": chance} | floor)
    return rows


def difference(ours: Any, theirs: Any, judge: Scoreboard) -> dict[str, Any]:
    """{"value", "ci95", "p", "mcnemar"} of ours minus theirs; (N,) bools of the same clips."""
    found = bootstrap.paired(ours, theirs, judge.seed, judge.resamples)
    return {
        "value": round(found.value, 4),
        "ci95": [round(found.low, 4), round(found.high, 4)],
        "p": round(found.p, 4),
        "mcnemar": float(f"{found.mcnemar:.3g}"),
    }
