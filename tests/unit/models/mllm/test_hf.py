"""HFMultimodal: loss on answer tokens only, gradients into the pixels, save and load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.config import MLLMConfig
from models.mllm.base import IGNORE
from models.mllm.hf import HFMultimodal, load_encoder

ANSWERS = ["wave", "jump up and down", "sit down"]


def test_loss_equals_the_librarys_own(tiny_mllm, tiny_frames, uneven_prompts):
    """Against the Hugging Face model called with labels and without our positions."""
    frames = tiny_frames(3)
    text = tiny_mllm.tokenize(uneven_prompts, ANSWERS, 3, 32)
    ours = tiny_mllm(frames, text)
    inputs = tiny_mllm.geometry.pixel_inputs(frames.flatten(0, 1))
    if text.mm_token_type_ids is not None:
        inputs["mm_token_type_ids"] = text.mm_token_type_ids
    theirs = tiny_mllm.model(input_ids=text.input_ids, attention_mask=text.attention_mask, labels=text.labels, **inputs)
    torch.testing.assert_close(ours.loss, theirs.loss, atol=1e-5, rtol=0)


def test_example_loss_and_counts(tiny_mllm, tiny_frames, uneven_prompts):
    frames = tiny_frames(3)
    whole = tiny_mllm(frames, tiny_mllm.tokenize(uneven_prompts, ANSWERS, 3, 32))
    counts = [len(tiny_mllm.encoder.answer_ids(a)) for a in ANSWERS]
    assert whole.token_counts.tolist() == counts
    assert whole.logits.shape[0] == sum(counts)
    for b in range(3):
        alone = tiny_mllm(frames[b : b + 1], tiny_mllm.tokenize([uneven_prompts[b]], [ANSWERS[b]], 3, 32))
        torch.testing.assert_close(alone.loss, whole.example_loss[b], atol=1e-5, rtol=0)
    mean = (whole.example_loss * whole.token_counts).sum() / whole.token_counts.sum()
    torch.testing.assert_close(whole.loss, mean)


def test_only_answers_carry_labels(tiny_mllm, uneven_prompts):
    text = tiny_mllm.tokenize(uneven_prompts, ANSWERS, 3, 32)
    for b, answer in enumerate(ANSWERS):
        kept = text.labels[b] != IGNORE
        expected = tiny_mllm.encoder.answer_ids(answer)
        assert text.labels[b][kept].tolist() == expected == text.input_ids[b][kept].tolist()
        assert expected[-1] == tiny_mllm.encoder.eos_id
        assert text.attention_mask[b][kept].all()


def test_prompt_tokens_do_not_change_the_loss_when_masked(tiny_mllm, tiny_frames, uneven_prompts):
    """Padding is inert: more of it leaves every row's loss."""
    frames = tiny_frames(3)
    text = tiny_mllm.tokenize(uneven_prompts, ANSWERS, 3, 32)
    pad = torch.nn.functional.pad
    longer = replace(
        text,
        input_ids=pad(text.input_ids, (0, 5), value=tiny_mllm.encoder.pad_id),
        attention_mask=pad(text.attention_mask, (0, 5)),
        labels=pad(text.labels, (0, 5), value=IGNORE),
        mm_token_type_ids=None if text.mm_token_type_ids is None else pad(text.mm_token_type_ids, (0, 5)),
        position_ids=None if text.position_ids is None else pad(text.position_ids, (0, 5)),
    )
    a, b = tiny_mllm(frames, text), tiny_mllm(frames, longer)
    torch.testing.assert_close(a.example_loss, b.example_loss, atol=1e-5, rtol=0)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_reaches_every_frame_through_a_frozen_model(
    tiny_folders, family, tiny_frames, uneven_prompts, checkpointing
):
    model = HFMultimodal.from_checkpoint(tiny_folders[family], MLLMConfig(gradient_checkpointing=checkpointing))
    model.requires_grad_(False).train()
    frames = tiny_frames(3).requires_grad_()
    model(frames, model.tokenize(uneven_prompts, ANSWERS, 3, 32)).loss.backward()
    assert torch.isfinite(frames.grad).all()
    assert (frames.grad != 0).float().mean() > 0.99
    assert all(p.grad is None for p in model.parameters())


def test_gradient_equals_finite_difference(tiny_mllm, tiny_frames, uneven_prompts):
    tiny_mllm.model.double()
    frames = tiny_frames(2).double().requires_grad_()
    text = tiny_mllm.tokenize(uneven_prompts[:2], ANSWERS[:2], 3, 32)
    tiny_mllm(frames, text).loss.backward()
    direction = torch.randn(frames.shape, generator=torch.Generator().manual_seed(1))
    slope = (frames.grad * direction).sum().item()
    step = 1e-3  # norms and rotary positions stay in float32 inside the library
    with torch.no_grad():
        ahead = tiny_mllm(frames + step * direction, text).loss
        behind = tiny_mllm(frames - step * direction, text).loss
    assert slope == pytest.approx(((ahead - behind) / (2 * step)).item(), rel=2e-3)


def test_bf16_model_takes_float32_frames(tiny_folders, family, tiny_frames, uneven_prompts):
    full = HFMultimodal.from_checkpoint(tiny_folders[family], MLLMConfig())
    half = HFMultimodal.from_checkpoint(tiny_folders[family], MLLMConfig(precision="bf16"))
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    frames = tiny_frames(3).requires_grad_()
    text = full.tokenize(uneven_prompts, ANSWERS, 3, 32)
    out = half(frames, text)
    out.loss.backward()
    assert out.loss.dtype == frames.grad.dtype == torch.float32
    torch.testing.assert_close(out.loss, full(frames, text).loss, atol=0.05, rtol=0)


def test_save_and_load_round_trip_is_bit_equal(tiny_mllm, tiny_frames, uneven_prompts, tmp_path: Path):
    tiny_mllm.save_pretrained(tmp_path)
    again = HFMultimodal.from_checkpoint(tmp_path, MLLMConfig()).eval()
    before, after = tiny_mllm.model.state_dict(), again.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    text = tiny_mllm.tokenize(uneven_prompts, ANSWERS, 3, 32)
    assert torch.equal(text.input_ids, again.tokenize(uneven_prompts, ANSWERS, 3, 32).input_ids)
    assert torch.equal(tiny_mllm(tiny_frames(3), text).loss, again(tiny_frames(3), text).loss)


def test_wrong_image_size_is_refused(tiny_mllm, tiny_frames, uneven_prompts):
    text = tiny_mllm.tokenize(uneven_prompts, ANSWERS, 3, 32)
    with pytest.raises(ValueError, match="image size"):
        tiny_mllm(tiny_frames(3)[..., :24, :24], text)


def test_other_family_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="internvl"):
        load_encoder(tmp_path, MLLMConfig())


def test_missing_answers_are_refused(tiny_mllm, tiny_frames, uneven_prompts):
    with pytest.raises(ValueError, match="answers"):
        tiny_mllm(tiny_frames(3), tiny_mllm.tokenize(uneven_prompts, None, 3, 32))
