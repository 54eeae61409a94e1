"""write_tiny_checkpoint: same bytes from the same arguments, sizes as asked, errors by name."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch

from models.config import MLLMConfig, TinyMLLMConfig
from models.mllm.hf import HFMultimodal
from models.mllm.tiny import build_tokenizer, write_tiny_checkpoint
from models.prompts import mqa_prompt, prompt_corpus

SIZES = TinyMLLMConfig(vision_width=32, vision_layers=1, llm_width=32, llm_layers=1, heads=2, patch=8, vocab=330)


def _digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_same_arguments_same_bytes(family, tmp_path):
    for name, seed, corpus in (("a", 0, ["wave", "jump"]), ("b", 0, ["jump", "wave", "wave"]), ("c", 1, ["wave"])):
        write_tiny_checkpoint(tmp_path / name, family, SIZES, corpus, 32, seed)
    a, b, c = (_digest(tmp_path / name) for name in "abc")
    assert a == b
    assert a["model.safetensors"] != c["model.safetensors"]
    assert not any(name.endswith((".bin", ".pt")) for name in a)


def test_default_internvl_has_nine_tokens_a_frame(tmp_path):
    write_tiny_checkpoint(tmp_path, "internvl", TinyMLLMConfig(), prompt_corpus(["wave"]), 96, 0)
    model = HFMultimodal.from_checkpoint(tmp_path, MLLMConfig())
    assert model.geometry.tokens(96) == 9
    assert 1.0e6 < sum(p.numel() for p in model.parameters()) < 2.0e6


def test_labels_of_the_corpus_take_one_token_a_word():
    labels = ["right hand wave", "sit to stand"]
    tokenizer = build_tokenizer("internvl", prompt_corpus(labels), 1024)
    assert all(len(tokenizer(label)["input_ids"]) == 3 for label in labels)
    assert tokenizer.decode(tokenizer("Frame12: 拍手")["input_ids"]) == "Frame12: 拍手"  # any text survives


def test_image_size_must_fit_the_patches(family, tmp_path):
    with pytest.raises(ValueError, match="multiple of 16, found 40"):
        write_tiny_checkpoint(tmp_path, family, SIZES, ["wave"], 40, 0)


def test_vocabulary_must_hold_the_bytes(family, tmp_path):
    with pytest.raises(ValueError, match=r"mllm\.tiny\.vocab"):
        write_tiny_checkpoint(tmp_path, family, dataclasses.replace(SIZES, vocab=100), ["wave"], 32, 0)


def test_it_learns_to_tell_frames_apart(tiny_folders, family, tiny_frames):
    """From random weights, in seconds: the answer comes from the pixels, since the prompt is always the same."""
    model = HFMultimodal.from_checkpoint(tiny_folders[family], MLLMConfig())
    labels = ["wave", "sit down", "jump up and down"]
    prompts, frames = [mqa_prompt(labels)] * 3, tiny_frames(3)
    text = model.tokenize(prompts, labels, 3, 32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(100):
        loss = model(frames, text).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1
    scores = model.score_candidates(frames, prompts, [labels] * 3)
    assert [int((s.log_prob / s.tokens).argmax()) for s in scores] == [0, 1, 2]
    assert model.generate(frames, prompts, 8) == labels
