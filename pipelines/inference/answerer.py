"""Questions in words about clips + exported model -> rows with the written answer and the likelihood of each choice.

Batch inference on Ray Data; batches are cut beforehand, so neither the number of actors nor a stop half-way changes a
row. Writes no questions and judges no answer: `question_scores` and `captions` do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.cluster.spread import quiet
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.runtime.errors import StageFailed
from pipelines.runtime.progress import Progress
from pipelines.scores.rows import ROWS, check_finite, read_rows, write_part

BATCHES_PER_PART = 4


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt about one clip.

    Attributes:
        id: unique; the key of the row.
        clip: key of the clip.
        prompt: what the model is asked, in full.
        choices: answers whose likelihood is wanted; may be empty.
        tokens: length of the written answer; 0 writes none.
    """

    id: str
    clip: str
    prompt: str
    choices: tuple[str, ...] = ()
    tokens: int = 12


class AnswerActor:
    """One actor: loads the exported model once, then answers batches. One row of the input is one batch, as JSON."""

    def __init__(self, model_uri: str, shards_uri: str) -> None:
        import torch

        from pipelines.exports.store import load_model

        torch.set_num_threads(1)
        self.model, self.trained, _ = load_model(model_uri)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval()
        self.store = ClipStore(shards_uri)

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        """Column `askings` -> rows of `ROWS`; `label` and `prior` are empty."""
        return pa.concat_tables([self._answer(json.loads(str(text))) for text in batch["askings"]])

    def _answer(self, askings: Sequence[dict[str, Any]]) -> pa.Table:
        import torch

        from pipelines.data.renderer_input import clip_input, on_device

        keys = list(dict.fromkeys(a["clip"] for a in askings))
        clips = [
            on_device(clip_input(self.store.clip(k), self.trained.renderer, None, None), self.device) for k in keys
        ]
        mllm, bf16 = self.model.mllm, self.trained.mllm.precision == "bf16"
        written: dict[str, str] = {}
        scores: dict[str, Any] = {}
        with torch.no_grad():
            drawn = self.model.renderer(clips)
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
                frames = drawn[[keys.index(a["clip"]) for a in askings]]
                for tokens in sorted({a["tokens"] for a in askings} - {0}):
                    at = [i for i, a in enumerate(askings) if a["tokens"] == tokens]
                    said = mllm.generate(frames[at], [askings[i]["prompt"] for i in at], tokens)
                    written |= {askings[i]["id"]: text for i, text in zip(at, said, strict=True)}
                at = [i for i, a in enumerate(askings) if a["choices"]]
                if at:
                    prompts, choices = [askings[i]["prompt"] for i in at], [askings[i]["choices"] for i in at]
                    found = mllm.score_candidates(frames[at], prompts, choices)
                    scores = {askings[i]["id"]: score for i, score in zip(at, found, strict=True)}
        rows = []
        for asking in askings:
            score = scores.get(asking["id"])
            log_prob = score.log_prob.float().cpu().numpy() if score is not None else np.empty(0, np.float32)
            tokens = score.tokens.cpu().numpy() if score is not None else np.empty(0, np.int32)
            best = asking["choices"][int((log_prob / tokens).argmax())] if len(log_prob) else ""
            rows.append(
                {
                    "key": asking["id"],
                    "set": asking["clip"].split("/", 1)[0],
                    "label": "",
                    "prediction": best,
                    "log_prob": log_prob,
                    "tokens": tokens,
                    "prior": [],
                    "generated": written.get(asking["id"]),
                }
            )
        return pa.Table.from_pylist(rows, schema=ROWS)


def batches_of(askings: Sequence[Prompt], size: int) -> list[list[Prompt]]:
    """Batches in the order of clip and id, which depend on the askings alone."""
    ordered = sorted(askings, key=lambda a: (a.clip, a.id))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def answer_prompts(
    model_uri: str, shards_uri: str, askings: Sequence[Prompt], out: str, cfg: FullConfig, name: str
) -> dict[str, dict[str, Any]]:
    """Answers of all askings, by id; Ray must be connected where rows are missing.

    Args:
        model_uri: export folder.
        shards_uri: shard set.
        askings: prompts.
        out: folder for the rows; what is found there is not asked again, so it must belong to this model.
        cfg: `evaluate.batch`, `evaluate.actors` and the resources per worker of `train`.
        name: stage shown in progress lines.

    Raises:
        StageFailed: rows are missing at the end, or a score is not a finite number.
    """
    done = set(read_rows(out)["key"].to_pylist())
    todo = [b for b in batches_of(askings, cfg.evaluate.batch) if any(a.id not in done for a in b)]
    progress = Progress(name, len(askings), "answers")
    progress.skip(len(askings) - sum(map(len, todo)))
    if todo:
        import ray

        quiet()
        actors = min(cfg.evaluate.actors, len(todo))
        items = [{"askings": json.dumps([asdict(a) for a in batch])} for batch in todo]
        blocks = max(actors, -(-len(todo) // BATCHES_PER_PART))
        answered = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
            AnswerActor,
            fn_constructor_args=(model_uri, shards_uri),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=cfg.train.cpus_per_worker,
            num_gpus=cfg.train.gpus_per_worker,
        )
        for table in answered.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            if len(table):
                check_finite(name, table)
                write_part(out, table)
                progress.add(len(table))
    rows = {row["key"]: row for row in read_rows(out).to_pylist()}
    missing = [a.id for a in askings if a.id not in rows]
    if missing:
        raise StageFailed(f"{name}: {len(missing)} answers have no row in {out}; run the command again")
    return {a.id: rows[a.id] for a in askings}
