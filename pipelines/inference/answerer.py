"""Prompts about clips + exported model -> rows with the written answer and the likelihood of each choice.

Writes no questions and judges no answer: `question_scores` and `captions` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.config.tree import FullConfig
from pipelines.inference.row_pool import Pool, RowActor

if TYPE_CHECKING:
    from torch import Tensor

    from models.mllm.base import CandidateScores


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

    @property
    def key(self) -> str:
        """Key of the row."""
        return self.id


class AnswerActor(RowActor):
    """Answers batches of prompts; `label` and `prior` of the rows are empty."""

    def decode(self, item: dict[str, Any]) -> Prompt:
        """Plain values -> a prompt."""
        return Prompt(**{**item, "choices": tuple(item["choices"])})

    def rows(self, items: Sequence[Prompt]) -> list[dict[str, Any]]:
        """One row of `ROWS` for each prompt."""
        import torch

        keys = list(dict.fromkeys(prompt.clip for prompt in items))
        with torch.no_grad():
            frames = self.draw(keys)[[keys.index(prompt.clip) for prompt in items]]
            with self.model.reading():
                written, scores = self._write(frames, items), self._score(frames, items)
        return [_row(prompt, scores.get(prompt.id), written.get(prompt.id)) for prompt in items]

    def _write(self, frames: Tensor, items: Sequence[Prompt]) -> dict[str, str]:
        """Id -> written answer of the prompts that want one; those of one length together."""
        written: dict[str, str] = {}
        for tokens in sorted({prompt.tokens for prompt in items} - {0}):
            places = [i for i, prompt in enumerate(items) if prompt.tokens == tokens]
            texts = self.model.mllm.generate(frames[places], [items[i].prompt for i in places], tokens)
            written |= {items[i].id: text for i, text in zip(places, texts, strict=True)}
        return written

    def _score(self, frames: Tensor, items: Sequence[Prompt]) -> dict[str, CandidateScores]:
        """Id -> scores of the choices of the prompts that have some."""
        places = [i for i, prompt in enumerate(items) if prompt.choices]
        if not places:
            return {}
        prompts, choices = [items[i].prompt for i in places], [items[i].choices for i in places]
        scores = self.model.mllm.score_candidates(frames[places], prompts, choices)
        return {items[i].id: score for i, score in zip(places, scores, strict=True)}


def _row(prompt: Prompt, score: CandidateScores | None, written: str | None) -> dict[str, Any]:
    log_prob = score.log_prob.float().cpu().numpy() if score is not None else np.empty(0, np.float32)
    tokens = score.tokens.cpu().numpy() if score is not None else np.empty(0, np.int32)
    return {
        "key": prompt.id,
        "set": prompt.clip.split("/", 1)[0],
        "label": "",
        "prediction": prompt.choices[int((log_prob / tokens).argmax())] if len(log_prob) else "",
        "log_prob": log_prob,
        "tokens": tokens,
        "prior": [],
        "generated": written,
    }


def batches_of(prompts: Sequence[Prompt], size: int) -> list[list[Prompt]]:
    """Batches in the order of clip and id, which depend on the prompts alone."""
    ordered = sorted(prompts, key=lambda prompt: (prompt.clip, prompt.id))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def answer_prompts(
    model_uri: str, shards_uri: str, prompts: Sequence[Prompt], out: str, cfg: FullConfig, name: str
) -> dict[str, dict[str, Any]]:
    """Answers of all prompts, by id; Ray must be connected where rows are missing.

    Args:
        model_uri: export folder.
        shards_uri: shard set.
        prompts: different ids.
        out: folder for the rows; what is found there is not asked again, so it must belong to this model.
        cfg: `evaluate.batch`, `evaluate.actors` and the resources per worker of `train`.
        name: stage shown in progress lines.

    Raises:
        StageFailed: rows are missing at the end, or a score is not a finite number.
    """
    arguments = (model_uri, shards_uri)
    pool = Pool(name=name, noun="answers", actor=AnswerActor, arguments=arguments, out=out, cfg=cfg)
    return pool.fill(batches_of(prompts, cfg.evaluate.batch))
