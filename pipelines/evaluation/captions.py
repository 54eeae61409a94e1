"""A trained model's captions of the test clips, against references and against the motion.

Checkpoint, shards -> OUT/captions.json, with the rows it came from in a folder beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from models import prompts
from pipelines.data.clip_store import ClipStore
from pipelines.evaluation.any_checkpoint import EvaluationRequest
from pipelines.evaluation.language import setting
from pipelines.inference.answerer import Prompt, answer_prompts
from pipelines.rationales.grounding.caption_facts import FactScore, score_caption
from pipelines.rationales.grounding.verify import GROUNDING_VERSION
from pipelines.runtime.digest import digest
from pipelines.runtime.progress import say
from pipelines.scores import bootstrap
from pipelines.scores.captions import caption_metrics
from pipelines.scores.metrics import Scoreboard, rounded

CAPTION_TOKENS = 40


SHOWN = 12
"""Captions that captions.json quotes."""


def run_captions(asked: EvaluationRequest, bert_model: str, bert_layer: int) -> dict[str, Any]:
    """Captions of the test clips; those that have captions are compared with them, all are held against the motion.

    Raises:
        UserError: see `setting`.
    """
    base = setting(asked)
    askings = [
        Prompt(id=f"caption|{key}", clip=key, prompt=prompts.caption_prompt(), tokens=CAPTION_TOKENS)
        for key in base.clips
    ]
    key = digest("captions", base.model, base.store.digest, base.clips, prompts.PROMPTS_VERSION, CAPTION_TOKENS,
                 base.cfg.evaluate.batch, GROUNDING_VERSION, bert_model, bert_layer)  # fmt: skip

    def work(rows: str) -> dict[str, Any]:
        answers = answer_prompts(base.export, asked.shards, askings, rows, base.cfg, "captions")
        said = {a.clip: str(answers[a.id]["generated"]) for a in askings}
        return tell_captions(base.store, said, base.judge, bert_model, bert_layer)

    found = base.finish("captions", "captions.json", key, work)
    shown = ", ".join(f"{name} {v['value']}" for name, v in found["metrics"].items() if v.get("value") is not None)
    facts = found["facts"]["precision"]["value"], found["facts"]["recall"]["value"]
    say(f"[captions] {shown or 'no references'}; facts: precision {facts[0]}, recall {facts[1]}")
    return found


def tell_captions(
    store: ClipStore, said: dict[str, str], judge: Scoreboard, bert_model: str = "", bert_layer: int = 0
) -> dict[str, Any]:
    """Captions by clip -> {"clips", "with_references", "metrics", "facts", "reference_facts", "examples"}."""
    clips = {key: store.clip(key) for key in sorted(said)}
    with_references = [key for key, seq in clips.items() if seq.captions]
    metrics: dict[str, Any] = {}
    if with_references:
        texts, wanted = [said[k] for k in with_references], [clips[k].captions for k in with_references]
        metrics = caption_metrics(texts, wanted, judge.seed, judge.resamples, bert_model, bert_layer)
    scores = {key: score_caption(text, clips[key]) for key, text in said.items()}
    ceiling = [score_caption(text, clips[key]) for key in with_references for text in clips[key].captions[:1]]
    examples = [
        {"clip": key, "said": said[key], "references": list(clips[key].captions), **vars(scores[key])}
        for key in sorted(said, key=lambda k: (k not in set(with_references), digest(k)))[:SHOWN]
    ]
    return {
        "clips": len(said),
        "with_references": len(with_references),
        "metrics": metrics,
        "facts": facts_of([scores[key] for key in sorted(scores)], judge),
        "reference_facts": facts_of(ceiling, judge) if ceiling else None,
        "examples": examples,
    }


def facts_of(scores: list[FactScore], judge: Scoreboard) -> dict[str, Any]:
    """Precision and recall over all statements and facts, with intervals over clips; "stated" per clip; "silent":
    share of the captions that state nothing that can be checked."""
    counts = np.array([[s.right, s.stated, s.named, s.facts] for s in scores], np.float64)

    def ratio(above: int, below: int) -> dict[str, Any]:
        def share(weights: bootstrap.Floats) -> bootstrap.Floats:
            total = weights @ counts[:, below]
            return np.where(total > 0, (weights @ counts[:, above]) / np.where(total > 0, total, 1.0), np.nan)

        if not counts[:, below].any():
            return rounded(bootstrap.Interval(np.nan, np.nan, np.nan, len(scores)))
        return judge.statistic(share, len(scores))

    return {
        "precision": ratio(0, 1),
        "recall": ratio(2, 3),
        "stated": round(float(counts[:, 1].mean()), 4),
        "silent": round(float((counts[:, 1] == 0).mean()), 4),
    }
