"""Clips with right answers + exported model -> rows of candidate scores and written answers.

Chooses no clips and computes no metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models import prompts
from pipelines.config.tree import FullConfig
from pipelines.inference.row_pool import Pool, RowActor
from pipelines.scores.metrics import ClipScore
from pipelines.scores.rows import ClipToScore, batches_of, to_clip_score

if TYPE_CHECKING:
    from torch import Tensor

    from models.mllm.base import CandidateScores


class Scorer(RowActor):
    """Scores batches of clips.

    Args:
        model_uri: export folder.
        shards_uri: shard set.
        candidates: set -> labels; the prompt lists them and the prediction is one of them.
        cfg: `evaluate`; how clips are drawn comes from the export's own configuration.
    """

    def __init__(
        self, model_uri: str, shards_uri: str, candidates: dict[str, tuple[str, ...]], cfg: FullConfig
    ) -> None:
        super().__init__(model_uri, shards_uri)
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

            cfg, names = self.model.renderer.cfg, self.candidates[name]
            black = torch.zeros(1, cfg.frames, 3, cfg.image_size, cfg.image_size, device=self.model.device)
            start = [prompts.label_start("")] if self.reasons else None
            scores = self.model.mllm.score_candidates(black, [self.question(names)], [self.answers(names)], start)
            self.priors[name] = scores[0].log_prob.tolist()
        return self.priors[name]

    def decode(self, item: dict[str, Any]) -> ClipToScore:
        """Plain values -> a clip to score."""
        return ClipToScore(**item)

    def rows(self, items: Sequence[ClipToScore]) -> list[dict[str, Any]]:
        """One row of `ROWS` for each clip."""
        import torch

        candidates = [self.candidates[item.set] for item in items]
        with torch.no_grad():
            frames = self.draw([item.key for item in items])
            with self.model.reading():
                scores, written = self.read(frames, candidates)
                priors = [self.prior(item.set) for item in items]
        rows = []
        for i, item in enumerate(items):
            log_prob, tokens = scores[i].log_prob.cpu().numpy(), scores[i].tokens.cpu().numpy()
            rows.append(
                {
                    "key": item.key,
                    "set": item.set,
                    "label": item.label,
                    "prediction": candidates[i][int((log_prob / tokens).argmax())],
                    "log_prob": log_prob,
                    "tokens": tokens,
                    "prior": priors[i],
                    "generated": written[i],
                }
            )
        return rows

    def read(
        self, frames: Tensor, candidates: Sequence[Sequence[str]]
    ) -> tuple[list[CandidateScores], list[str | None]]:
        """Scores and written answers of drawn clips; frames (N, F, 3, H, W).

        With reasoning the model writes its explanation first, and the candidates are scored after it.
        """
        mllm, cfg = self.model.mllm, self.cfg
        questions = [self.question(names) for names in candidates]
        answers = [self.answers(names) for names in candidates]
        if self.reasons:
            reasons = mllm.generate(frames, questions, cfg.max_reason_tokens)
            starts = [prompts.label_start(text) for text in reasons]
            return mllm.score_candidates(frames, questions, answers, starts), list(reasons)
        scores = mllm.score_candidates(frames, questions, answers)
        written: list[str | None] = [None] * len(questions)
        if cfg.generate:
            written = list(mllm.generate(frames, questions, cfg.max_new_tokens))
        return scores, written


def score(
    model_uri: str,
    shards_uri: str,
    questions: Sequence[ClipToScore],
    candidates: Mapping[str, Sequence[str]],
    out: str,
    cfg: FullConfig,
    name: str = "evaluate",
    actor: type[Scorer] = Scorer,
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
    arguments = (model_uri, shards_uri, {name: tuple(labels) for name, labels in candidates.items()}, cfg)
    pool = Pool(name=name, noun="clips", actor=actor, arguments=arguments, out=out, cfg=cfg)
    rows = pool.fill(batches_of(questions, cfg.evaluate.batch))
    return [to_clip_score(rows[key]) for key in sorted(rows)]
