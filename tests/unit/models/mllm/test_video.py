"""Frames as a video: what is refused, half the tokens, gradients, sparsification. Parity stands in tests/parity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.config import MLLMConfig, SparsifyConfig
from models.mllm.hf import HFMultimodal
from models.mllm.positions import VideoTiming, mrope_positions

ANSWERS = ["wave", "sit down", "wave"]
VIDEO = MLLMConfig(frames_as="video")


@pytest.fixture(params=["qwen2_5_vl", "qwen3_vl"])
def folder(tiny_folders, request):
    return tiny_folders[request.param]


def test_internvl_reads_images_only(tiny_folders):
    with pytest.raises(ValueError, match="this family reads a video as single images"):
        HFMultimodal.from_checkpoint(tiny_folders["internvl"], VIDEO)


def test_two_frames_share_their_tokens(folder, tiny_frames, uneven_prompts):
    """Three frames are two steps; a video of one frame held still reads like that frame twice."""
    model = HFMultimodal.from_checkpoint(folder, VIDEO).eval()
    text = model.tokenize(uneven_prompts, ANSWERS, 3, 32)
    assert (text.mm_token_type_ids == 2).sum(1).tolist() == [2 * model.geometry.tokens(32)] * 3
    frames = tiny_frames(3).requires_grad_()
    model(frames, text).loss.backward()
    assert ((frames.grad != 0).flatten(2).float().mean(2) > 0.99).all()
    held = tiny_frames(3)[:, :1]
    one = model(held, model.tokenize(uneven_prompts, ANSWERS, 1, 32))
    two = model(held.expand(-1, 2, -1, -1, -1), model.tokenize(uneven_prompts, ANSWERS, 2, 32))
    if model.family == "qwen2_5_vl":  # Qwen3-VL says the time, which differs
        torch.testing.assert_close(one.loss, two.loss)


def test_all_blocks_kept_equals_the_plain_path_and_black_ones_are_dropped(folder, tiny_frames, uneven_prompts):
    frames = tiny_frames(3)
    frames[:, :, :, :16] = 0  # the upper half of every frame is black
    frames[:, 0, :, :16, :16] = 0.5  # but a corner of the first
    whole = HFMultimodal.from_checkpoint(folder, VIDEO).eval()
    text = whole.tokenize(uneven_prompts, ANSWERS, 3, 32)
    every = SparsifyConfig(enabled=True, threshold=-1.0)
    kept = HFMultimodal.from_checkpoint(folder, replace(VIDEO, sparsify=every)).eval()
    torch.testing.assert_close(kept(frames, text).logits, whole(frames, text).logits, atol=1e-5, rtol=1e-5)
    sparse = HFMultimodal.from_checkpoint(folder, replace(VIDEO, sparsify=SparsifyConfig(enabled=True))).eval()
    keep, pruned = sparse.choose(frames, text)
    half = keep.shape[-1] // 2
    assert keep.shape[:2] == (3, 2)  # steps, not frames
    assert keep[0, 0, :half, :half].all()  # the corner is one frame's, and both keep it
    assert not keep[0, 1, :half].any()
    assert (pruned.mm_token_type_ids == 2).sum(1).tolist() == keep.flatten(1).sum(1).tolist()
    assert torch.isfinite(sparse(frames, text).loss)
    scores = sparse.score_candidates(frames, uneven_prompts, [["wave", "sit down"]] * 3)
    direct = sparse(frames[:1], sparse.tokenize(uneven_prompts[:1], ["wave"], 3, 32))
    torch.testing.assert_close(scores[0].log_prob[0], -direct.token_loss.sum(), atol=1e-4, rtol=1e-5)


def test_time_advances_by_the_interval():
    """A video of 2 steps of 1 x 2 tokens after one word, 3 positions a step, by hand."""
    visual = torch.tensor([[0, 1, 1, 1, 1, 0]])
    time, row, column = mrope_positions(visual, torch.ones_like(visual), 1, 2, steps=2, interval=3.0)[:, 0].tolist()
    assert time == [0, 1, 1, 4, 4, 3]
    assert row == [0, 1, 1, 1, 1, 3]
    assert column == [0, 1, 2, 1, 2, 3]
    assert VideoTiming(2.0).stamps(5, 2) == ["<0.2 seconds>", "<1.2 seconds>", "<2.0 seconds>"]


@pytest.mark.parametrize("package", [None, object()])
def test_missing_flash_attention_is_named(tiny_folders, monkeypatch, package):
    monkeypatch.setattr("models.mllm.hf.find_spec", lambda _: package)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="flash-attn" if package is None else "needs a GPU"):
        HFMultimodal.from_checkpoint(tiny_folders["internvl"], MLLMConfig(attention="flash_attention_2"))


@pytest.mark.parametrize("checkpointed", ["internvl", "qwen2_5_vl", "qwen3_vl"])
def test_checkpointing_leaves_gradients_with_a_frozen_llm(tiny_folders, tiny_frames, uneven_prompts, checkpointed):
    """The vision encoder learns, the language model does not: pixels and weights get the same gradients."""
    found = []
    for on in (False, True):
        cfg = MLLMConfig(gradient_checkpointing=on)
        model = HFMultimodal.from_checkpoint(tiny_folders[checkpointed], cfg).train()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("visual" in name or "vision_tower" in name)
        frames = tiny_frames(3).requires_grad_()
        model(frames, model.tokenize(uneven_prompts, ANSWERS, 3, 32)).loss.backward()
        found.append({"pixels": frames.grad} | {n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 10
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-7, rtol=1e-5)
