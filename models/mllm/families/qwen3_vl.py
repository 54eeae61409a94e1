"""Qwen3-VL: features of several vision layers (deepstack), times of a video's steps written into the text."""

from __future__ import annotations

from typing import Any

from models.config import TinyMLLMConfig
from models.mllm.families.qwen_vl import VIDEO_TOKEN, VISION_END, VISION_START, QwenVL
from models.mllm.patchify import VisionGeometry
from models.mllm.positions import VideoTiming


class Qwen3VL(QwenVL):
    """See Family."""

    name = "qwen3_vl"
    config_class = "Qwen3VLConfig"
    statistics = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    query_norm = True

    def video_block(self, timing: VideoTiming, geometry: VisionGeometry, frames: int, tokens: int) -> tuple[str, str]:
        """See Family. It was trained with a time before each step and markers around it, none around the whole."""
        stamps = timing.stamps(frames, geometry.temporal)
        steps = (f"{stamp}{VISION_START}{VIDEO_TOKEN * tokens}{VISION_END}" for stamp in stamps)
        return f"{VISION_START}{VIDEO_TOKEN}{VISION_END}", "".join(steps)

    def block_in_time(self, timing: VideoTiming, geometry: VisionGeometry, frames: int) -> tuple[int, float]:
        """See QwenVL: each step is a block of its own, since times stand in the text."""
        return 1, 1.0

    def rope(self, cfg: TinyMLLMConfig) -> dict[str, Any]:
        """See QwenVL."""
        return super().rope(cfg) | {"mrope_interleaved": True}

    def tiny_text(self, cfg: TinyMLLMConfig, text: dict[str, Any]) -> dict[str, Any]:
        """See QwenVL."""
        return super().tiny_text(cfg, text) | {"head_dim": cfg.llm_width // cfg.heads}

    def tiny_vision(self, cfg: TinyMLLMConfig, image_size: int) -> dict[str, Any]:
        """See QwenVL."""
        grid = image_size // cfg.patch
        own = {"num_position_embeddings": grid * grid, "deepstack_visual_indexes": [cfg.vision_layers // 2]}
        return super().tiny_vision(cfg, image_size) | own
