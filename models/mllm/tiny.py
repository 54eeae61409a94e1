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

from models.config import TinyMLLMConfig
from models.mllm.families.base import MERGE, Family
from models.mllm.families.registry import family_named
from models.mllm.text import FRAME_LABEL

_TURN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_MAX_FRAMES = 32
_MAX_POSITIONS = 8192
_HEAD_GAIN = 4.0


def _chat_template(family: Family) -> str:
    """The published templates' layout, without a system turn."""
    return (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}" + family.template_image + "{% elif c['type'] == 'video' %}"
        "<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
        "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def build_tokenizer(family: str, corpus: Iterable[str], vocab: int) -> Any:
    """Byte-level BPE trained on `corpus`, with the family's special tokens; same corpus, same tokenizer.

    Raises:
        ValueError: `vocab` does not hold the 256 bytes and the special tokens.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rules = family_named(family)
    special = [*_TURN, *rules.special_tokens.values()]
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
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=dict(rules.special_tokens),
    )
    tokenizer.chat_template = _chat_template(rules)
    return tokenizer


def _text_config(cfg: TinyMLLMConfig, tokenizer: Any) -> dict[str, Any]:
    """The language model's part of the config, as far as the families agree on it."""
    return {
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


def build_config(family: str, cfg: TinyMLLMConfig, image_size: int, tokenizer: Any) -> Any:
    """The family's own config class at tiny size.

    Raises:
        ValueError: image_size is no multiple of 2 * patch, or there is no such family.
    """
    if image_size % (MERGE * cfg.patch):
        raise ValueError(f"renderer.image_size: expected a multiple of {MERGE * cfg.patch}, found {image_size}")
    text = _text_config(cfg, tokenizer)
    return family_named(family).tiny_config(cfg, image_size, text, tokenizer.convert_tokens_to_ids)


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
    family: str,
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
    family_named(family).tiny_processor(cfg, image_size).save_pretrained(folder)
