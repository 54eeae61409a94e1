"""Stage: cross-format transfer. Trains on one set, scores another that the model never saw, over the shared labels.

Each pair of `evaluate.transfer` is one short training run of its own: the joint model has seen every format, so it
cannot show this.
"""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from typing import Any

from models.prompts import PROMPTS_VERSION
from pipelines import evaluate, leakage, manifest, train
from pipelines.config import FullConfig, StageConfig, TransferConfig, digest
from pipelines.datasource import ClipStore
from pipelines.errors import UserError
from pipelines.manifest import RunPaths
from pipelines.selection import protocol_of, select
from skeleton_io import storage


def shared_labels(cfg: FullConfig, store: ClipStore, pair: TransferConfig) -> dict[str, str]:
    """Label of the test set -> label of the training set, for the labels that both have.

    Raises:
        UserError: a set is unknown or nothing is shared.
    """
    labels = select(cfg, store).labels
    for name in (pair.train, pair.test):
        if name not in labels:
            raise UserError(f"evaluate.transfer: no set {name!r}; there is {', '.join(sorted(labels))}")
    wording = {label: pair.synonyms.get(label, label) for label in labels[pair.test]}
    shared = {theirs: ours for theirs, ours in wording.items() if ours in labels[pair.train]}
    if len(shared) < 2:
        raise UserError(f"evaluate.transfer: {pair.train} and {pair.test} share {len(shared)} labels, 2 are needed")
    return shared


def stage_for(cfg: FullConfig, pair: TransferConfig) -> StageConfig:
    """One multiple-choice stage that trains what the first stage of the table trains."""
    first = cfg.train.stages[0]
    changes = {"start": "", "steps": 0, "loss_weights": {}}
    return dataclasses.replace(first, name="transfer", tasks={"mqa": 1.0}, epochs=pair.epochs, **changes)


def work(
    cfg: FullConfig, paths: RunPaths, pair: TransferConfig, out: str, shared: dict[str, str], model_key: str
) -> dict[str, Any]:
    """Trains and scores one pair."""
    trained = train.train_stage(cfg, paths, stage_for(cfg, pair), start=None, out=out, sets=(pair.train,))
    scores = storage.join(out, "scores")
    result = evaluate.score_transfer(cfg, paths, trained["export"], model_key, pair.test, shared, scores)
    return {"train": pair.train, "test": pair.test, "labels": sorted(shared), "epochs": pair.epochs, **result}


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Every pair, each finished one skipped; `transfer.json` lists the results."""
    asked = cfg.evaluate
    scoring = (asked.max_clips, asked.generate, asked.max_new_tokens, asked.bootstrap, PROMPTS_VERSION)
    store = ClipStore(paths.shards)
    for pair in cfg.evaluate.transfer:
        leakage.check_transfer(cfg, paths, pair.train, pair.test)
    results = []
    for pair in cfg.evaluate.transfer:
        out = storage.join(paths.transfer, f"{pair.train}-to-{pair.test}")
        shared = shared_labels(cfg, store, pair)
        model_key = train.stage_key(cfg, paths, stage_for(cfg, pair), None, (pair.train,))
        # The test set's protocol decides which of its clips take part at all.
        protocol = protocol_of(cfg, store, pair.test).hash
        key = digest("transfer", pair, model_key, sorted(shared.items()), protocol, scoring)
        name = f"transfer {pair.train} -> {pair.test}"
        todo = partial(work, cfg, paths, pair, out, shared, model_key)
        results.append(manifest.run_stage(name, out, key, todo))
    storage.write_atomic(storage.join(paths.transfer, "transfer.json"), json.dumps(results, indent=1))
    return {"pairs": results}
