"""A trained model + the training clips of a stage -> what it takes each label for, as batch inference on Ray Data.

Training clips only, and only the labels seen in training as candidates, so nothing of the test gets in. Scores that are
already written are not computed again. Trains nothing and filters nothing: `negatives` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.inference import scorer
from pipelines.scores.metrics import ClipScore
from pipelines.scores.rows import ClipToScore, sample_keys, to_clip_score
from pipelines.training.job import StageJob

Table = dict[str, dict[str, float]]
"""Label -> other label -> mean probability."""


def candidate_chances(score: ClipScore) -> NDArray[np.float64]:
    """(C,) chances that the model gives the candidates of a clip.

    Per token, as the prediction is made, times the mean length, so that they are as sharp as the model's own.
    """
    tokens = np.asarray(score.tokens, float)
    scores = np.asarray(score.log_prob, float) / tokens * tokens.mean()
    chances = np.exp(scores - scores.max())
    return chances / chances.sum()


def make_table(scores: Sequence[ClipScore], candidates: Mapping[str, Sequence[str]]) -> dict[str, Table]:
    """Set -> label -> other label -> mean probability over the label's clips; the label itself is left out."""
    sums: dict[str, dict[str, list[NDArray[np.float64]]]] = {name: {} for name in candidates}
    for score in scores:
        sums[score.set].setdefault(score.label, []).append(candidate_chances(score))
    return {
        name: {
            label: {o: float(c) for o, c in zip(candidates[name], np.mean(rows, axis=0), strict=True) if o != label}
            for label, rows in sorted(by_label.items())
        }
        for name, by_label in sums.items()
    }


def mine_confusions(
    job: StageJob, keys: Mapping[str, Sequence[str]], labels: Mapping[str, str], out: str, local: bool
) -> tuple[dict[str, Table], int]:
    """(what the model that a stage starts from confuses, number of clips scored).

    Args:
        job: the stage; `start` is the model.
        keys: set -> labelled training clips.
        labels: key -> label.
        out: folder for the rows; it must belong to this model and these clips.
        local: in this process, without Ray.
    """
    assert job.start is not None
    selection = select(job.cfg, ClipStore(job.shards))
    most = job.cfg.train.negatives.confusion_clips
    questions = [ClipToScore(key, name, labels[key]) for name in sorted(keys) for key in sample_keys(keys[name], most)]
    candidates = {name: selection.labels[name] for name in keys if selection.labels[name]}
    # Likelihoods only: what a model would write is another question than what it confuses.
    scoring = dataclasses.replace(job.cfg.evaluate, generate=False, answer="direct")
    cfg = dataclasses.replace(job.cfg, evaluate=scoring)
    if local:
        scores = _score_here(job, questions, candidates, cfg)
    else:
        name = f"confusions before {job.stage.name}"
        scores = scorer.score(job.start, job.shards, questions, candidates, out, cfg, name)
    return make_table(scores, candidates), len(scores)


def _score_here(
    job: StageJob, questions: Sequence[ClipToScore], candidates: Mapping[str, tuple[str, ...]], cfg: FullConfig
) -> list[ClipScore]:
    """Scores in this process, sorted by key."""
    assert job.start is not None
    threads = torch.get_num_threads()
    actor = scorer.Scorer(job.start, job.shards, dict(candidates), cfg)
    rows = []
    size = cfg.evaluate.batch
    for part in (questions[start : start + size] for start in range(0, len(questions), size)):
        rows += actor.table(part).to_pylist()
    torch.set_num_threads(threads)  # the actor's constructor takes one
    return sorted((to_clip_score(row) for row in rows), key=lambda score: score.key)
