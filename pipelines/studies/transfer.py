"""Stage: cross-format transfer. Trains on some sets, scores another that the model never saw, over the shared labels.

The joint model has seen every format, so it cannot show this: each source is a short training run of its own, scored
on every set that it is paired with. Beside each score stands that of the nearest training clip, without any model.
Writes transfer.json (all pairs) and matrix.json.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from functools import partial
from typing import Any, TypedDict

from models.prompts import PROMPTS_VERSION
from pipelines.config.evaluation import TransferConfig
from pipelines.config.stages import StageConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import Selection, protocol_of, select
from pipelines.evaluation import stage as evaluation
from pipelines.evaluation.stage import list_clips
from pipelines.leakage import of_run as leakage
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import say
from pipelines.scores.baselines import score_nearest
from pipelines.scores.blocks import IntervalBlock
from pipelines.scores.metrics import Scoreboard
from pipelines.scores.rows import sample_keys
from pipelines.training import stage as training
from pipelines.training.keys import stage_key
from pipelines.training.stage import Runner
from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.synonyms import Synonyms, match_labels, read_synonyms

LEAST = 2
"""Shared labels without which nothing can be told apart."""


def synonyms_of(cfg: FullConfig) -> Synonyms:
    """The table that the configuration names.

    Raises:
        UserError: no such file, or no such table.
    """
    try:
        return read_synonyms(cfg.evaluate.synonyms)
    except SkeletonFormatError as error:
        raise UserError(f"evaluate.synonyms: {error}") from None


def names_of(store: ClipStore, selection: Selection, name: str) -> tuple[str, ...]:
    """What a set may be called in the table: its own name and its format's."""
    # All clips of a set come from one reader; any of them names the format.
    first = next(iter((*selection.train[name], *selection.test[name])))
    return tuple(dict.fromkeys((name, store.clip(first).source.reader)))


def shared_labels(cfg: FullConfig, store: ClipStore, pair: TransferConfig) -> dict[str, str]:
    """Label of the test set -> label of the training sets, for the classes that both have.

    Raises:
        UserError: a set is unknown or too little is shared.
    """
    selection = select(cfg, store)
    for name in (*pair.sources, pair.test):
        if name not in selection.labels:
            raise UserError(f"evaluate.transfer: no set {name!r}; there is {', '.join(sorted(selection.labels))}")
    if pair.test in pair.sources:
        raise UserError(f"evaluate.transfer: {pair.test} both trains and tests")
    named = {names_of(store, selection, name): selection.labels[name] for name in pair.sources}
    wording = match_labels(
        synonyms_of(cfg), named, (names_of(store, selection, pair.test), selection.labels[pair.test])
    )
    seen = {label for name in pair.sources for label in selection.labels[name]}
    # What the pair itself says comes last: it overrules the table.
    wording |= {theirs: ours for theirs, ours in pair.synonyms.items() if theirs in selection.labels[pair.test]}
    wording = {theirs: ours for theirs, ours in wording.items() if ours in seen}
    if len(set(wording.values())) < LEAST:
        count = len(set(wording.values()))
        raise UserError(f"evaluate.transfer: {pair.train} and {pair.test} share {count} labels, {LEAST} are needed")
    return wording


def pairs_of(cfg: FullConfig, store: ClipStore) -> list[TransferConfig]:
    """The pairs of `evaluate.transfer`, and with `transfer_all` every other one of two sets that share enough."""
    pairs = list(cfg.evaluate.transfer)
    if not cfg.evaluate.transfer_all:
        return pairs
    named = {(pair.train, pair.test) for pair in pairs}
    for one, other in itertools.permutations(store.sets, 2):
        pair = TransferConfig(train=one, test=other, epochs=cfg.evaluate.transfer_epochs)
        try:
            shared_labels(cfg, store, pair)
        # Of all pairs most share too little; only pairs that are named must.
        except UserError:
            continue
        if (one, other) not in named:
            pairs.append(pair)
    if not pairs:
        raise UserError(f"evaluate.transfer_all: no two of {', '.join(store.sets)} share {LEAST} labels")
    return pairs


def stage_for(cfg: FullConfig, pair: TransferConfig) -> StageConfig:
    """One multiple-choice stage that trains what the first stage of the table trains."""
    first = cfg.train.stages[0]
    # From the same start for all sources: a stage that went before has seen other sets.
    plain = {"start": "", "steps": 0, "loss_weights": {}}
    return dataclasses.replace(first, name="transfer", tasks={"mqa": 1.0}, epochs=pair.epochs, **plain)


def train_sources(cfg: FullConfig, paths: RunPaths, pair: TransferConfig, runner: Runner | None) -> tuple[str, str]:
    """(export, key) of the model of a pair's sources; trained once for all pairs that have the same."""
    stage = stage_for(cfg, pair)
    # By sources and epochs alone: pairs that share them share the model.
    out = storage.join(paths.transfer, "models", f"{'+'.join(pair.sources)}-{pair.epochs:g}")
    key = stage_key(cfg, paths, stage, None, pair.sources)

    def work() -> dict[str, Any]:
        return training.train_stage(cfg, paths, stage, start=None, out=out, sets=pair.sources, runner=runner)

    run_once(f"transfer: train on {pair.train}", out, key, work)
    return storage.join(out, "export"), key


def compare_nearest(cfg: FullConfig, store: ClipStore, pair: TransferConfig, wording: dict[str, str]) -> IntervalBlock:
    """Accuracy of the nearest training clip with a shared label, all clips of the test set.

    Args:
        cfg: `evaluate` and the seed are used.
        store: the clips.
        pair: which sets.
        wording: label of the test set -> label of the training sets.
    """
    selection, labels = select(cfg, store), store.labels()
    shared_by_both = set(wording.values())
    # Validation clips too: nothing is chosen by them here.
    keys = [k for name in pair.sources for k in (*selection.train[name], *selection.validation[name])]
    train = {k: labels[k] for k in keys if labels[k] in shared_by_both}
    candidates = [key for key in list_clips(selection, pair.test) if labels[key] in wording]
    test = {k: wording[labels[k]] for k in sample_keys(candidates, cfg.evaluate.max_clips)}
    hits = score_nearest(store, train, test, {})
    return Scoreboard({}, cfg.evaluate.bootstrap, cfg.seed).share(hits.tolist())


def score_pair(
    cfg: FullConfig, paths: RunPaths, pair: TransferConfig, labels: dict[str, str], model: tuple[str, str], out: str
) -> dict[str, Any]:
    """Scores one pair: an entry of transfer.json.

    Args:
        cfg: the run's configuration.
        paths: the run.
        pair: which sets.
        labels: label of the test set -> label of the training sets.
        model: export and key, from `train_sources`.
        out: folder below which the rows are kept.
    """
    store, table = ClipStore(paths.shards), synonyms_of(cfg)
    result = evaluation.score_transfer(cfg, paths, *model, pair.test, labels, storage.join(out, "scores"))
    return {
        "train": pair.train,
        "test": pair.test,
        "epochs": pair.epochs,
        "synonyms": {"name": table.name, "hash": table.hash},
        "wording": labels,
        "nearest": compare_nearest(cfg, store, pair, labels) if cfg.evaluate.baselines else None,
        **result,
    }


class MatrixCell(TypedDict):
    """One pair of matrix.json. labels: how many both sets share; nearest: see `compare_nearest`."""

    train: str
    test: str
    labels: int
    value: float | None
    ci95: list[float | None]
    chance: float
    n: int
    nearest: IntervalBlock | None


class TransferMatrix(TypedDict):
    """matrix.json: names of the rows (trained on) and columns (tested on), and a cell for each pair."""

    train: list[str]
    test: list[str]
    cells: list[MatrixCell]


def make_matrix(results: Sequence[dict[str, Any]]) -> TransferMatrix:
    """The entries of transfer.json as a matrix."""
    cells = [_matrix_cell(result) for result in results]
    return {
        "train": list(dict.fromkeys(cell["train"] for cell in cells)),
        "test": sorted({cell["test"] for cell in cells}),
        "cells": cells,
    }


def _matrix_cell(result: dict[str, Any]) -> MatrixCell:
    accuracy = result["accuracy"]
    return {
        "train": result["train"],
        "test": result["test"],
        "labels": len(result["labels"]),
        "value": accuracy["value"],
        "ci95": accuracy["ci95"],
        "chance": accuracy["chance"],
        "n": accuracy["n"],
        "nearest": result["nearest"],
    }


def format_matrix(matrix: TransferMatrix) -> list[str]:
    """The matrix as text: accuracy (chance) in per cent, row: trained on, column: tested on."""
    cells = {(cell["train"], cell["test"]): cell for cell in matrix["cells"]}
    rows = [["trained on", *matrix["test"]]]
    for source in matrix["train"]:
        rows.append([source, *(_percent(cells.get((source, test))) for test in matrix["test"])])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [" ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _percent(cell: MatrixCell | None) -> str:
    """Accuracy and chance; "-" for a pair that was not tried."""
    if cell is None or cell["value"] is None:
        return "-"
    return f"{100 * cell['value']:.1f} ({100 * cell['chance']:.0f})"


def run(cfg: FullConfig, paths: RunPaths, runner: Runner | None = None) -> dict[str, Any]:
    """Every pair, each finished one skipped.

    Args:
        cfg: `evaluate.transfer`, `transfer_all`, `synonyms`.
        paths: the run.
        runner: how sources are trained; None: Ray Train with DeepSpeed.

    Raises:
        UserError: a set is unknown, too little is shared, a clip is on both sides, or the stage table is empty.
    """
    if not cfg.train.stages:
        raise UserError("transfer trains as the first stage of train.stages does, which is empty")
    scored = cfg.evaluate
    answers = (scored.answer, scored.generate, scored.max_new_tokens, scored.max_reason_tokens)
    scoring = (*answers, scored.max_clips, scored.bootstrap, scored.baselines)
    store = ClipStore(paths.shards)
    pairs = pairs_of(cfg, store)
    for pair in pairs:
        for source in pair.sources:
            leakage.check_transfer(cfg, paths, source, pair.test)
    # For all pairs before the first training: a typo in the last one shows at once.
    shared_by = [shared_labels(cfg, store, pair) for pair in pairs]
    results = []
    for pair, labels in zip(pairs, shared_by, strict=True):
        model = train_sources(cfg, paths, pair, runner)
        out = storage.join(paths.transfer, f"{pair.train}-to-{pair.test}")
        # The test set's protocol decides which of its clips take part at all.
        protocol = protocol_of(cfg, store, pair.test).hash
        key = digest("transfer", 3, pair, model[1], sorted(labels.items()), protocol, scoring, PROMPTS_VERSION)
        name = f"transfer {pair.train} -> {pair.test}"
        results.append(run_once(name, out, key, partial(score_pair, cfg, paths, pair, labels, model, out)))
    storage.write_atomic(storage.join(paths.transfer, "transfer.json"), json.dumps(results, indent=1))
    matrix = make_matrix(results)
    storage.write_atomic(storage.join(paths.transfer, "matrix.json"), json.dumps(matrix, indent=1))
    for line in format_matrix(matrix):
        say(f"[transfer] {line}")
    return {"pairs": results, "matrix": matrix}
