"""Trained model + validation clips -> multiple-choice accuracy by candidate likelihood, shared out over the ranks.

A quick look while training; the measured accuracy, with intervals, is `evaluate`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import torch

from models import prompts
from models.config import RendererConfig
from models.skeleton_llm import SkeletonLLM
from pipelines.data.renderer_input import clip_input, on_device
from pipelines.trainer.context import TrainContext
from skeleton_io.record.sequence import SkeletonSequence


def sample_keys(keys: Mapping[str, Sequence[str]], most: int) -> list[str]:
    """At most `most` keys over all sets, chosen by hash."""
    ranked = sorted((key for own in keys.values() for key in own), key=lambda k: hashlib.sha256(k.encode()).hexdigest())
    return ranked[:most]


def measure_accuracy(
    model: SkeletonLLM,
    keys: Sequence[str],
    clip: Callable[[str], SkeletonSequence],
    labels: Mapping[str, Sequence[str]],
    cfg: RendererConfig,
    ctx: TrainContext,
    batch: int,
    bf16: bool,
) -> float | None:
    """Share of clips whose true label is the likeliest per token; None without clips. Every rank calls it.

    All ranks make the same number of forward passes of the same size, as ZeRO-3 needs: the last ones repeat a clip.

    Args:
        model: on the context's device.
        keys: clips to score.
        clip: key -> clip.
        labels: set -> candidates.
        cfg: how clips are drawn.
        ctx: ranks.
        batch: clips per pass.
        bf16: whether the LLM runs under autocast.
    """
    if not keys:
        return None
    batch = min(batch, -(-len(keys) // ctx.world_size))
    passes = -(-len(keys) // (batch * ctx.world_size))
    right = 0
    for number in range(passes):
        first = (number * ctx.world_size + ctx.rank) * batch
        places = range(first, first + batch)
        clips = [clip(keys[min(place, len(keys) - 1)]) for place in places]
        guesses = predict_labels(model, clips, labels, cfg, ctx.device, bf16)
        right += sum(p < len(keys) and guess == c.label for p, guess, c in zip(places, guesses, clips, strict=True))
    return ctx.sum([float(right)])[0] / len(keys)


def predict_labels(
    model: SkeletonLLM,
    clips: Sequence[SkeletonSequence],
    labels: Mapping[str, Sequence[str]],
    cfg: RendererConfig,
    device: torch.device,
    bf16: bool,
) -> list[str]:
    """The likeliest label of each clip among those of its set, by log-probability per token."""
    candidates = [list(labels[c.dataset]) for c in clips]
    questions = [prompts.mqa_prompt(names) for names in candidates]
    inputs = [on_device(clip_input(c, cfg, None, None), device) for c in clips]
    with torch.no_grad():
        frames = model.renderer(inputs)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            scores = model.mllm.score_candidates(frames, questions, candidates)
    best = [int((s.log_prob / s.tokens).argmax()) for s in scores]
    return [names[b] for names, b in zip(candidates, best, strict=True)]
