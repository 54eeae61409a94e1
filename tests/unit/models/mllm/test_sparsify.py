"""Foreground sparsification: equal to the plain path where all is kept, to a masked plain path where not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.config import MLLMConfig, SparsifyConfig, TinyMLLMConfig
from models.mllm import decode
from models.mllm.hf import HFMultimodal
from models.mllm.positions import mrope_positions
from models.mllm.sparsify import foreground, prune_text
from models.mllm.tiny import write_tiny_checkpoint
from models.prompts import mqa_prompt, prompt_corpus

FAMILIES = ("internvl", "qwen2_5_vl", "qwen3_vl")
LABELS = ("wave", "sit down", "jump up and down")
ANSWERS = ["wave", "jump up and down", "sit down"]
SIZE, UNIT, FRAMES = 80, 16, 2  # 5 x 5 blocks; Qwen2.5-VL's windows of 2 x 2 do not divide them
SMALL = TinyMLLMConfig(vision_width=32, vision_layers=3, llm_width=32, llm_layers=2, heads=2, patch=8, vocab=384)
ALL, REAL = SparsifyConfig(enabled=True, threshold=-1.0), SparsifyConfig(enabled=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {f: tmp_path_factory.mktemp(f"sparse_{f}") for f in FAMILIES}
    for family, folder in made.items():
        write_tiny_checkpoint(folder, family, SMALL, prompt_corpus(LABELS), SIZE, seed=5)
    return made


@pytest.fixture(params=FAMILIES)
def load(folders: dict[str, Path], request: pytest.FixtureRequest) -> Callable[..., HFMultimodal]:
    def make(sparse: SparsifyConfig, **changes: object) -> HFMultimodal:
        cfg = replace(MLLMConfig(sparsify=sparse), **changes)
        model = HFMultimodal.from_checkpoint(folders[request.param], cfg).eval()
        with torch.no_grad():
            model.model.lm_head.weight.mul_(20)
            for name, parameter in model.named_parameters():
                if "position_embeddings" in name or "pos_embed" in name:
                    parameter.mul_(20)  # so that a wrong position shows
        return model

    return make


@pytest.fixture
def frames() -> Tensor:
    """Three clips on black, with different numbers of blocks; the last frame of the last clip is empty."""
    generator = torch.Generator().manual_seed(2)
    out = torch.zeros(3, FRAMES, 3, SIZE, SIZE)
    for b in range(3):
        for f in range(FRAMES):
            for _ in range(b + 2):
                y, x = (int(torch.randint(0, SIZE - 12, (), generator=generator)) for _ in range(2))
                out[b, f, :, y : y + 12, x : x + 12] = torch.rand(3, 12, 12, generator=generator)
    out[2, 1] = 0
    return out


@pytest.fixture
def prompts() -> list[str]:
    return [mqa_prompt(LABELS[: k + 1]) for k in range(3)]


def test_every_block_kept_equals_the_plain_path(load, frames, prompts):
    plain, sparse = load(SparsifyConfig()), load(ALL)
    results = []
    for model in (plain, sparse):
        x = frames.clone().requires_grad_()
        out = model(x, model.tokenize(prompts, ANSWERS, FRAMES, SIZE))
        out.loss.backward()
        scores = torch.cat([s.log_prob for s in model.score_candidates(frames, prompts, [list(LABELS)] * 3)])
        results.append((out.token_loss, x.grad, scores, model.generate(frames, prompts, 6)))
    for plain_value, sparse_value in zip(results[0][:3], results[1][:3], strict=True):
        torch.testing.assert_close(sparse_value, plain_value, atol=1e-5, rtol=1e-5)
    assert results[0][3] == results[1][3]


def _hide(model: HFMultimodal, keep: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain encoder on all patches, with attention that cannot see dropped ones: the oracle."""
    from transformers import AttentionInterface
    from transformers.vision_utils import get_vision_window_index

    backbone, blocks = model.model.model, keep.flatten(0, 1)
    visual = backbone.vision_tower if model.family == "internvl" else backbone.visual
    if model.family == "internvl":
        rows = blocks.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)
        allowed = torch.cat([torch.ones(len(rows), 1, dtype=torch.bool), rows], 1)[:, None, None]
    else:
        order = torch.arange(blocks.numel())
        if model.family == "qwen2_5_vl":
            grid = torch.tensor([[1, SIZE // 8, SIZE // 8]] * len(blocks))
            order, _ = get_vision_window_index(grid, 2, visual.window_size, visual.patch_size)
        allowed = blocks.flatten()[order].repeat_interleave(4)
    used = 0

    def attend(module, query, key, value, attention_mask, scaling, **_):
        nonlocal used
        mask = allowed
        if allowed.dim() == 1:
            mask = allowed[used : used + key.shape[2]]
            used = (used + key.shape[2]) % len(allowed)
        weights = (query @ key.transpose(2, 3) * scaling).masked_fill(~mask, -1e30).softmax(-1)
        return (weights @ value).transpose(1, 2), None

    AttentionInterface.register("hidden_blocks", attend)
    monkeypatch.setattr(visual.config, "_attn_implementation", "hidden_blocks")


def test_real_sparsity_equals_a_plain_path_that_cannot_see_dropped_blocks(load, frames, prompts, monkeypatch):
    """Positions in the encoder, window grouping, deepstack, rotary positions and token rows, all at once."""
    sparse, plain = load(REAL), load(SparsifyConfig())
    text = plain.tokenize(prompts, ANSWERS, FRAMES, SIZE)
    out = sparse(frames, text)
    keep, pruned = sparse.choose(frames, text)
    assert 0.05 < keep.float().mean() < 0.6
    _hide(plain, keep, monkeypatch)
    seen = (text.attention_mask != 0).masked_scatter(text.input_ids == plain.encoder.image_id, keep.flatten())
    inputs = plain.see(frames, None)
    if text.mm_token_type_ids is not None:
        inputs |= {"mm_token_type_ids": text.mm_token_type_ids, "position_ids": text.position_ids}
    else:
        inputs["position_ids"] = torch.arange(seen.shape[1]).expand_as(seen)
    states = plain.model.model(input_ids=text.input_ids, attention_mask=seen.long(), use_cache=False, **inputs)
    row, column = (text.labels[:, 1:] != -100).nonzero(as_tuple=True)
    logits = plain.logits(states.last_hidden_state[row, column])
    torch.testing.assert_close(out.logits, logits, atol=1e-4, rtol=1e-4)  # the head is scaled by 20
    assert torch.equal(pruned.next_positions(), text.next_positions())
    with torch.no_grad():
        whole = load(SparsifyConfig())(frames, text)
    assert (whole.logits - out.logits).abs().max() > 1e-2  # black blocks do say something: dropping them is not free


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_flows_through_kept_blocks_only(load, frames, prompts, checkpointing):
    model = load(REAL, gradient_checkpointing=checkpointing).requires_grad_(False).train()
    x = frames.clone().requires_grad_()
    text = model.tokenize(prompts, ANSWERS, FRAMES, SIZE)
    model(x, text).loss.backward()
    keep, _ = model.choose(frames, text)
    pixels = keep.repeat_interleave(UNIT, 2).repeat_interleave(UNIT, 3)[:, :, None].expand_as(x)
    assert (x.grad[pixels] != 0).float().mean() > 0.99
    assert not x.grad[~pixels].any()


def test_checkpointing_leaves_the_gradient(load, frames, prompts):
    gradients = []
    for checkpointing in (False, True):
        model = load(REAL, gradient_checkpointing=checkpointing).train()
        x = frames.clone().requires_grad_()
        model(x, model.tokenize(prompts, ANSWERS, FRAMES, SIZE)).loss.backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, atol=1e-7, rtol=1e-5)


def test_rows_do_not_depend_on_their_batch(load, frames, prompts):
    model = load(REAL)
    whole = model(frames, model.tokenize(prompts, ANSWERS, FRAMES, SIZE))
    for b in range(3):
        alone = model(frames[b : b + 1], model.tokenize([prompts[b]], [ANSWERS[b]], FRAMES, SIZE))
        torch.testing.assert_close(alone.loss, whole.example_loss[b], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_scores_equal_the_forward_pass(load, frames, prompts, attention):
    model = load(REAL, attention=attention)
    scores = model.score_candidates(frames, prompts, [list(LABELS)] * 3)
    for b in range(3):
        for c, label in enumerate(LABELS):
            out = model(frames[b : b + 1], model.tokenize([prompts[b]], [label], FRAMES, SIZE))
            torch.testing.assert_close(scores[b].log_prob[c], -out.token_loss.sum(), atol=1e-4, rtol=1e-5)


def test_greedy_tokens_are_the_forward_passes_most_likely(load, frames, prompts):
    model = load(REAL)
    text = model.tokenize(prompts, None, FRAMES, SIZE)
    generated = decode.greedy(model, frames, text, 5)
    assert any(generated)
    for b, ids in enumerate(generated):
        row = text.input_ids[b][text.attention_mask[b] != 0]
        answer = torch.tensor(ids, dtype=torch.int64)
        full = torch.cat([row, answer])[None]
        labels = torch.cat([torch.full_like(row, -100), answer])[None]
        whole = replace(text, input_ids=full, attention_mask=torch.ones_like(full), labels=labels)
        if text.mm_token_type_ids is not None:
            types = (full == model.encoder.image_id).long()
            places = mrope_positions(types, torch.ones_like(full), SIZE // UNIT, SIZE // UNIT)
            whole = replace(whole, mm_token_type_ids=types, position_ids=places)
        assert model(frames[b : b + 1], whole).logits.argmax(-1).tolist() == ids


def test_foreground_blocks(frames):
    x = torch.zeros(1, 2, 3, 64, 64)
    x[0, 0, 1, 15, 16] = 0.5  # last row of block row 0, first column of block column 1
    x[0, 0, 0, 63, 0] = 1 / 512  # below the threshold
    keep = foreground(x, UNIT, 1 / 255, 0)
    assert keep[0, 0].nonzero().tolist() == [[0, 1]]
    assert keep[0, 1].nonzero().tolist() == [[2, 2]]  # nothing there: the middle block stands for it
    wide = foreground(x, UNIT, 1 / 255, 1)
    assert wide[0, 0].nonzero().tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert foreground(frames, UNIT, -1.0, 0).all()


def test_rows_without_their_image_tokens_are_refused(load, frames, prompts):
    model = load(REAL)
    text = model.tokenize(prompts, None, FRAMES + 1, SIZE)
    with pytest.raises(ValueError, match="visual tokens: expected 50"):
        prune_text(text, foreground(frames, UNIT, 0, 0), model.encoder.image_id, model.encoder.pad_id)
