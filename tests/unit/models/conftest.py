"""One tiny checkpoint of each family per test session, and what the tests feed it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.config import MLLMConfig, TinyMLLMConfig
from models.mllm.hf import HFMultimodal
from models.mllm.tiny import write_tiny_checkpoint
from models.prompts import mqa_prompt, prompt_corpus

SMALL = TinyMLLMConfig(vision_width=32, vision_layers=2, llm_width=32, llm_layers=2, heads=2, patch=8, vocab=384)
LABELS = ("wave", "sit down", "jump up and down")
FAMILIES = ("internvl", "qwen2_5_vl", "qwen3_vl")
IMAGE = 32
FRAMES = 3


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> folder of a tiny checkpoint (read only)."""
    folders = {f: tmp_path_factory.mktemp(f) for f in FAMILIES}
    for family, folder in folders.items():
        write_tiny_checkpoint(folder, family, SMALL, prompt_corpus(LABELS), IMAGE, seed=3)
    return folders


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each supported family in turn."""
    return request.param


@pytest.fixture
def tiny_mllm(tiny_folders: dict[str, Path], family: str) -> HFMultimodal:
    """A fresh model of the family. Logits are spread out, so that a wrong token shows in every comparison."""
    model = HFMultimodal.from_checkpoint(tiny_folders[family], MLLMConfig())
    with torch.no_grad():
        model.model.lm_head.weight.mul_(20)
    return model.eval()


@pytest.fixture
def tiny_frames() -> Callable[[int], torch.Tensor]:
    """batch -> frames (batch, FRAMES, 3, IMAGE, IMAGE) in [0, 1], the same at every call."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(4, FRAMES, 3, IMAGE, IMAGE, generator=generator)
    return lambda batch: frames[:batch].clone()


@pytest.fixture
def uneven_prompts() -> list[str]:
    """Three prompts of different lengths, so that padding is always at work."""
    return [mqa_prompt(LABELS[: k + 1]) for k in range(3)]
