"""A trained model's captions of the test clips, against references and against the motion.

Model, shards -> OUT/captions.json, with the rows it came from in a folder beside it.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np

from models import prompts
from pipelines.data.clip_store import ClipStore
from pipelines.evaluation.any_checkpoint import EvaluationRequest
from pipelines.evaluation.language import prepare
from pipelines.inference.answerer import Prompt, answer_prompts
from pipelines.rationales.grounding.caption_facts import FactScore, score_caption
from pipelines.rationales.grounding.verify import GROUNDING_VERSION
from pipelines.runtime.digest import digest
from pipelines.runtime.progress import say
from pipelines.scores import bootstrap
from pipelines.scores.blocks import IntervalBlock
from pipelines.scores.captions import caption_metrics
from pipelines.scores.metrics import Scoreboard, round_interval

CAPTION_TOKENS = 40
"""Longest caption, tokens."""
QUOTED = 12
"""Captions that captions.json quotes."""


class FactsBlock(TypedDict):
    """Captions against the motion. stated: checkable statements per clip; silent: share of the captions without any."""

    precision: IntervalBlock
    recall: IntervalBlock
    stated: float
    silent: float


def run_captions(request: EvaluationRequest, bert_model: str, bert_layer: int) -> dict[str, Any]:
    """Captions of the test clips; those that have captions are compared with them, all are held against the motion.

    Raises:
        UserError: see `prepare`.
    """
    setting = prepare(request)
    to_write = [
        Prompt(id=f"caption|{key}", clip=key, prompt=prompts.caption_prompt(), tokens=CAPTION_TOKENS)
        for key in setting.clips
    ]
    key = digest("captions", setting.model_key, setting.store.digest, setting.clips, prompts.PROMPTS_VERSION,
                 CAPTION_TOKENS, setting.cfg.evaluate.batch, GROUNDING_VERSION, bert_model, bert_layer)  # fmt: skip

    def work(rows: str) -> dict[str, Any]:
        answers = answer_prompts(setting.export, request.shards, to_write, rows, setting.cfg, "captions")
        captions = {prompt.clip: str(answers[prompt.id]["generated"]) for prompt in to_write}
        return score_captions(setting.store, captions, setting.scoreboard, bert_model, bert_layer)

    report = setting.finish("captions", "captions.json", key, work)
    metrics = ", ".join(f"{name} {v['value']}" for name, v in report["metrics"].items() if v.get("value") is not None)
    facts = report["facts"]["precision"]["value"], report["facts"]["recall"]["value"]
    say(f"[captions] {metrics or 'no references'}; facts: precision {facts[0]}, recall {facts[1]}")
    return report


def score_captions(
    store: ClipStore, captions: dict[str, str], scoreboard: Scoreboard, bert_model: str = "", bert_layer: int = 0
) -> dict[str, Any]:
    """Captions by clip -> {"clips", "with_references", "metrics", "facts", "reference_facts", "examples"}."""
    clips = {key: store.clip(key) for key in sorted(captions)}
    with_references = [key for key, seq in clips.items() if seq.captions]
    metrics: dict[str, Any] = {}
    if with_references:
        texts = [captions[k] for k in with_references]
        references = [clips[k].captions for k in with_references]
        intervals = scoreboard.seed, scoreboard.resamples
        metrics = caption_metrics(texts, references, *intervals, bert_model, bert_layer)
    scores = {key: score_caption(text, clips[key]) for key, text in captions.items()}
    # What people wrote about the same clips: nobody states every fact, so the model's recall is held against theirs.
    ceiling = [score_caption(text, clips[key]) for key in with_references for text in clips[key].captions[:1]]
    examples = [
        {"clip": key, "said": captions[key], "references": list(clips[key].captions), **vars(scores[key])}
        # Clips with references first, then by hash: no choice by how good they look.
        for key in sorted(captions, key=lambda k: (k not in set(with_references), digest(k)))[:QUOTED]
    ]
    return {
        "clips": len(captions),
        "with_references": len(with_references),
        "metrics": metrics,
        "facts": score_facts([scores[key] for key in sorted(scores)], scoreboard),
        "reference_facts": score_facts(ceiling, scoreboard) if ceiling else None,
        "examples": examples,
    }


def score_facts(scores: list[FactScore], scoreboard: Scoreboard) -> FactsBlock:
    """Precision and recall over all statements and facts, with intervals over clips."""
    counts = np.array([[s.right, s.stated, s.named, s.facts] for s in scores], np.float64)

    def ratio(above: int, below: int) -> IntervalBlock:
        def share(weights: bootstrap.Floats) -> bootstrap.Floats:
            # Ratio of sums, not mean of ratios: a caption that states much weighs more.
            total = weights @ counts[:, below]
            return np.where(total > 0, (weights @ counts[:, above]) / np.where(total > 0, total, 1.0), np.nan)

        if not counts[:, below].any():
            # Nothing to divide by in any clip: the bootstrap would only warn of it.
            return round_interval(bootstrap.Interval(np.nan, np.nan, np.nan, len(scores)))
        return scoreboard.statistic(share, len(scores))

    return {
        "precision": ratio(0, 1),
        "recall": ratio(2, 3),
        "stated": round(float(counts[:, 1].mean()), 4),
        "silent": round(float((counts[:, 1] == 0).mean()), 4),
    }
