"""Inference on a key-value cache: greedy decoding and candidate scoring for whatever reads.

Rows stay right padded: attention masks and explicit positions skip the padding between a prompt and what follows it,
so no left padding and no grouping by length is needed. Does not tokenise and does not normalise scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.mllm.base import CandidateScores, TextBatch
from models.mllm.text import PromptEncoder


class CausalReader(Protocol):
    """What `decode` needs of a model that reads pictures and text on a key-value cache."""

    encoder: PromptEncoder
    model: Any

    def choose(self, frames: Tensor, text: TextBatch) -> tuple[Tensor | None, TextBatch]:
        """Which blocks of the frames are read, and the token rows that go with them: both arguments of `read`."""
        ...

    def read(self, frames: Tensor, text: TextBatch, use_cache: bool, keep: Tensor | None = None) -> Any:
        """Backbone on images and text; `last_hidden_state` (B, L, D) and `past_key_values`."""
        ...

    def read_on(self, text: TextBatch, cache: Any) -> Any:
        """Backbone on text that continues a cached prefix."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., D) -> (..., V)."""
        ...


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch dropout off for the block; every submodule gets its own mode back."""
    was = {m: m.training for m in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for m, training in was.items():
            m.training = training


def _continuation(mllm: CausalReader, ids: Tensor, mask: Tensor, positions: Tensor) -> TextBatch:
    """Text-only rows (B, n) that continue a cached prefix; positions (B, n) int64."""
    return TextBatch(ids, mask, position_ids=mllm.encoder.rules.continued_positions(positions))


def greedy(mllm: CausalReader, frames: Tensor, text: TextBatch, max_new_tokens: int) -> list[list[int]]:
    """Token ids of the most likely continuation, step by step, without the end-of-turn token."""
    keep, text = mllm.choose(frames, text)
    out = mllm.read(frames, text, use_cache=True, keep=keep)
    cache, mask, position = out.past_key_values, text.attention_mask, text.next_positions()
    last = mask.sum(1) - 1
    token = mllm.logits(out.last_hidden_state[torch.arange(len(last), device=last.device), last]).argmax(-1)
    done = torch.zeros_like(token, dtype=torch.bool)
    steps: list[Tensor] = []
    for _ in range(max_new_tokens):
        done |= token == mllm.encoder.eos_id
        if done.all():
            break
        steps.append(token.masked_fill(done, mllm.encoder.eos_id))
        if len(steps) == max_new_tokens:
            break
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        step = _continuation(mllm, steps[-1][:, None], mask, position[:, None])
        out = mllm.read_on(step, cache)
        position = position + 1
        token = mllm.logits(out.last_hidden_state[:, -1]).argmax(-1)
    rows = torch.stack(steps, 1).tolist() if steps else [[] for _ in range(len(token))]
    eos = mllm.encoder.eos_id
    return [row[: row.index(eos)] if eos in row else row for row in rows]


def _pack(candidates: Sequence[Sequence[Sequence[int]]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Candidates of each clip end to end in one row: ids, candidate index and place within it, all (B, n).

    The last token of a candidate predicts nothing, so it is left out; padding has candidate index -1.
    """
    rows = [[(t, c, k) for c, ids in enumerate(clip) for k, t in enumerate(ids[:-1])] for clip in candidates]
    width = max(map(len, rows))
    table = torch.tensor([row + [(pad, -1, 0)] * (width - len(row)) for row in rows], dtype=torch.int64)
    table = table.reshape(len(rows), width, 3)
    return table[..., 0], table[..., 1], table[..., 2]


def _tree_mask(prefix_mask: Tensor, owner: Tensor, place: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, 1, n, L + n) additive mask: a token sees the prefix and the earlier tokens of its own candidate."""
    same = (owner[:, :, None] == owner[:, None, :]) & (place[:, :, None] >= place[:, None, :])
    before = prefix_mask.bool()[:, None, :].expand(-1, owner.shape[1], -1)
    allowed = torch.cat([before, same], -1)[:, None]
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)


@contextmanager
def _masked_attention(mllm: CausalReader) -> Iterator[None]:
    """FlashAttention takes no mask of one's own: fall back to PyTorch's attention for the block."""
    model = mllm.model
    used = model.config._attn_implementation
    if used in ("sdpa", "eager"):
        yield
        return
    model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.set_attn_implementation(used)


def score(
    mllm: CausalReader, frames: Tensor, text: TextBatch, candidates: Sequence[Sequence[Sequence[int]]]
) -> list[CandidateScores]:
    """Summed log-probability of each candidate, given as ids that end in the end-of-turn token.

    The prefix (images and prompt) is encoded once per clip. All candidates of a clip then follow it in ONE row, each
    blind to the others (tree attention, arXiv 2305.09781), so the cache is neither copied nor expanded.
    """
    if len(candidates) != len(text.input_ids) or not all(len(clip) for clip in candidates):
        raise ValueError("score_candidates: expected at least one candidate for each clip")
    device = text.input_ids.device
    ids, owner, place = (t.to(device) for t in _pack(candidates, mllm.encoder.pad_id))
    keep, text = mllm.choose(frames, text)
    with _masked_attention(mllm):
        out = mllm.read(frames, text, use_cache=True, keep=keep)
        clip = torch.arange(len(ids), device=device)
        first = out.last_hidden_state[clip, text.attention_mask.sum(1) - 1]  # (B, D) predicts each first token
        states = first[:, None]
        if ids.shape[1]:
            mask = _tree_mask(text.attention_mask, owner, place, first.dtype)
            rest = _continuation(mllm, ids, mask, text.next_positions()[:, None] + place)
            after = mllm.read_on(rest, out.past_key_values)
            states = torch.cat([states, after.last_hidden_state], 1)
    return [_sum_clip(mllm, states[b], clip_ids) for b, clip_ids in enumerate(candidates)]


def _sum_clip(mllm: CausalReader, states: Tensor, candidates: Sequence[Sequence[int]]) -> CandidateScores:
    """Sum the token log-probabilities of one clip; states (1 + n, D) as laid out by `score`."""
    source: list[int] = []  # which state predicts each token
    target: list[int] = []
    owner: list[int] = []
    used = 1
    for c, ids in enumerate(candidates):
        source += [0, *range(used, used + len(ids) - 1)]
        used += len(ids) - 1
        target += ids
        owner += [c] * len(ids)
    log_probs = mllm.logits(states[:used]).float().log_softmax(-1)
    picked = log_probs[torch.tensor(source, device=states.device), torch.tensor(target, device=states.device)]
    total = picked.new_zeros(len(candidates)).index_put(
        (torch.tensor(owner, device=states.device),), picked, accumulate=True
    )
    return CandidateScores(total, torch.tensor([len(ids) for ids in candidates], device=states.device))
