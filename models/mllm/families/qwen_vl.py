"""What Qwen2.5-VL and Qwen3-VL share: any multiple of a token's side, rotary positions on three axes, real videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from models.config import TinyMLLMConfig
from models.mllm import sparse_vision
from models.mllm.base import TextBatch
from models.mllm.families.base import MERGE, TINY_MEAN, TINY_STD, Family
from models.mllm.patchify import VisionGeometry
from models.mllm.positions import VideoTiming, mrope_positions

VIDEO_TOKEN = "<|video_pad|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"


class QwenVL(Family):
    """See Family; the two families of it say what is their own."""

    image_token = "<|image_pad|>"
    special_tokens: ClassVar[Mapping[str, str]] = {
        "vision_start_token": VISION_START,
        "vision_end_token": VISION_END,
        "image_token": "<|image_pad|>",
        "video_token": VIDEO_TOKEN,
    }
    template_image = f"{VISION_START}<|image_pad|>{VISION_END}"
    fused_vision = True

    def read_geometry(self, config: Any, mean: Sequence[float], std: Sequence[float]) -> VisionGeometry:
        """See Family."""
        vision = config.vision_config
        return VisionGeometry(
            vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size, None, tuple(mean), tuple(std)
        )

    def video_token(self) -> str:
        """See Family."""
        return VIDEO_TOKEN

    def block_in_time(self, timing: VideoTiming, geometry: VisionGeometry, frames: int) -> tuple[int, float]:
        """(steps of a video that form one block of positions, how far apart they stand on the axis of time)."""
        raise NotImplementedError

    def text_batch(
        self,
        rows: TextBatch,
        visual_id: int,
        geometry: VisionGeometry,
        image_size: int,
        frames: int,
        timing: VideoTiming | None,
    ) -> TextBatch:
        """See Family: token types 1 (image) or 2 (video), positions on three axes."""
        ids, mask = rows.input_ids, rows.attention_mask
        visual = ((ids == visual_id) & (mask == 1)).long()
        side = image_size // (geometry.patch * geometry.merge)
        if timing is None:
            return TextBatch(ids, mask, rows.labels, visual, mrope_positions(visual, mask, side, side))
        steps, interval = self.block_in_time(timing, geometry, frames)
        positions = mrope_positions(visual, mask, side, side, steps, interval)
        return TextBatch(ids, mask, rows.labels, 2 * visual, positions)

    def continued_positions(self, positions: Tensor) -> Tensor:
        """See Family: all three axes agree on text."""
        return positions.expand(3, *positions.shape)

    def vision_depth(self, vision: Any) -> tuple[int, int]:
        """See Family."""
        return vision.depth, vision.num_heads

    def prepare_sparse(self, model: nn.Module) -> None:
        """See Family: the library takes the layout of kept blocks as it is."""

    def encode_kept(
        self, backbone: Any, inputs: dict[str, Tensor], keep: Tensor, geometry: VisionGeometry, video: bool
    ) -> dict[str, Any]:
        """See Family."""
        rows, grid = inputs.values()
        # The encoder's attention does not cross the steps of a video: to it, each is an image.
        grid = grid.new_tensor([[1, *grid[0, 1:].tolist()]]).expand(len(keep), 3)
        return {"video" if video else "image": sparse_vision.encode_qwen(backbone.visual, rows, grid, keep)}

    def rope(self, cfg: TinyMLLMConfig) -> dict[str, Any]:
        """Rotary positions of a tiny language model: the published split of the axes, 16 : 24 : 24 of 64."""
        half = cfg.llm_width // cfg.heads // 2
        space = 3 * half // 8
        return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [half - 2 * space, space, space]}

    def tiny_text(self, cfg: TinyMLLMConfig, text: dict[str, Any]) -> dict[str, Any]:
        """The language model's part of a tiny configuration."""
        return text | {"rope_parameters": self.rope(cfg)}

    def tiny_vision(self, cfg: TinyMLLMConfig, image_size: int) -> dict[str, Any]:
        """The vision encoder's part of a tiny configuration."""
        return {
            "depth": cfg.vision_layers,
            "hidden_size": cfg.vision_width,
            "intermediate_size": 2 * cfg.vision_width,
            "num_heads": cfg.heads,
            "patch_size": cfg.patch,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "out_hidden_size": cfg.llm_width,
        }

    def tiny_config(self, cfg: TinyMLLMConfig, image_size: int, text: dict[str, Any], ids: Callable[[str], int]) -> Any:
        """See Family."""
        import transformers

        return getattr(transformers, self.config_class)(
            text_config=self.tiny_text(cfg, text),
            vision_config=self.tiny_vision(cfg, image_size),
            image_token_id=ids(self.image_token),
            video_token_id=ids(VIDEO_TOKEN),
            vision_start_token_id=ids(VISION_START),
            vision_end_token_id=ids(VISION_END),
            tie_word_embeddings=False,
        )

    def tiny_processor(self, cfg: TinyMLLMConfig, image_size: int) -> Any:
        """See Family."""
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        unit = (MERGE * cfg.patch) ** 2
        return Qwen2VLImageProcessorPil(
            patch_size=cfg.patch,
            merge_size=MERGE,
            temporal_patch_size=2,
            size={"shortest_edge": unit, "longest_edge": unit * 1280},
            image_mean=TINY_MEAN,
            image_std=TINY_STD,
        )
