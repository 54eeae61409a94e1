"""A trained model on the test clips of a shard set, in words: captions against references and facts; questions.

Checkpoint, shards -> OUT/captions.json, OUT/qa.json, each with the rows it came from in a folder beside it. Batch
inference on Ray Data; broken off, it goes on with the answers that have no row yet. Chooses nothing by a score.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from models import prompts, uncertainty
from pipelines import manifest
from pipelines.asking import Asking, ask
from pipelines.caption_facts import FactScore, score_caption
from pipelines.caption_metrics import caption_metrics
from pipelines.config import FullConfig, digest
from pipelines.datasource import ClipStore
from pipelines.errors import UserError
from pipelines.evaluate import held_out, protocols_used
from pipelines.evaluate_checkpoint import Asked, configured
from pipelines.export_leaks import check_export
from pipelines.exports import find_export, identity
from pipelines.grounding import GROUNDING_VERSION
from pipelines.metrics import Judge, told
from pipelines.progress import say
from pipelines.question_scores import Item, from_file, from_motion, tell, verdict
from pipelines.selection import select
from skeleton_io import storage
from skeleton_io.questions import QUESTIONS_VERSION

CAPTION_TOKENS = 40
ANSWER_TOKENS = 12
SHOWN = 12
"""Captions that captions.json quotes."""


@dataclass(frozen=True)
class Setting:
    """What both evaluations start from."""

    asked: Asked
    cfg: FullConfig
    export: str
    model: str
    store: ClipStore
    clips: tuple[str, ...]

    @property
    def judge(self) -> Judge:
        """Intervals only; there are no classes."""
        return Judge({}, self.cfg.evaluate.bootstrap, self.cfg.seed)

    def head(self) -> dict[str, Any]:
        """What a reader needs to know about where the numbers come from."""
        return {
            "model": self.model,
            "checkpoint": self.asked.checkpoint,
            "shards": {"uri": self.asked.shards, "digest": self.store.digest},
            "protocols": protocols_used(self.cfg, self.store),
        }

    def finish(self, name: str, file: str, key: str, work: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """Runs `work` in OUT/NAME unless it is done for this key, and writes OUT/FILE."""
        folder = storage.join(self.asked.out, name)
        found = manifest.run_stage(name, folder, key, lambda: self.head() | work(storage.join(folder, f"rows-{key}")))
        now = {"written": datetime.now(UTC).isoformat(timespec="seconds"), "provenance": manifest.provenance()}
        storage.write_atomic(storage.join(self.asked.out, file), json.dumps({**found, **now}, indent=1))
        return {**found, **now}


def setting(asked: Asked) -> Setting:
    """Model, shards and test clips; Ray must be connected.

    Raises:
        UserError: no model, shards, set or test clips there, or the model has seen what the test asks.
    """
    import ray

    export = find_export(asked.checkpoint)
    store = ClipStore(asked.shards)
    cfg = configured(asked, export, store, 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0)
    check_export(cfg, export, store)
    clips = tuple(question.key for question in held_out(cfg, store, select(cfg, store)))
    if not clips:
        raise UserError("nothing to evaluate: no set has test clips under its protocol")
    return Setting(asked, cfg, export, identity(export), store, clips)


def run_captions(asked: Asked, bert_model: str, bert_layer: int) -> dict[str, Any]:
    """Captions of the test clips; those that have captions are compared with them, all are held against the motion.

    Raises:
        UserError: see `setting`.
    """
    base = setting(asked)
    askings = [
        Asking(id=f"caption|{key}", clip=key, prompt=prompts.caption_prompt(), tokens=CAPTION_TOKENS)
        for key in base.clips
    ]
    key = digest("captions", base.model, base.store.digest, base.clips, prompts.PROMPTS_VERSION, CAPTION_TOKENS,
                 base.cfg.evaluate.batch, GROUNDING_VERSION, bert_model, bert_layer)  # fmt: skip

    def work(rows: str) -> dict[str, Any]:
        answers = ask(base.export, asked.shards, askings, rows, base.cfg, "captions")
        said = {a.clip: str(answers[a.id]["generated"]) for a in askings}
        return tell_captions(base.store, said, base.judge, bert_model, bert_layer)

    found = base.finish("captions", "captions.json", key, work)
    shown = ", ".join(f"{name} {v['value']}" for name, v in found["metrics"].items() if v.get("value") is not None)
    facts = found["facts"]["precision"]["value"], found["facts"]["recall"]["value"]
    say(f"[captions] {shown or 'no references'}; facts: precision {facts[0]}, recall {facts[1]}")
    return found


def tell_captions(
    store: ClipStore, said: dict[str, str], judge: Judge, bert_model: str = "", bert_layer: int = 0
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


def facts_of(scores: list[FactScore], judge: Judge) -> dict[str, Any]:
    """Precision and recall over all statements and facts, with intervals over clips; "stated" per clip; "silent":
    share of the captions that state nothing that can be checked."""
    counts = np.array([[s.right, s.stated, s.named, s.facts] for s in scores], np.float64)

    def ratio(above: int, below: int) -> dict[str, Any]:
        def share(weights: uncertainty.Floats) -> uncertainty.Floats:
            total = weights @ counts[:, below]
            return np.where(total > 0, (weights @ counts[:, above]) / np.where(total > 0, total, 1.0), np.nan)

        if not counts[:, below].any():
            return told(uncertainty.Interval(np.nan, np.nan, np.nan, len(scores)))
        return judge.statistic(share, len(scores))

    return {
        "precision": ratio(0, 1),
        "recall": ratio(2, 3),
        "stated": round(float(counts[:, 1].mean()), 4),
        "silent": round(float((counts[:, 1] == 0).mean()), 4),
    }


def run_questions(asked: Asked, file: str, most: int) -> dict[str, Any]:
    """Answers to questions about the test clips, made from their motion or read from a file.

    Args:
        asked: checkpoint, shards and so on.
        file: external questions; empty: made from the motion.
        most: of each kind; 0: all.

    Raises:
        UserError: see `setting`; no question can be asked, or the file is not one.
    """
    base = setting(asked)
    items = from_file(file, set(base.store.keys)) if file else from_motion(map(base.store.clip, base.clips), most)
    items = list({item.id: item for item in items}.values())
    if not items:
        raise UserError("no question: none of the test clips has a clear motion fact")
    askings = [item.asking(ANSWER_TOKENS) for item in items]
    key = digest("questions", base.model, base.store.digest, sorted(item.id for item in items), QUESTIONS_VERSION,
                 prompts.PROMPTS_VERSION, ANSWER_TOKENS, base.cfg.evaluate.batch, _answers(items))  # fmt: skip

    def work(rows: str) -> dict[str, Any]:
        answers = ask(base.export, asked.shards, askings, rows, base.cfg, "questions")
        summary = tell(base.judge, [verdict(item, answers[item.id]) for item in items])
        return {"source": file or "motion", "questions_version": QUESTIONS_VERSION, **summary}

    found = base.finish("questions", "qa.json", key, work)
    for row in [*found["families"], {"family": "all", **found["overall"]}]:
        told_as = [f"{name} {row[name]['value']:.3f}" for name in ("closed", "free") if row[name]]
        say(f"[questions] {row['family']}: {', '.join(told_as)}, chance {row['chance']}, most frequent answer "
            f"{row['majority']}, {row['n']} questions")  # fmt: skip
    return found


def _answers(items: list[Item]) -> str:
    return digest(*sorted((item.id, item.answer) for item in items))
