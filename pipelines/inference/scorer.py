"""Clips with questions + exported model -> rows of candidate scores and written answers: batch inference on Ray Data.

A pool of actors, each with the model loaded once. Batches are cut before they are spread, so neither the number of
actors nor a stop half-way changes a row. Chooses no clips and computes no metrics.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from models import prompts
from pipelines.cluster.spread import quiet
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.runtime.errors import StageFailed
from pipelines.runtime.progress import Progress
from pipelines.scores.metrics import ClipScore
from pipelines.scores.rows import ROWS, ClipToScore, batches_of, check_finite, read_rows, to_clip_score, write_part

BATCHES_PER_PART = 4
"""Batches between two writes: what a broken-off run loses at most, per actor."""


class Scorer:
    """One actor: loads the exported model once, then scores batches of clips.

    Args:
        model_uri: export folder.
        shards_uri: shard set.
        candidates: set -> labels; the prompt lists them and the prediction is one of them.
        cfg: `evaluate`; how clips are drawn comes from the export's own configuration.
    """

    def __init__(
        self, model_uri: str, shards_uri: str, candidates: dict[str, tuple[str, ...]], cfg: FullConfig
    ) -> None:
        import torch

        from pipelines.exports.store import load_model

        torch.set_num_threads(1)
        self.model, self.trained, _ = load_model(model_uri)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval()
        self.store = ClipStore(shards_uri)
        self.candidates, self.cfg = candidates, cfg.evaluate
        self.reasons = cfg.evaluate.answer == "reason"
        self.priors: dict[str, list[float]] = {}

    def question(self, names: Sequence[str]) -> str:
        """What is asked: the multiple-choice question, or for the motion first, which names no candidate."""
        return prompts.rationale_prompt() if self.reasons else prompts.mqa_prompt(names)

    def answers(self, names: Sequence[str]) -> list[str]:
        """The candidates as they go on from where the model's own words end."""
        return [f" {name}" for name in names] if self.reasons else list(names)

    def prior(self, name: str) -> list[float]:
        """Log-probability of a set's candidates for black frames, no words before them; computed once per set."""
        if name not in self.priors:
            import torch

            drawn, names = self.trained.renderer, self.candidates[name]
            black = torch.zeros(1, drawn.frames, 3, drawn.image_size, drawn.image_size, device=self.device)
            begun = [prompts.label_start("")] if self.reasons else None
            found = self.model.mllm.score_candidates(black, [self.question(names)], [self.answers(names)], begun)
            self.priors[name] = found[0].log_prob.tolist()
        return self.priors[name]

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        """Columns key, set, label of N clips -> N rows of `ROWS`."""
        import torch

        from pipelines.data.renderer_input import clip_input, on_device

        keys, sets = [str(k) for k in batch["key"]], [str(s) for s in batch["set"]]
        drawn = self.trained.renderer
        clips = [on_device(clip_input(self.store.clip(k), drawn, None, None), self.device) for k in keys]
        candidates = [self.candidates[s] for s in sets]
        bf16 = self.trained.mllm.precision == "bf16"
        with torch.no_grad():
            frames = self.model.renderer(clips)  # float32 whatever the LLM's precision
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
                scores, written = self.read(frames, candidates)
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

    def read(self, frames: Any, candidates: Sequence[Sequence[str]]) -> tuple[list[Any], list[str | None]]:
        """Scores and written answers of drawn clips; frames (N, F, 3, H, W).

        With reasoning the model writes its explanation first, and the candidates are scored after it.
        """
        mllm, cfg = self.model.mllm, self.cfg
        questions = [self.question(names) for names in candidates]
        answers = [self.answers(names) for names in candidates]
        if self.reasons:
            told = mllm.generate(frames, questions, cfg.max_reason_tokens)
            begun = [prompts.label_start(text) for text in told]
            return mllm.score_candidates(frames, questions, answers, begun), list(told)
        scores = mllm.score_candidates(frames, questions, answers)
        written: list[str | None] = [None] * len(questions)
        if cfg.generate:
            written = list(mllm.generate(frames, questions, cfg.max_new_tokens))
        return scores, written


class BatchScorer(Scorer):
    """`Scorer` on batches that were cut beforehand: one row of the input is one batch, as JSON."""

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        """Column `questions` -> rows of `ROWS`."""
        tables = []
        for text in batch["questions"]:
            rows = json.loads(str(text))
            columns = {name: np.array([row[name] for row in rows]) for name in ("key", "set", "label")}
            tables.append(super().__call__(columns))
        return pa.concat_tables(tables)


def score(
    model_uri: str,
    shards_uri: str,
    questions: Sequence[ClipToScore],
    candidates: Mapping[str, Sequence[str]],
    out: str,
    cfg: FullConfig,
    name: str = "evaluate",
    actor: type[BatchScorer] = BatchScorer,
) -> list[ClipScore]:
    """Scores every question with a pool of actors; Ray must be connected where rows are missing.

    Args:
        model_uri: export folder.
        shards_uri: shard set.
        questions: clips and right answers.
        candidates: set -> closed set of labels.
        out: folder for the rows; clips found there are not scored again, so it must belong to this model.
        cfg: `evaluate` and the resources per worker of `train`.
        name: stage shown in progress lines.
        actor: what scores; another one may read clips in its own way.

    Returns:
        One entry per question, sorted by key.

    Raises:
        StageFailed: rows are missing at the end, or a score is not a finite number.
    """
    done = set(read_rows(out)["key"].to_pylist())
    todo = [b for b in batches_of(questions, cfg.evaluate.batch) if any(q.key not in done for q in b)]
    progress = Progress(name, len(questions), "clips")
    progress.skip(len(questions) - sum(map(len, todo)))
    if todo:
        for table in scored_batches(model_uri, shards_uri, todo, candidates, cfg, actor):
            check_finite(name, table)
            write_part(out, table)
            progress.add(len(table))
    wanted = {q.key for q in questions}
    found = {r["key"]: r for r in read_rows(out).to_pylist() if r["key"] in wanted}
    if len(found) != len(wanted):
        raise StageFailed(f"{name}: {len(wanted) - len(found)} clips have no row in {out}; run the stage again")
    return [to_clip_score(found[key]) for key in sorted(found)]


def scored_batches(
    model_uri: str,
    shards_uri: str,
    todo: Sequence[Sequence[ClipToScore]],
    candidates: Mapping[str, Sequence[str]],
    cfg: FullConfig,
    actor: type[BatchScorer] = BatchScorer,
) -> Any:
    """Yields tables of `ROWS` as blocks of batches are finished, in no particular order."""
    import ray

    quiet()
    actors = min(cfg.evaluate.actors, len(todo))
    # Small blocks: a block is what an actor hands back, so it is also what a stopped run has kept.
    blocks = max(actors, -(-len(todo) // BATCHES_PER_PART))
    items = [{"questions": json.dumps([dataclasses.asdict(q) for q in batch])} for batch in todo]
    scored = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        actor,
        fn_constructor_args=(model_uri, shards_uri, {s: tuple(c) for s, c in candidates.items()}, cfg),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=cfg.train.cpus_per_worker,
        num_gpus=cfg.train.gpus_per_worker,
    )
    for table in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        if len(table):
            yield table
