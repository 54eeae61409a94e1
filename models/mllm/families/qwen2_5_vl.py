"""Qwen2.5-VL: window attention in the vision encoder, time in the rotary positions."""

from __future__ import annotations

from typing import Any

from models.config import TinyMLLMConfig
from models.mllm.families.base import MERGE
from models.mllm.families.qwen_vl import VIDEO_TOKEN, QwenVL
from models.mllm.patchify import VisionGeometry
from models.mllm.positions import VideoTiming


class Qwen25VL(QwenVL):
    """See Family."""

    name = "qwen2_5_vl"
    config_class = "Qwen2_5_VLConfig"
    statistics = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))  # CLIP's
    gated_vision = True

    def video_block(self, timing: VideoTiming, geometry: VisionGeometry, frames: int, tokens: int) -> tuple[str, str]:
        """See Family: the video is one stretch of tokens."""
        return VIDEO_TOKEN, VIDEO_TOKEN * (geometry.video_steps(frames) * tokens)

    def block_in_time(self, timing: VideoTiming, geometry: VisionGeometry, frames: int) -> tuple[int, float]:
        """See QwenVL: seconds are what the axis of time counts."""
        return geometry.video_steps(frames), timing.tokens_per_second * geometry.temporal / timing.fps

    def tiny_vision(self, cfg: TinyMLLMConfig, image_size: int) -> dict[str, Any]:
        """See QwenVL."""
        windows = {"window_size": 2 * MERGE * cfg.patch, "fullatt_block_indexes": [cfg.vision_layers - 1]}
        return super().tiny_vision(cfg, image_size) | windows
