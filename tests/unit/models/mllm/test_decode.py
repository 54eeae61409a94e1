"""Cached decoding and scoring against the plain full forward pass."""

from __future__ import annotations

import pytest
import torch

from models.config import LoraConfig, MLLMConfig
from models.mllm.hf import HFMultimodal

CANDIDATES = [["wave", "sit down", "jump up and down"], ["sit down"], ["wave", "wave", "wave and jump", ""]]


def test_scores_equal_the_naive_forward(tiny_mllm, tiny_frames, uneven_prompts):
    frames = tiny_frames(3)
    scores = tiny_mllm.score_candidates(frames, uneven_prompts, CANDIDATES)
    spread = torch.cat([s.log_prob for s in scores])
    assert spread.max() - spread.min() > 1  # candidates differ, so equality below means something
    for b, clip in enumerate(CANDIDATES):
        for c, candidate in enumerate(clip):
            text = tiny_mllm.tokenize([uneven_prompts[b]], [candidate], 3, 32)
            naive = tiny_mllm(frames[b : b + 1], text)
            assert scores[b].tokens[c] == naive.token_counts[0]
            total = -naive.token_loss.sum()
            torch.testing.assert_close(scores[b].log_prob[c], total, atol=1e-5, rtol=1e-5)


def test_scores_of_a_begun_answer_are_those_of_its_last_tokens(tiny_mllm, tiny_frames, uneven_prompts):
    frames, begun = tiny_frames(3), ["The arm rises.\nLabel:", "Label:", "Both knees bend.\nLabel:"]
    candidates = [[f" {c}" for c in clip] for clip in CANDIDATES]
    scores = tiny_mllm.score_candidates(frames, uneven_prompts, candidates, begun)
    assert torch.cat([s.log_prob for s in scores]).std() > 0.1
    for b, clip in enumerate(candidates):
        for c, candidate in enumerate(clip):
            text = tiny_mllm.tokenize([uneven_prompts[b]], [begun[b] + candidate], 3, 32)
            last = tiny_mllm(frames[b : b + 1], text).token_loss[-int(scores[b].tokens[c]) :]
            torch.testing.assert_close(scores[b].log_prob[c], -last.sum(), atol=1e-5, rtol=1e-5)


def test_candidates_share_no_more_than_the_begun_text(tiny_mllm):
    shared, rest = tiny_mllm.encoder.continuations("Label:", [" wave", " wave and jump"])
    assert shared == tiny_mllm.encoder.ids("Label:")
    whole = [tiny_mllm.encoder.answer_ids(f"Label: {name}") for name in ("wave", "wave and jump")]
    assert [shared + ids for ids in rest] == whole


def test_eager_attention_scores_the_same(tiny_folders, family, tiny_frames, uneven_prompts):
    frames = tiny_frames(3)
    scores = [
        HFMultimodal.from_checkpoint(tiny_folders[family], MLLMConfig(attention=attention)).score_candidates(
            frames, uneven_prompts, CANDIDATES
        )
        for attention in ("sdpa", "eager")
    ]
    for a, b in zip(*scores, strict=True):
        torch.testing.assert_close(a.log_prob, b.log_prob, atol=1e-4, rtol=0)


def test_scoring_ignores_dropout_and_restores_modes(tiny_mllm, tiny_frames, uneven_prompts):
    tiny_mllm.add_lora(LoraConfig(rank=4, alpha=8, dropout=0.5))
    for name, parameter in tiny_mllm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    tiny_mllm.train()
    tiny_mllm.model.lm_head.eval()
    first, second = (tiny_mllm.score_candidates(tiny_frames(3), uneven_prompts, CANDIDATES) for _ in range(2))
    assert all(torch.equal(a.log_prob, b.log_prob) for a, b in zip(first, second, strict=True))
    assert tiny_mllm.training
    assert not tiny_mllm.model.lm_head.training


def _stepwise(model: HFMultimodal, frames: torch.Tensor, prompt: str, steps: int) -> list[int]:
    """Argmax of a full forward pass over the whole row at every step, no cache."""
    from dataclasses import replace

    from models.mllm.positions import mrope_positions

    text = model.tokenize([prompt], None, frames.shape[1], frames.shape[-1])
    tokens: list[int] = []
    for _ in range(steps):
        states = model.read(frames, text, use_cache=False).last_hidden_state
        token = int(model.logits(states[:, -1]).argmax())
        if token == model.encoder.eos_id:
            break
        tokens.append(token)
        ids = torch.cat([text.input_ids, torch.tensor([[token]])], 1)
        mask = torch.ones_like(ids)
        text = replace(text, input_ids=ids, attention_mask=mask)
        if text.mm_token_type_ids is not None:
            types = torch.nn.functional.pad(text.mm_token_type_ids, (0, 1))
            text = replace(text, mm_token_type_ids=types, position_ids=mrope_positions(types, mask, 2, 2))
    return tokens


def test_generation_equals_stepwise_argmax(tiny_mllm, tiny_frames, uneven_prompts):
    frames = tiny_frames(3)
    expected = [_stepwise(tiny_mllm, frames[b : b + 1], uneven_prompts[b], 6) for b in range(3)]
    assert len({tuple(e) for e in expected}) > 1
    decode = tiny_mllm.encoder.tokenizer.decode
    texts = [decode(e, skip_special_tokens=True).strip() for e in expected]
    assert tiny_mllm.generate(frames, uneven_prompts, 6) == texts


def test_generation_stops_at_the_end_of_turn(tiny_mllm, tiny_frames, uneven_prompts):
    """With a head that always says end-of-turn nothing is generated, whatever the budget."""
    head = torch.nn.Linear(32, tiny_mllm.model.lm_head.out_features)
    torch.nn.init.zeros_(head.weight)
    head.bias.data.zero_()
    head.bias.data[tiny_mllm.encoder.eos_id] = 1
    tiny_mllm.model.lm_head = head
    assert tiny_mllm.generate(tiny_frames(3), uneven_prompts, 6) == ["", "", ""]


def test_a_clip_without_candidates_is_refused(tiny_mllm, tiny_frames, uneven_prompts):
    with pytest.raises(ValueError, match="at least one candidate"):
        tiny_mllm.score_candidates(tiny_frames(2), uneven_prompts[:2], [["wave"], []])
