"""Stage: scores the test clips of every set's protocol with the trained model, as batch inference on Ray Data.

Exported model + shards -> evaluate/rows-*/part-*.parquet (one row per clip) and evaluate/metrics.json. Trains nothing,
chooses nothing by its score. Rows that are already written are not computed again. `any_checkpoint` is the same
for a model and shards that lie anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models import prompts
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import Selection, protocol_of, select
from pipelines.evaluation.method_table import compare_methods
from pipelines.exports.find import find_export, identity
from pipelines.inference.scorer import score
from pipelines.leakage import of_run as leakage
from pipelines.leakage.of_export import check_export
from pipelines.runtime import manifest
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import say
from pipelines.scores.blocks import SetBlock
from pipelines.scores.metrics import ClipScore, Scoreboard
from pipelines.scores.rows import ClipToScore, question_digest, sample_keys
from pipelines.training.keys import finished_stages
from skeleton_io import storage
from skeleton_io.protocols.protocol import assign


def select_test_clips(cfg: FullConfig, store: ClipStore, selection: Selection) -> list[ClipToScore]:
    """The test clips of every set that was trained on, at most `evaluate.max_clips` of each."""
    labels = store.labels()
    return [
        ClipToScore(key, name, labels[key])
        for name in sorted(cfg.train.sets or selection.test)
        for key in sample_keys(selection.test[name], cfg.evaluate.max_clips)
    ]


def select_generalised(
    cfg: FullConfig, store: ClipStore, selection: Selection
) -> tuple[list[ClipToScore], dict[str, tuple[str, ...]]]:
    """(questions, candidates) of generalised zero-shot: test clips of seen and unseen classes, all candidates.

    The seen classes' test clips are those that the rule would test if it hid no class. Sets whose rule hides none are
    left out, and those whose rule splits by label, which have no test clips of seen classes.
    """
    labels = store.labels()
    meta = store.meta().select(["id", "dataset", "label", "subject", "view", "setup", "repetition"]).to_pylist()
    questions: list[ClipToScore] = []
    candidates: dict[str, tuple[str, ...]] = {}
    for name in sorted(cfg.train.sets or selection.test):
        rule = protocol_of(cfg, store, name)
        if not rule.unseen:
            continue
        # The rule without its hidden classes tells who of the seen ones would be tested.
        rows = [row for row in meta if row["dataset"] == name and row["label"] in selection.labels[name]]
        sides = assign(replace(rule, unseen=()), rows)
        seen = sorted(key for key, side in sides.items() if side == "test")
        most = cfg.evaluate.max_clips
        if seen:
            keys = [*sample_keys(seen, most), *sample_keys(selection.test[name], most)]
            questions += [ClipToScore(key, name, labels[key]) for key in sorted(keys)]
            candidates[name] = tuple(sorted({*selection.labels[name], *selection.unseen[name]}))
    return questions, candidates


def find_trained_model(cfg: FullConfig, paths: RunPaths) -> tuple[str, str]:
    """(export folder, key) of the last training stage.

    Raises:
        UserError: it is not finished, or was trained with another configuration.
    """
    if not cfg.train.stages:
        raise UserError("nothing to evaluate: train.stages is empty")
    folder = storage.join(paths.train, cfg.train.stages[-1].name)
    # Two messages: "not trained yet" and "trained otherwise" want different answers from the user.
    if manifest.read_manifest(folder) is None:
        raise UserError(f"nothing to evaluate: no finished model in {folder}; run `skel train` first")
    finished = finished_stages(cfg, paths)
    if len(finished) < len(cfg.train.stages):
        raise UserError(f"the model in {folder} was trained with another configuration; run `skel train` again")
    return finished[-1]


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Scores all test clips and writes metrics.json; does nothing where that is done for this model and data."""
    model_uri, model_key = find_trained_model(cfg, paths)
    leakage.check_run(cfg, paths)
    return Evaluation(cfg, model_uri, model_key, paths.shards, paths.evaluate).run()


@dataclass(frozen=True)
class Evaluation:
    """One model on the test clips of a shard set.

    Attributes:
        cfg: `evaluate`, `data.protocols`, `train.sets` (which sets are scored; empty: all), seed.
        model_uri: export folder.
        model_key: what the model is recognised by; rows of another one are never mixed in.
        shards: URI of the shard set.
        out: folder for rows, metrics.json and the manifest.
    """

    cfg: FullConfig
    model_uri: str
    model_key: str
    shards: str
    out: str

    def settings(self) -> tuple[object, ...]:
        """What decides a row besides the model and the question; the number of actors does not."""
        evaluate = self.cfg.evaluate
        return (
            evaluate.answer,
            evaluate.generate,
            evaluate.max_new_tokens,
            evaluate.max_reason_tokens,
            evaluate.batch,
            prompts.PROMPTS_VERSION,
        )

    def rows(self, kind: str, model_key: str, questions: Sequence[ClipToScore], candidates: Mapping[str, Any]) -> str:
        """Folder for the rows of these questions to this model."""
        store = ClipStore(self.shards)
        return storage.join(
            self.out,
            f"{kind}-{digest(kind, model_key, self.settings(), store.digest, candidates, question_digest(questions))}",
        )

    def run(self) -> dict[str, Any]:
        """Scores and writes metrics.json; returns the summary.

        Raises:
            UserError: no test clips, or a model of `evaluate.beside` is missing or has seen what the test asks.
        """
        cfg, store = self.cfg, ClipStore(self.shards)
        selection = select(cfg, store)
        questions = select_test_clips(cfg, store, selection)
        if not questions:
            raise UserError("nothing to evaluate: no set has test clips under its protocol")
        candidates = {name: selection.candidates(name) for name in store.sets}
        beside = {name: find_export(uri) for name, uri in sorted(cfg.evaluate.beside.items())}
        # By content, not by address: the same folder may hold another model tomorrow.
        others = {name: identity(uri) for name, uri in beside.items()}
        for uri in beside.values():
            # Before anything is scored: a rival that saw the test would spoil the table after hours.
            check_export(cfg, uri, store)
        rows_folder = self.rows("rows", self.model_key, questions, candidates)
        settings = (cfg.evaluate.floors, cfg.evaluate.bootstrap, cfg.evaluate.baselines, cfg.evaluate.gzsl, cfg.seed)
        # Two protocols may test alike and train baselines on other clips.
        key = digest("evaluate", storage.name(rows_folder), settings, others, protocols_used(cfg, store))

        def work() -> dict[str, Any]:
            scoreboard = Scoreboard(candidates, cfg.evaluate.bootstrap, cfg.seed)
            clips = score(self.model_uri, self.shards, questions, candidates, rows_folder, cfg)
            rivals: dict[str, Sequence[ClipScore]] = {}
            for name, uri in beside.items():
                folder = self.rows("beside", others[name], questions, candidates)
                rivals[name] = score(uri, self.shards, questions, candidates, folder, cfg, name=f"evaluate {name}")
            summary = {
                **scoreboard.assemble(clips, cfg.evaluate.floors),
                "table": compare_methods(cfg, store, selection, scoreboard, clips, rivals),
                "gzsl": self.harmonic(store, selection) if cfg.evaluate.gzsl else None,
                "answer": cfg.evaluate.answer,
                "max_clips": cfg.evaluate.max_clips,
                "seeds": {"seed": cfg.seed, "bootstrap": cfg.seed},
                "protocols": protocols_used(cfg, store),
                "model": self.model_key,
                "beside": others,
                "rows": storage.name(rows_folder),
            }
            storage.write_atomic(storage.join(self.out, "metrics.json"), json.dumps(summary, indent=1))
            accuracy = summary["accuracy"]
            low, high = accuracy["ci95"]
            say(
                f"[evaluate] accuracy {accuracy['value']:.3f} (95 % {low:.3f} to {high:.3f}, "
                f"chance {accuracy['chance']:.3f}, {accuracy['n']} clips)"
            )
            return summary

        return run_once("evaluate", self.out, key, work)

    def harmonic(self, store: ClipStore, selection: Selection) -> dict[str, dict[str, Any]]:
        """Set -> seen and unseen accuracy over all candidates, and their harmonic mean."""
        questions, candidates = select_generalised(self.cfg, store, selection)
        if not questions:
            return {}
        folder = self.rows("gzsl", self.model_key, questions, candidates)
        clips = score(self.model_uri, self.shards, questions, candidates, folder, self.cfg, name="evaluate gzsl")
        scoreboard = Scoreboard(candidates, self.cfg.evaluate.bootstrap, self.cfg.seed)
        return {
            name: {
                **scoreboard.harmonic([c for c in clips if c.set == name], selection.unseen[name]),
                "candidates": len(names),
            }
            for name, names in candidates.items()
        }


def protocols_used(cfg: FullConfig, store: ClipStore) -> dict[str, dict[str, str]]:
    """Set -> name and content hash of the protocol that split it."""
    used = {}
    for name in store.sets:
        protocol = protocol_of(cfg, store, name)
        used[name] = {"name": protocol.name, "hash": protocol.hash}
    return used


def list_clips(selection: Selection, name: str) -> list[str]:
    """All labelled clips of a set that its protocol puts on any side, sorted."""
    return sorted(key for side in (selection.train, selection.validation, selection.test) for key in side[name])


def score_transfer(
    cfg: FullConfig, paths: RunPaths, model_uri: str, model_key: str, test: str, shared: Mapping[str, str], out: str
) -> SetBlock:
    """Scores ALL clips of a set that the model never saw, over the labels it shares with the training set.

    Args:
        cfg: the run's configuration.
        paths: the run; its shards hold the set.
        model_uri: export of a model that was trained without this set.
        model_key: what the model is recognised by, its training's `stage_key`.
        test: name of the set.
        shared: its label -> the training set's wording; clips with other labels are left out.
        out: folder below which the rows are kept.

    Returns:
        `Scoreboard.set_metrics` of the set, with the training set's wording as labels.

    Raises:
        UserError: no clip has a shared label.
    """
    store = ClipStore(paths.shards)
    selection = select(cfg, store)
    labels = store.labels()
    keys = [k for k in list_clips(selection, test) if labels[k] in shared]
    if not keys:
        raise UserError(f"evaluate.transfer: no clip of {test} has one of the shared labels")
    questions = [ClipToScore(k, test, shared[labels[k]]) for k in sample_keys(keys, cfg.evaluate.max_clips)]
    # In the training set's words: the model has never read the others.
    candidates = {test: tuple(sorted(set(shared.values())))}
    rows = Evaluation(cfg, model_uri, model_key, paths.shards, out).rows("rows", model_key, questions, candidates)
    clips = score(model_uri, paths.shards, questions, candidates, rows, cfg, name=f"transfer to {test}")
    scoreboard = Scoreboard(candidates, cfg.evaluate.bootstrap, cfg.seed)
    return scoreboard.set_metrics(test, clips, floor=None)
