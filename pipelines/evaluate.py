"""Stage: scores the test clips of every set's protocol with the trained model, as batch inference on Ray Data.

Exported model + shards -> evaluate/rows-*/part-*.parquet (one row per clip) and evaluate/metrics.json. Trains nothing,
chooses nothing by its score. Rows that are already written are not computed again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models import prompts
from pipelines import leakage, manifest
from pipelines.config import FullConfig, digest
from pipelines.datasource import ClipStore
from pipelines.errors import StageFailed, UserError
from pipelines.manifest import RunPaths
from pipelines.metrics import ClipScore, Judge
from pipelines.progress import Progress, say
from pipelines.raydata import quiet
from pipelines.selection import Selection, protocol_of, select
from pipelines.train import finished_stages
from skeleton_io import storage

ROWS = pa.schema(
    [
        ("key", pa.string()),
        ("set", pa.string()),
        ("label", pa.string()),
        ("prediction", pa.string()),
        ("log_prob", pa.list_(pa.float32())),
        ("tokens", pa.list_(pa.int32())),
        ("prior", pa.list_(pa.float32())),
        ("generated", pa.string()),
    ]
)
BATCHES_PER_PART = 4
"""Batches between two writes: what a broken-off run loses at most, per actor."""


@dataclass(frozen=True)
class Question:
    """One clip to score and the answer that counts as right, in the wording of the candidates."""

    key: str
    set: str
    label: str


class Scorer:
    """One actor: loads the exported model once, then scores batches of clips.

    Args:
        model_uri: export folder.
        shards_uri: shard set.
        candidates: set -> labels; the prompt lists them and the prediction is one of them.
        cfg: batch inference settings; how clips are drawn comes from the export's own configuration.
    """

    def __init__(
        self, model_uri: str, shards_uri: str, candidates: dict[str, tuple[str, ...]], cfg: FullConfig
    ) -> None:
        import torch

        from pipelines.model import load_model

        torch.set_num_threads(1)
        self.model, self.trained, _ = load_model(model_uri)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval()
        self.store = ClipStore(shards_uri)
        self.candidates, self.cfg = candidates, cfg.evaluate
        self.priors: dict[str, list[float]] = {}

    def prior(self, name: str) -> list[float]:
        """Log-probability of a set's candidates for black frames; computed once per set."""
        if name not in self.priors:
            renderer = self.trained.renderer
            names = self.candidates[name]
            prompt = prompts.mqa_prompt(names)
            scores = self.model.score_content_free(prompt, names, renderer.frames, renderer.image_size)
            self.priors[name] = scores.log_prob.tolist()
        return self.priors[name]

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        """Columns key, set, label of N clips -> N rows of `ROWS`."""
        import torch

        from pipelines.collate import clip_input, on_device

        keys, sets = [str(k) for k in batch["key"]], [str(s) for s in batch["set"]]
        clips = [
            on_device(clip_input(self.store.clip(k), self.trained.renderer, None, None), self.device) for k in keys
        ]
        candidates = [self.candidates[s] for s in sets]
        questions = [prompts.mqa_prompt(names) for names in candidates]
        bf16 = self.trained.mllm.precision == "bf16"
        written: list[str | None] = [None] * len(keys)
        with torch.no_grad():
            frames = self.model.renderer(clips)  # float32 whatever the LLM's precision
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
                scores = self.model.mllm.score_candidates(frames, questions, candidates)
                if self.cfg.generate:
                    written = list(self.model.mllm.generate(frames, questions, self.cfg.max_new_tokens))
                priors = [self.prior(name) for name in sets]
        rows = []
        for i, (key, name) in enumerate(zip(keys, sets, strict=True)):
            log_prob, tokens = scores[i].log_prob.cpu().numpy(), scores[i].tokens.cpu().numpy()
            rows.append(
                {
                    "key": key,
                    "set": name,
                    "label": str(batch["label"][i]),
                    "prediction": candidates[i][int((log_prob / tokens).argmax())],
                    "log_prob": log_prob,
                    "tokens": tokens,
                    "prior": priors[i],
                    "generated": written[i],
                }
            )
        return pa.Table.from_pylist(rows, schema=ROWS)


def read_rows(folder: str) -> pa.Table:
    """All parts of a rows folder as one table of `ROWS`, one row per clip."""
    files = storage.list_files(folder, ".parquet") if storage.exists(folder) else []
    parts = [pq.read_table(io.BytesIO(data)) for data in storage.read_many(storage.join(folder, f) for f in files)]
    if not parts:
        return ROWS.empty_table()
    table = pa.concat_tables(parts)
    # Two drivers that ran at once may both have written a clip.
    first = {key: i for i, key in reversed(list(enumerate(table["key"].to_pylist())))}
    return table.take(sorted(first.values()))


def write_part(folder: str, table: pa.Table) -> None:
    """One part, whole or not at all, under a name that its clips decide."""
    name = hashlib.sha256("\n".join(table["key"].to_pylist()).encode()).hexdigest()[:16]
    buffer = io.BytesIO()
    pq.write_table(table.cast(ROWS), buffer, compression="zstd")
    storage.write_atomic(storage.join(folder, f"part-{name}.parquet"), buffer.getvalue())


def score(
    model_uri: str,
    shards_uri: str,
    questions: Sequence[Question],
    candidates: Mapping[str, Sequence[str]],
    out: str,
    cfg: FullConfig,
    name: str = "evaluate",
) -> list[ClipScore]:
    """Scores every question with a pool of actors; Ray must be connected.

    Args:
        model_uri: export folder.
        shards_uri: shard set.
        questions: clips and right answers.
        candidates: set -> closed set of labels.
        out: folder for the rows; clips found there are not scored again, so it must belong to this model.
        cfg: `evaluate` (batch, actors, generate) and the resources per worker of `train`.
        name: stage shown in progress lines.

    Returns:
        One entry per question, sorted by key.

    Raises:
        StageFailed: rows are missing at the end, or a score is not a finite number.
    """
    import ray

    done = set(read_rows(out)["key"].to_pylist())
    todo = sorted((q for q in questions if q.key not in done), key=lambda q: (q.set, q.key))
    progress = Progress(name, len(questions), "clips")
    progress.skip(len(questions) - len(todo))
    if todo:
        quiet()
        settings = cfg.evaluate
        batches = -(-len(todo) // settings.batch)
        actors = min(settings.actors, batches)
        # Small blocks: a block is what an actor hands back, so it is also what a stopped run has kept.
        blocks = max(actors, -(-batches // BATCHES_PER_PART))
        rows = ray.data.from_items([dataclasses.asdict(q) for q in todo], override_num_blocks=blocks)
        scored = rows.map_batches(
            Scorer,
            fn_constructor_args=(model_uri, shards_uri, {s: tuple(c) for s, c in candidates.items()}, cfg),
            batch_size=settings.batch,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=cfg.train.cpus_per_worker,
            num_gpus=cfg.train.gpus_per_worker,
        )
        for table in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            if len(table):
                check_finite(name, table)
                write_part(out, table)
                progress.add(len(table))
    wanted = {q.key for q in questions}
    found = {r["key"]: r for r in read_rows(out).to_pylist() if r["key"] in wanted}
    if len(found) != len(wanted):
        raise StageFailed(f"{name}: {len(wanted) - len(found)} clips have no row in {out}; run the stage again")
    return [clip_score(found[key]) for key in sorted(found)]


def check_finite(name: str, table: pa.Table) -> None:
    """Refuses rows that no prediction can be read from, before they are written.

    Raises:
        StageFailed: a log-probability is not finite.
    """
    for key, values in zip(table["key"].to_pylist(), table["log_prob"].to_pylist(), strict=True):
        if not np.isfinite(values).all():
            raise StageFailed(f"{name}: the model gives clip {key} a score that is not a finite number")


def clip_score(row: Mapping[str, Any]) -> ClipScore:
    """A row as the metrics take it."""
    lists = {name: tuple(row[name]) for name in ("log_prob", "tokens", "prior")}
    return ClipScore(key=row["key"], set=row["set"], label=row["label"], generated=row["generated"], **lists)


def sample(keys: Sequence[str], most: int) -> list[str]:
    """At most `most` keys (0: all), chosen by hash, so that the choice does not depend on their order."""
    if not most or len(keys) <= most:
        return sorted(keys)
    return sorted(sorted(keys, key=lambda k: hashlib.sha256(k.encode()).hexdigest())[:most])


def asked(questions: Sequence[Question]) -> list[tuple[str, ...]]:
    """The questions as plain data, for a hash."""
    return [dataclasses.astuple(q) for q in questions]


def held_out(cfg: FullConfig, store: ClipStore, selection: Selection) -> list[Question]:
    """The test clips of every set that was trained on, at most `evaluate.max_clips` of each."""
    labels = store.labels()
    return [
        Question(key, name, labels[key])
        for name in sorted(cfg.train.sets or selection.test)
        for key in sample(selection.test[name], cfg.evaluate.max_clips)
    ]


def trained_model(cfg: FullConfig, paths: RunPaths) -> tuple[str, str]:
    """(export folder, key) of the last training stage.

    Raises:
        UserError: it is not finished, or was trained with another configuration.
    """
    if not cfg.train.stages:
        raise UserError("nothing to evaluate: train.stages is empty")
    folder = storage.join(paths.train, cfg.train.stages[-1].name)
    if manifest.read_manifest(folder) is None:
        raise UserError(f"nothing to evaluate: no finished model in {folder}; run `skel train` first")
    finished = finished_stages(cfg, paths)
    if len(finished) < len(cfg.train.stages):
        raise UserError(f"the model in {folder} was trained with another configuration; run `skel train` again")
    return finished[-1]


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Scores all test clips and writes metrics.json; does nothing where that is done for this model and data."""
    model_uri, model_key = trained_model(cfg, paths)
    store = ClipStore(paths.shards)
    leakage.check_run(cfg, paths)
    selection = select(cfg, store)
    questions = held_out(cfg, store, selection)
    if not questions:
        raise UserError("nothing to evaluate: no set has test clips under its protocol")
    candidates = {name: selection.candidates(name) for name in store.sets}
    settings = (cfg.evaluate.generate, cfg.evaluate.max_new_tokens, prompts.PROMPTS_VERSION)
    rows_key = digest("rows", model_key, settings, store.digest, candidates, asked(questions))
    rows_folder = storage.join(paths.evaluate, f"rows-{rows_key}")

    def work() -> dict[str, Any]:
        clips = score(model_uri, paths.shards, questions, candidates, rows_folder, cfg)
        judge = Judge(candidates, cfg.evaluate.bootstrap, cfg.seed)
        summary = {
            **judge.assemble(clips, cfg.evaluate.floors),
            "seeds": {"seed": cfg.seed, "bootstrap": cfg.seed},
            "protocols": protocols_used(cfg, store),
            "model": model_key,
            "rows": storage.name(rows_folder),
        }
        storage.write_atomic(storage.join(paths.evaluate, "metrics.json"), json.dumps(summary, indent=1))
        shown = summary["accuracy"]
        say(
            f"[evaluate] accuracy {shown['value']:.3f} (95 % {shown['ci95'][0]:.3f} to {shown['ci95'][1]:.3f}, "
            f"chance {shown['chance']:.3f}, {shown['n']} clips)"
        )
        return summary

    key = digest("evaluate", rows_key, cfg.evaluate.floors, cfg.evaluate.bootstrap, cfg.seed)
    return manifest.run_stage("evaluate", paths.evaluate, key, work)


def protocols_used(cfg: FullConfig, store: ClipStore) -> dict[str, dict[str, str]]:
    """Set -> name and content hash of the protocol that split it."""
    used = {}
    for name in store.sets:
        protocol = protocol_of(cfg, store, name)
        used[name] = {"name": protocol.name, "hash": protocol.hash}
    return used


def score_transfer(
    cfg: FullConfig, paths: RunPaths, model_uri: str, model_key: str, test: str, shared: Mapping[str, str], out: str
) -> dict[str, Any]:
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
        `Judge.set_metrics` of the set, with the training set's wording as labels.

    Raises:
        UserError: no clip has a shared label.
    """
    store = ClipStore(paths.shards)
    selection = select(cfg, store)
    taking_part = {k for side in (selection.train, selection.validation, selection.test) for k in side[test]}
    labels = store.labels()
    keys = [k for k in sorted(taking_part) if labels[k] in shared]
    if not keys:
        raise UserError(f"evaluate.transfer: no clip of {test} has one of the shared labels")
    questions = [Question(k, test, shared[labels[k]]) for k in sample(keys, cfg.evaluate.max_clips)]
    candidates = {test: tuple(sorted(set(shared.values())))}
    settings = (cfg.evaluate.generate, cfg.evaluate.max_new_tokens, prompts.PROMPTS_VERSION)
    rows_key = digest("transfer-rows", model_key, settings, store.digest, candidates, asked(questions))
    rows = storage.join(out, f"rows-{rows_key}")
    clips = score(model_uri, paths.shards, questions, candidates, rows, cfg, name=f"transfer to {test}")
    judge = Judge(candidates, cfg.evaluate.bootstrap, cfg.seed)
    return judge.set_metrics(test, clips, floor=None)
