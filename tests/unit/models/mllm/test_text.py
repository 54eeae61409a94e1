"""PromptEncoder and multimodal rotary positions against the library's own."""

from __future__ import annotations

import pytest
import torch

from models.mllm.positions import mrope_positions


def test_positions_equal_the_librarys(tiny_mllm, uneven_prompts):
    text = tiny_mllm.tokenize(uneven_prompts, ["wave", "sit down", "wave"], 3, 32)
    if tiny_mllm.family == "internvl":
        assert text.position_ids is None
        assert text.next_positions().tolist() == text.attention_mask.sum(1).tolist()
        return
    grid = torch.tensor([[1, 4, 4]] * 9)
    theirs, deltas = tiny_mllm.model.model.get_rope_index(
        text.input_ids, text.mm_token_type_ids, image_grid_thw=grid, attention_mask=text.attention_mask
    )
    assert torch.equal(text.position_ids, theirs)
    assert text.next_positions().tolist() == (text.attention_mask.sum(1) + deltas[:, 0]).tolist()


def test_positions_of_a_wide_image():
    """Two images of 1 x 3 tokens in text, by hand: an image advances by its longer side."""
    types = torch.tensor([[0, 1, 1, 1, 0, 1, 1, 1, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 1, 1, 0]])
    time, row, column = mrope_positions(types, mask, 1, 3)[:, 0].tolist()
    assert time == [0, 1, 1, 1, 4, 5, 5, 5, 8, 0]
    assert row == time
    assert column == [0, 1, 2, 3, 4, 5, 6, 7, 8, 0]


def test_one_block_per_frame_with_its_label(tiny_mllm):
    ids = tiny_mllm.encoder.prompt_ids("Which?", 3, 32)
    assert ids.count(tiny_mllm.encoder.image_id) == 3 * tiny_mllm.geometry.tokens(32) == 12
    text = tiny_mllm.encoder.tokenizer.decode(ids)
    starts = [text.index(f"Frame{k}: ") for k in (1, 2, 3)]
    assert starts == sorted(starts)
    assert text.index("Which?") > starts[-1]
    assert text.endswith("<|im_start|>assistant\n")


def test_tokens_equal_tokenising_the_whole_text(tiny_mllm):
    """Head and prompt are tokenised apart for speed; the ids must be those of the joined text."""
    encoder = tiny_mllm.encoder
    ids = encoder.prompt_ids("Which action do the frames show?\nwave", 2, 32)
    assert encoder.ids(encoder.tokenizer.decode(ids)) == ids


def test_missing_chat_template_is_refused(tiny_mllm):
    encoder = tiny_mllm.encoder
    encoder.tokenizer.chat_template = None
    with pytest.raises(ValueError, match="chat template"):
        type(encoder)(encoder.tokenizer, encoder.family, encoder.geometry)


def test_template_that_drops_images_is_refused(tiny_mllm):
    encoder = tiny_mllm.encoder
    encoder.tokenizer.chat_template = "{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}"
    with pytest.raises(ValueError, match="3 images, found 1 and 0"):
        encoder.prompt_ids("Which?", 3, 32)


def test_answers_must_match_prompts(tiny_mllm):
    with pytest.raises(ValueError, match="expected 2"):
        tiny_mllm.tokenize(["a", "b"], ["c"], 1, 32)
