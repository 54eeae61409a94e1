"""families: one file and one line add a family; shown with Qwen2-VL, which this project does not know."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from models.config import MLLMConfig, TinyMLLMConfig
from models.mllm.families.qwen_vl import VIDEO_TOKEN, QwenVL
from models.mllm.families.registry import FAMILIES, family_named
from models.mllm.hf import HFMultimodal
from models.mllm.patchify import VisionGeometry
from models.mllm.positions import VideoTiming
from models.mllm.tiny import write_tiny_checkpoint
from models.prompts import prompt_corpus
from models.trainable import counts
from pipelines.config.loading import decode, load_config
from pipelines.runtime.errors import UserError

SMALL = TinyMLLMConfig(vision_width=32, vision_layers=2, llm_width=32, llm_layers=2, heads=2, patch=8, vocab=384)
IMAGE, FRAMES = 32, 3


class Qwen2VL(QwenVL):
    """The one file."""

    name = "qwen2_vl"
    config_class = "Qwen2VLConfig"
    statistics = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def video_block(self, timing: VideoTiming, geometry: VisionGeometry, frames: int, tokens: int) -> tuple[str, str]:
        return VIDEO_TOKEN, VIDEO_TOKEN * (geometry.video_steps(frames) * tokens)

    def block_in_time(self, timing: VideoTiming, geometry: VisionGeometry, frames: int) -> tuple[int, float]:
        return geometry.video_steps(frames), 1.0

    def tiny_vision(self, cfg: TinyMLLMConfig, image_size: int) -> dict[str, Any]:
        # It calls the encoder's width embed_dim, and what goes on to the language model hidden_size.
        vision = super().tiny_vision(cfg, image_size)
        return vision | {"embed_dim": cfg.vision_width, "hidden_size": cfg.llm_width, "mlp_ratio": 2}


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the family that the one line adds."""
    module = ModuleType("a_family_of_ones_own")
    module.Qwen2VL = Qwen2VL  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(FAMILIES, "qwen2_vl", f"{module.__name__}:Qwen2VL")
    return "qwen2_vl"


@pytest.mark.parametrize("frames_as", ["image", "video"])
def test_a_family_from_outside_is_written_loaded_and_trained(outside, tmp_path, frames_as):
    labels = ("wave", "sit down")
    write_tiny_checkpoint(tmp_path, outside, SMALL, prompt_corpus(labels), IMAGE, seed=0)
    model = HFMultimodal.from_checkpoint(tmp_path, MLLMConfig(frames_as=frames_as))
    assert model.family == "qwen2_vl"
    assert set(counts(model.model)) >= {"vision", "projector", "llm"}
    frames = torch.rand(2, FRAMES, 3, IMAGE, IMAGE, requires_grad=True)
    model(frames, model.tokenize(["Which?"] * 2, list(labels), FRAMES, IMAGE)).loss.backward()
    assert frames.grad is not None
    assert bool((frames.grad.flatten(2).abs().sum(-1) > 0).all()), "every frame gets a gradient"
    scores = model.score_candidates(frames.detach(), ["Which?"] * 2, [labels, labels])
    assert all(bool(torch.isfinite(s.log_prob).all()) for s in scores)


def test_a_configuration_may_name_it(outside):
    assert decode({"mllm": {"family": outside}}, "test").mllm.family == outside


def test_unknown_families_are_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(ValueError, match="internvl, qwen2_5_vl, qwen3_vl, found 'gpt'"):
        family_named("gpt")
    (tmp_path / "typo.yaml").write_text("mllm: {family: interVL}\n")
    with pytest.raises(UserError, match=r"mllm\.family must be one of internvl, qwen2_5_vl, qwen3_vl, found 'interVL'"):
        load_config(str(tmp_path / "typo.yaml"))


def test_every_line_of_the_table_leads_to_the_family_of_that_name():
    assert {name: family_named(name).name for name in FAMILIES} == {name: name for name in FAMILIES}
