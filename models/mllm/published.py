"""Configurations of published checkpoints, written down so that their sizes are known where no hub is reached.

Name -> the family's own config class (transformers), with the numbers of the checkpoint's config.json on the hub. Holds
no weights and no tokenizer; parameter totals are tested against the published ones.
"""

from __future__ import annotations

from typing import Any

from models.mllm.families.registry import family_named


def _text(hidden: int, mlp: int, layers: int, heads: int, kv_heads: int, vocab: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "tie_word_embeddings": False,
    }


def _internvl3(text: dict[str, Any]) -> dict[str, Any]:
    """InternVL3 with InternViT-300M at 448 x 448."""
    rope = {"rope_type": "default", "rope_theta": 1_000_000.0}
    vision = {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "image_size": [448, 448],
        "patch_size": [14, 14],
        "attention_bias": True,
        "norm_type": "layer_norm",
        "use_qk_norm": False,
    }
    return {
        "text_config": text | {"model_type": "qwen2", "max_position_embeddings": 32768, "rope_parameters": rope},
        "vision_config": vision,
        "image_token_id": 151667,
        "image_seq_length": 256,
        "downsample_ratio": 0.5,
        "tie_word_embeddings": False,
    }


_QWEN_IDS = {
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
}


def _qwen25_vl(text: dict[str, Any], vision_mlp: int) -> dict[str, Any]:
    """Qwen2.5-VL with its 32-layer window-attention encoder."""
    rope = {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [16, 24, 24]}
    vision = {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": vision_mlp,
        "num_heads": 16,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "out_hidden_size": text["hidden_size"],
        "tokens_per_second": 2,
    }
    text = text | {"max_position_embeddings": 128000, "rope_parameters": rope}
    shared = {"tie_word_embeddings": text["tie_word_embeddings"]}
    return {"text_config": text, "vision_config": vision, **_QWEN_IDS, **shared}


def _qwen3_vl(text: dict[str, Any], depth: int, width: int, mlp: int, deepstack: list[int]) -> dict[str, Any]:
    """Qwen3-VL; the encoder hands features of three layers on to the language model."""
    rope = {
        "rope_type": "default",
        "rope_theta": 5_000_000.0,
        "mrope_section": [24, 20, 20],
        "mrope_interleaved": True,
    }
    vision = {
        "depth": depth,
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_heads": 16,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": deepstack,
        "out_hidden_size": text["hidden_size"],
    }
    text = text | {"head_dim": 128, "max_position_embeddings": 262144, "rope_parameters": rope}
    shared = {"tie_word_embeddings": text["tie_word_embeddings"]}
    return {"text_config": text, "vision_config": vision, **_QWEN_IDS, **shared}


_TIED = {"tie_word_embeddings": True}
_LARGE_ENCODER = (27, 1152, 4304, [8, 16, 24])

_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "InternVL3-2B": ("internvl", _internvl3(_text(1536, 8960, 28, 12, 2, 151674))),
    "InternVL3-8B": ("internvl", _internvl3(_text(3584, 18944, 28, 28, 4, 151674))),
    "Qwen2.5-VL-3B": ("qwen2_5_vl", _qwen25_vl(_text(2048, 11008, 36, 16, 2, 151936) | _TIED, 3420)),
    "Qwen2.5-VL-7B": ("qwen2_5_vl", _qwen25_vl(_text(3584, 18944, 28, 28, 4, 152064), 3420)),
    "Qwen2.5-VL-32B": ("qwen2_5_vl", _qwen25_vl(_text(5120, 27648, 64, 40, 8, 152064), 3456)),
    "Qwen3-VL-2B": (
        "qwen3_vl",
        _qwen3_vl(_text(2048, 6144, 28, 16, 8, 151936) | _TIED, 24, 1024, 4096, [5, 11, 17]),
    ),
    "Qwen3-VL-8B": ("qwen3_vl", _qwen3_vl(_text(4096, 12288, 36, 32, 8, 151936), *_LARGE_ENCODER)),
    "Qwen3-VL-32B": ("qwen3_vl", _qwen3_vl(_text(5120, 25600, 64, 64, 8, 151936), *_LARGE_ENCODER)),
}

NAMES: tuple[str, ...] = tuple(_CONFIGS)
"""Names that `published_config` knows."""


def published_name(text: str) -> str | None:
    """The name of NAMES that a hub id or folder ends in ("OpenGVLab/InternVL3-8B-hf", ".../Qwen3-VL-8B-Instruct")."""
    last = text.rstrip("/").rpartition("/")[2]
    for suffix in ("-hf", "-Instruct", "-Thinking"):
        last = last.removesuffix(suffix)
    return next((name for name in NAMES if name.lower() == last.lower()), None)


def published_config(name: str) -> Any:
    """The config object of a published checkpoint.

    Raises:
        ValueError: a name that is not in NAMES.
    """
    import transformers

    if name not in _CONFIGS:
        raise ValueError(f"published checkpoint: expected one of {', '.join(NAMES)}, found {name!r}")
    family, values = _CONFIGS[name]
    return getattr(transformers, family_named(family).config_class)(**values)
