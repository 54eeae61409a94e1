"""How large a multimodal LLM is, from its configuration alone: no weights are read, none are made.

A name, a checkpoint folder or a config object -> ModelSizes (parameters of each group, widths, visual tokens).
The model is built on the meta device, so an 8 B model costs a second and no memory. Estimates no memory or time:
`skel plan` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from models.config import LoraConfig
from models.mllm import lora
from models.mllm.families.registry import family_named
from models.mllm.patchify import VisionGeometry
from models.mllm.published import published_config, published_name
from models.trainable import Group, counts

FramesAs = Literal["image", "video"]


@dataclass(frozen=True)
class ModelSizes:
    """Numbers of one model.

    Attributes:
        name: as it was asked for.
        family: architecture.
        parameters: of each group that the model has: vision, projector, llm, and lora where adapters were asked for.
        embedding: parameters of the token table, part of llm, which do no arithmetic; 0 where the head shares them.
        tied: whether token table and head are one tensor.
        hidden: width of the language model.
        intermediate: width of its feed-forward part.
        layers: of the language model.
        heads, kv_heads, head_dim: of its attention.
        vocab: tokens.
        vision_hidden: width of the vision encoder.
        vision_intermediate: width of its feed-forward part.
        vision_layers: of the vision encoder.
        vision_heads: of its attention.
        geometry: patches, tokens and image sizes that are taken.
        lora_rank: rank of the counted adapters; 0 without.
    """

    name: str
    family: str
    parameters: Mapping[Group, int]
    embedding: int
    tied: bool
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    vision_hidden: int
    vision_intermediate: int
    vision_layers: int
    vision_heads: int
    geometry: VisionGeometry
    lora_rank: int

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(self.parameters.values())

    def patches_per_image(self, image_size: int) -> int:
        """Patches that the vision encoder reads of one square image, side in pixels."""
        return self.geometry.tokens(image_size) * self.geometry.merge**2

    def tokens_per_image(self, image_size: int) -> int:
        """Visual tokens that the language model reads of one square image."""
        return self.geometry.tokens(image_size)

    def visual_tokens(self, frames: int, image_size: int, frames_as: FramesAs = "image") -> int:
        """Visual tokens of a clip; as video, `geometry.temporal` frames share their tokens.

        Raises:
            ValueError: the family takes no video, or the image size does not fit.
        """
        if frames_as == "video":
            frames = self.geometry.video_steps(frames)
        return frames * self.geometry.tokens(image_size)


def load_config(source: str | Path | Any) -> Any:
    """The config object of a published name (or hub id of one), a checkpoint folder, or a config object itself.

    Raises:
        ValueError: neither a folder with a config.json nor a name of `published.NAMES`, or of another family.
    """
    if not isinstance(source, str | Path):
        config = source
    elif (Path(source) / "config.json").exists():
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(source)
    else:
        config = published_config(published_name(str(source)) or str(source))
    try:
        family_named(config.model_type)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return config


def build_on_meta(config: Any, adapters: LoraConfig | None = None) -> Any:
    """The library's model without storage: names, shapes and modules, no numbers; with adapters where given."""
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
        if adapters is not None:
            lora.add_lora(model, adapters)
    return model


def meta_geometry(config: Any, source: str | Path | Any) -> VisionGeometry:
    """Vision geometry; image statistics from the folder's processor, or the published ones."""
    family = family_named(config.model_type)
    mean, std = family.statistics
    if isinstance(source, str | Path) and (Path(source) / "preprocessor_config.json").exists():
        from transformers import AutoImageProcessor

        processor = AutoImageProcessor.from_pretrained(source)
        mean, std = processor.image_mean, processor.image_std
    return family.read_geometry(config, mean, std)


def describe(source: str | Path | Any, adapters: LoraConfig | None = None) -> ModelSizes:
    """Sizes of a model.

    Args:
        source: a published name ("InternVL3-8B", "Qwen/Qwen3-VL-8B-Instruct"), a checkpoint folder, or a config object.
        adapters: count these adapters too (group `lora`).

    Raises:
        ValueError: nothing of that name, or a model of another family.
    """
    config = load_config(source)
    model = build_on_meta(config, adapters)
    text, vision = config.text_config, config.vision_config
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    tied = table is head or bool(config.tie_word_embeddings)
    vision_layers, vision_heads = family_named(config.model_type).vision_depth(vision)
    return ModelSizes(
        name=str(source) if isinstance(source, str | Path) else config.model_type,
        family=config.model_type,
        parameters={group: count.total for group, count in counts(model).items()},
        embedding=0 if tied else table.numel(),
        tied=tied,
        hidden=text.hidden_size,
        intermediate=text.intermediate_size,
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        kv_heads=text.num_key_value_heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        vocab=text.vocab_size,
        vision_hidden=vision.hidden_size,
        vision_intermediate=vision.intermediate_size,
        vision_layers=vision_layers,
        vision_heads=vision_heads,
        geometry=meta_geometry(config, source),
        lora_rank=0 if adapters is None else adapters.rank,
    )
