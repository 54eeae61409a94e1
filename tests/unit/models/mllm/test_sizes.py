"""InternVL3-8B, Qwen2.5-VL-7B, Qwen3-VL-8B without weights: sizes, what a stage trains, adapters, prompt layout."""

from __future__ import annotations

from typing import Any

import pytest

from models.config import LoraConfig, TinyMLLMConfig
from models.mllm.positions import VideoTiming
from models.mllm.published import NAMES, published_config, published_name
from models.mllm.sizes import build_on_meta, describe, load_config
from models.mllm.text import PromptEncoder
from models.mllm.tiny import build_tokenizer, write_tiny_checkpoint
from models.prompts import mqa_prompt
from models.trainable import counts, group_of, set_trainable

# Total parameters that the hub states for each checkpoint.
PUBLISHED = {
    "InternVL3-2B": 2_088_957_440,
    "InternVL3-8B": 7_944_373_760,
    "Qwen2.5-VL-3B": 3_754_622_976,
    "Qwen2.5-VL-7B": 8_292_166_656,
    "Qwen2.5-VL-32B": 33_452_718_336,
    "Qwen3-VL-2B": 2_127_532_032,
    "Qwen3-VL-8B": 8_767_123_696,
    "Qwen3-VL-32B": 33_357_390_064,
}
EIGHTS = ("InternVL3-8B", "Qwen2.5-VL-7B", "Qwen3-VL-8B")
# The four stages of the paper; the renderer is counted elsewhere.
STAGES = {"1": ("projector",), "2": ("projector",), "3": ("projector", "lora"), "4": ("projector", "lora")}
PROJECTOR = {"InternVL3-8B": 27_540_480, "Qwen2.5-VL-7B": 44_574_464, "Qwen3-VL-8B": 160_496_896}
# rank 32 x (inputs + outputs) of each projection, by hand: (q, k, v, o), then (gate, up, down).
ATTENTION = {
    "InternVL3-8B": 28 * 32 * (7168 + 4096 + 4096 + 7168),
    "Qwen2.5-VL-7B": 28 * 32 * (7168 + 4096 + 4096 + 7168),
    "Qwen3-VL-8B": 36 * 32 * (8192 + 5120 + 5120 + 8192),
}
FEED_FORWARD = {
    "InternVL3-8B": 28 * 32 * 3 * (3584 + 18944),
    "Qwen2.5-VL-7B": 28 * 32 * 3 * (3584 + 18944),
    "Qwen3-VL-8B": 36 * 32 * 3 * (4096 + 12288),
}


@pytest.fixture(scope="module", params=EIGHTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name: str) -> Any:
    return build_on_meta(published_config(name), LoraConfig(rank=32))


@pytest.mark.parametrize("known", NAMES)
def test_totals_are_the_published_ones(known: str):
    assert sum(p.numel() for p in build_on_meta(published_config(known)).parameters()) == PUBLISHED[known]


def test_nothing_is_stored(model: Any):
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_each_stage_trains_its_part(name: str, model: Any):
    for groups in STAGES.values():
        set_trainable(model, groups)
        learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
        assert {group_of(n) for n in learning} == set(groups)
        assert sum(p.numel() for n, p in learning.items() if ".lora_" not in n) == PROJECTOR[name]
        assert sum(p.numel() for n, p in learning.items() if ".lora_" in n) == ATTENTION[name] * ("lora" in groups)
    frozen = sum(c.total - c.trainable for c in counts(model).values())
    assert frozen == PUBLISHED[name] - PROJECTOR[name]


@pytest.mark.parametrize("targets", ["attention", "all"])
def test_adapters_sit_on_every_projection_of_the_language_model(name: str, targets: Any):
    model = build_on_meta(published_config(name), LoraConfig(rank=32, targets=targets))
    size = describe(name, LoraConfig(rank=32, targets=targets))
    found = {n.split(".lora_A")[0] for n, _ in model.named_parameters() if ".lora_A" in n}
    attention, feed_forward = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
    wanted = {f"self_attn.{p}" for p in attention} | ({f"mlp.{p}" for p in feed_forward} if targets == "all" else set())
    layers = range(size.layers)
    assert found == {f"model.language_model.layers.{k}.{p}" for k in layers for p in wanted}
    assert size.parameters["lora"] == ATTENTION[name] + (FEED_FORWARD[name] if targets == "all" else 0)


def test_visual_tokens_of_a_clip(name: str):
    size = describe(name)
    side = {"InternVL3-8B": 448, "Qwen2.5-VL-7B": 448, "Qwen3-VL-8B": 512}[name]
    assert size.tokens_per_image(side) == 256
    assert size.patches_per_image(side) == 1024
    assert size.visual_tokens(12, side) == 3072
    if name == "InternVL3-8B":
        with pytest.raises(ValueError, match="frames_as: this family reads a video as single images"):
            size.visual_tokens(12, side, "video")
        with pytest.raises(ValueError, match="image_size to 448"):
            size.visual_tokens(12, 224)
    else:
        assert size.visual_tokens(12, side, "video") == 1536
        assert size.visual_tokens(11, side, "video") == 1536


def test_prompt_layout_of_twelve_frames(name: str):
    size = describe(name)
    side = 512 if name == "Qwen3-VL-8B" else 448
    tokenizer = build_tokenizer(size.family, ["wave", "sit down"], 384)
    rows = PromptEncoder(tokenizer, size.family, size.geometry)(["Which action?"], ["wave"], 12, side)
    visual = (rows.input_ids[0] == tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")) | (
        rows.input_ids[0] == tokenizer.convert_tokens_to_ids("<|image_pad|>")
    )
    if size.family != "internvl":
        visual = rows.mm_token_type_ids[0] == 1
        assert rows.position_ids.amax() < 3072  # an image of 16 x 16 tokens advances by 16
    assert int(visual.sum()) == 3072
    edges = visual.int().diff()
    assert int((edges == 1).sum()) == 12  # an image each, text between them
    text = tokenizer.decode(rows.input_ids[0])
    assert [text.index(f"Frame{k}: ") for k in range(1, 13)] == sorted(text.index(f"Frame{k}: ") for k in range(1, 13))
    if size.family != "internvl":
        video = PromptEncoder(tokenizer, size.family, size.geometry, VideoTiming(2.0, 2.0))
        rows = video(["Which action?"], ["wave"], 12, side)
        assert int((rows.mm_token_type_ids == 2).sum()) == 1536


def test_names_and_folders(tmp_path):
    assert published_name("OpenGVLab/InternVL3-8B-hf") == "InternVL3-8B"
    assert published_name("Qwen/Qwen3-VL-8B-Instruct") == "Qwen3-VL-8B"
    assert published_name(mqa_prompt(["wave"])) is None
    with pytest.raises(ValueError, match="expected one of InternVL3-2B"):
        describe("gpt-2")
    small = TinyMLLMConfig(vision_width=32, vision_layers=1, llm_width=32, llm_layers=1, heads=2, patch=8, vocab=384)
    write_tiny_checkpoint(tmp_path, "internvl", small, ["wave"], 32, seed=0)
    size = describe(tmp_path)
    assert (size.hidden, size.layers, size.vision_layers, size.tokens_per_image(32)) == (32, 1, 1, 4)
    assert size.geometry.mean == (0.0, 0.0, 0.0)
    assert size.total == sum(p.numel() for p in build_on_meta(load_config(tmp_path)).parameters())
