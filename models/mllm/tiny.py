"""Write a small randomly initialised checkpoint of a real architecture, where no model hub is reached.

Sizes, a text corpus and a seed -> a folder that `HFMultimodal.from_checkpoint` loads exactly as it would load a
published model: config, weights (safetensors), tokenizer with chat template, image processor. Does not train it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.config import MLLMFamily, TinyMLLMConfig
from models.mllm.text import FRAME_LABEL

_TURN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_QWEN_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_INTERNVL_TOKENS = ("<img>", "</img>", "<IMG_CONTEXT>", "<video>")
_IMAGE_TEXT = {
    "internvl": "<IMG_CONTEXT>\n",
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen3_vl": "<|vision_start|><|image_pad|><|vision_end|>",
}
_MAX_FRAMES = 32
_MERGE = 2  # patches per visual token along a side, in all three families
_MAX_POSITIONS = 8192
_HEAD_GAIN = 4.0
# Frames are drawn on black: a zero mean keeps the empty patches at zero. With ImageNet's mean they carry a constant
# that drowns the figure: its share of the variance at the answer position fell from 12 % to 0.15 % at the start.
_IMAGE_MEAN, _IMAGE_STD = [0.0] * 3, [0.25] * 3


def _chat_template(family: MLLMFamily) -> str:
    """The published templates' layout, without a system turn."""
    return (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}" + _IMAGE_TEXT[family] + "{% elif c['type'] == 'video' %}"
        "<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
        "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def build_tokenizer(family: MLLMFamily, corpus: Iterable[str], vocab: int) -> Any:
    """Byte-level BPE trained on `corpus`, with the family's special tokens; same corpus, same tokenizer.

    Raises:
        ValueError: `vocab` does not hold the 256 bytes and the special tokens.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    internvl = family == "internvl"
    special = [*_TURN, *(_INTERNVL_TOKENS if internvl else _QWEN_TOKENS)]
    # One token for each frame label instead of four: with a few visual tokens per frame, labels would be a third.
    frame_labels = [FRAME_LABEL.format(k) for k in range(1, _MAX_FRAMES + 1)]
    trained = vocab - len(frame_labels)
    if trained < 256 + len(special):
        raise ValueError(f"mllm.tiny.vocab: expected at least {256 + len(special) + len(frame_labels)}, found {vocab}")
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=trained, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False
    )
    core.train_from_iterator(sorted(set(corpus)), trainer)
    core.add_tokens([AddedToken(t, normalized=False) for t in frame_labels])
    if internvl:
        names = ("start_image_token", "end_image_token", "context_image_token", "video_token")
        extra = dict(zip(names, _INTERNVL_TOKENS, strict=True))
    else:
        names = ("vision_start_token", "vision_end_token", "image_token", "video_token")
        extra = dict(zip(names, _QWEN_TOKENS, strict=True))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=extra
    )
    tokenizer.chat_template = _chat_template(family)
    return tokenizer


def _text_config(family: MLLMFamily, cfg: TinyMLLMConfig, tokenizer: Any) -> dict[str, Any]:
    """The language model's part of the config."""
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": cfg.llm_width,
        "intermediate_size": 2 * cfg.llm_width,
        "num_hidden_layers": cfg.llm_layers,
        "num_attention_heads": cfg.heads,
        "num_key_value_heads": max(1, cfg.heads // 2),
        "max_position_embeddings": _MAX_POSITIONS,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if family == "internvl":
        return text | {"model_type": "qwen2"}
    half = cfg.llm_width // cfg.heads // 2
    time = half - 2 * (3 * half // 8)  # the published split: 16 : 24 : 24 of 64
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0}
    rope["mrope_section"] = [time, 3 * half // 8, 3 * half // 8]
    if family == "qwen3_vl":
        rope["mrope_interleaved"] = True
        text["head_dim"] = cfg.llm_width // cfg.heads
    return text | {"rope_parameters": rope}


def _qwen_vision(family: MLLMFamily, cfg: TinyMLLMConfig, image_size: int) -> dict[str, Any]:
    """The vision encoder's part of a Qwen config."""
    vision: dict[str, Any] = {
        "depth": cfg.vision_layers,
        "hidden_size": cfg.vision_width,
        "intermediate_size": 2 * cfg.vision_width,
        "num_heads": cfg.heads,
        "patch_size": cfg.patch,
        "spatial_merge_size": _MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": cfg.llm_width,
    }
    if family == "qwen2_5_vl":
        windowed = {"window_size": 2 * _MERGE * cfg.patch, "fullatt_block_indexes": [cfg.vision_layers - 1]}
        return vision | windowed
    grid = image_size // cfg.patch
    return vision | {"num_position_embeddings": grid * grid, "deepstack_visual_indexes": [cfg.vision_layers // 2]}


def build_config(family: MLLMFamily, cfg: TinyMLLMConfig, image_size: int, tokenizer: Any) -> Any:
    """The family's own config class at tiny size.

    Raises:
        ValueError: image_size is no multiple of 2 * patch.
    """
    from transformers import InternVLConfig, Qwen2_5_VLConfig, Qwen3VLConfig

    if image_size % (_MERGE * cfg.patch):
        raise ValueError(f"renderer.image_size: expected a multiple of {_MERGE * cfg.patch}, found {image_size}")
    ids = tokenizer.convert_tokens_to_ids
    text = _text_config(family, cfg, tokenizer)
    if family == "internvl":
        vision = {
            "hidden_size": cfg.vision_width,
            "num_hidden_layers": cfg.vision_layers,
            "num_attention_heads": cfg.heads,
            "intermediate_size": 2 * cfg.vision_width,
            "image_size": [image_size, image_size],
            "patch_size": [cfg.patch, cfg.patch],
            "layer_scale_init_value": 1.0,  # 0.1 suits 24 layers and long training
        }
        return InternVLConfig(
            text_config=text,
            vision_config=vision,
            image_token_id=ids("<IMG_CONTEXT>"),
            image_seq_length=(image_size // (_MERGE * cfg.patch)) ** 2,
            downsample_ratio=1 / _MERGE,
            tie_word_embeddings=False,
        )
    config = Qwen2_5_VLConfig if family == "qwen2_5_vl" else Qwen3VLConfig
    return config(
        text_config=text,
        vision_config=_qwen_vision(family, cfg, image_size),
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=False,
    )


def build_image_processor(family: MLLMFamily, cfg: TinyMLLMConfig, image_size: int) -> Any:
    """The family's image processor, in the variant that needs no torchvision."""
    if family == "internvl":
        from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

        return GotOcr2ImageProcessorPil(
            size={"height": image_size, "width": image_size},
            crop_to_patches=False,
            image_mean=_IMAGE_MEAN,
            image_std=_IMAGE_STD,
        )
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    unit = (_MERGE * cfg.patch) ** 2
    return Qwen2VLImageProcessorPil(
        patch_size=cfg.patch,
        merge_size=_MERGE,
        temporal_patch_size=2,
        size={"shortest_edge": unit, "longest_edge": unit * 1280},
        image_mean=_IMAGE_MEAN,
        image_std=_IMAGE_STD,
    )


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Initial weights that learn within minutes; overwrites what transformers drew.

    Matrices get a standard deviation of 1 / sqrt(fan in), since 0.02 is far too little at a width of 128. InternVL's
    position embeddings start at 0.02 instead of the library's zero, small against what the patches say. The head
    starts near uniform, and the scale of the norm before it makes it learn the few words of the task several times
    faster, which otherwise takes most of a short training.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        if name.endswith("language_model.norm.weight"):
            parameter.fill_(_HEAD_GAIN)
        if parameter.dim() < 2:
            continue  # other norms, biases and layer scales keep the library's values
        if name.endswith(("embed_tokens.weight", "position_embeddings", "pos_embed.weight", "cls_token")):
            std = 0.02
        else:
            std = 1 / math.sqrt(parameter[0].numel())
        if name == "lm_head.weight":
            std *= 0.1
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)


def write_tiny_checkpoint(
    folder: str | Path,
    family: MLLMFamily,
    cfg: TinyMLLMConfig,
    corpus: Iterable[str],
    image_size: int,
    seed: int,
) -> None:
    """Write a tiny checkpoint of `family` into `folder`; the same arguments give the same bytes.

    corpus: every text the model will read or write (labels, prompts, rationales); trains the tokenizer. image_size:
    side of the rendered frames, pixels.

    Raises:
        ValueError: image_size or cfg.vocab does not fit the sizes in cfg.
    """
    from transformers import AutoModelForImageTextToText

    tokenizer = build_tokenizer(family, corpus, cfg.vocab)
    config = build_config(family, cfg, image_size, tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config)
    initialise(model, seed)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    build_image_processor(family, cfg, image_size).save_pretrained(folder)
