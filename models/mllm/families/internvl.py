"""InternVL in the Hugging Face format: one fixed image size, plain positions, frames as single images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from models.config import TinyMLLMConfig
from models.mllm import sparse_vision
from models.mllm.base import TextBatch
from models.mllm.families.base import MERGE, TINY_MEAN, TINY_STD, Family
from models.mllm.patchify import VisionGeometry
from models.mllm.positions import VideoTiming


class InternVL(Family):
    """See Family."""

    name = "internvl"
    config_class = "InternVLConfig"
    statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's
    image_token = "<IMG_CONTEXT>"
    special_tokens: ClassVar[Mapping[str, str]] = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    template_image = "<IMG_CONTEXT>\n"

    def image_block(self, tokens: int) -> tuple[str, str]:
        """See Family."""
        return self.image_token, f"<img>{self.image_token * tokens}</img>"

    def read_geometry(self, config: Any, mean: Sequence[float], std: Sequence[float]) -> VisionGeometry:
        """See Family."""
        vision, merge = config.vision_config, round(1 / config.downsample_ratio)
        return VisionGeometry(_side(vision.patch_size), merge, 1, _side(vision.image_size), tuple(mean), tuple(std))

    def text_batch(
        self,
        rows: TextBatch,
        visual_id: int,
        geometry: VisionGeometry,
        image_size: int,
        frames: int,
        timing: VideoTiming | None,
    ) -> TextBatch:
        """See Family: token types and positions are the library's own."""
        return rows

    def continued_positions(self, positions: Tensor) -> Tensor:
        """See Family."""
        return positions

    def vision_depth(self, vision: Any) -> tuple[int, int]:
        """See Family."""
        return vision.num_hidden_layers, vision.num_attention_heads

    def prepare_sparse(self, model: nn.Module) -> None:
        """See Family."""
        sparse_vision.accept_masks(model)

    def encode_kept(
        self, backbone: Any, inputs: dict[str, Tensor], keep: Tensor, geometry: VisionGeometry, video: bool
    ) -> dict[str, Any]:
        """See Family."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        tokens = sparse_vision.encode_internvl(backbone, inputs["pixel_values"], keep, geometry.merge)
        return {"image": BaseModelOutputWithPooling(pooler_output=cast(Any, tokens))}

    def tiny_config(self, cfg: TinyMLLMConfig, image_size: int, text: dict[str, Any], ids: Callable[[str], int]) -> Any:
        """See Family."""
        from transformers import InternVLConfig

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
            text_config=cast(Any, text | {"model_type": "qwen2"}),
            vision_config=cast(Any, vision),
            image_token_id=ids(self.image_token),
            image_seq_length=(image_size // (MERGE * cfg.patch)) ** 2,
            downsample_ratio=1 / MERGE,
            tie_word_embeddings=False,
        )

    def tiny_processor(self, cfg: TinyMLLMConfig, image_size: int) -> Any:
        """See Family."""
        from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

        return GotOcr2ImageProcessorPil(
            size={"height": image_size, "width": image_size},
            crop_to_patches=False,
            image_mean=TINY_MEAN,
            image_std=TINY_STD,
        )


def _side(value: int | Sequence[int]) -> int:
    """Sizes are written as [height, width]; only squares are supported."""
    if isinstance(value, int):
        return value
    if len(set(value)) != 1:
        raise ValueError(f"vision config: expected a square, found {tuple(value)}")
    return value[0]
