"""The surface of a family of multimodal LLMs: everything about a checkpoint that transformers does not hide.

A family knows how its images stand in the text, where its tokens stand, how its vision encoder reads kept blocks, and
how a tiny checkpoint of it is configured. Holds no weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from models.config import TinyMLLMConfig
from models.mllm.base import TextBatch
from models.mllm.patchify import VisionGeometry
from models.mllm.positions import VideoTiming

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
MERGE = 2
"""Patches per visual token along a side in tiny checkpoints, as in the published ones of all families here."""
# Frames are drawn on black: a zero mean keeps the empty patches at zero. With ImageNet's mean they carry a constant
# that drowns the figure: its share of the variance at the answer position fell from 12 % to 0.15 % at the start.
TINY_MEAN, TINY_STD = [0.0] * 3, [0.25] * 3


class Family(ABC):
    """Rules of one family; has no state.

    Attributes:
        name: model_type in transformers.
        config_class: name of its configuration's class in transformers.
        statistics: (mean, standard deviation) of the published image processor, channels in [0, 1].
        image_token: stands for one visual token of an image.
        special_tokens: role -> token of the tokenizer, besides those of the chat.
        template_image: what the chat template writes for an image.
        query_norm: whether the language model normalises queries and keys.
        gated_vision: whether the vision encoder's feed-forward part is gated.
        fused_vision: whether its queries, keys and values are one matrix, with rotary positions.
    """

    name: ClassVar[str]
    config_class: ClassVar[str]
    statistics: ClassVar[Statistics]
    image_token: ClassVar[str]
    special_tokens: ClassVar[Mapping[str, str]]
    template_image: ClassVar[str]
    query_norm: ClassVar[bool] = False
    gated_vision: ClassVar[bool] = False
    fused_vision: ClassVar[bool] = False

    @abstractmethod
    def read_geometry(self, config: Any, mean: Sequence[float], std: Sequence[float]) -> VisionGeometry:
        """Vision geometry from a checkpoint's configuration and its image processor's statistics."""

    def image_block(self, tokens: int) -> tuple[str, str]:
        """(placeholder that the chat template writes, what replaces it for an image of `tokens` visual tokens)."""
        return self.image_token, self.image_token * tokens

    def video_block(self, timing: VideoTiming, geometry: VisionGeometry, frames: int, tokens: int) -> tuple[str, str]:
        """(placeholder, what replaces it) for `frames` frames that are read as one video.

        Raises:
            ValueError: the family reads single images only.
        """
        raise ValueError(f"mllm.frames_as: {self.name} reads no video; expected image, found video")

    def video_token(self) -> str:
        """Stands for one visual token of a video."""
        return self.image_token

    @abstractmethod
    def text_batch(
        self,
        rows: TextBatch,
        visual_id: int,
        geometry: VisionGeometry,
        image_size: int,
        frames: int,
        timing: VideoTiming | None,
    ) -> TextBatch:
        """Token rows with the types and positions of tokens that the family's model wants.

        Args:
            rows: input_ids, attention_mask and labels (B, L).
            visual_id: token that stands for a visual one.
            geometry: of the checkpoint.
            image_size: side of a frame, pixels.
            frames: of each clip.
            timing: where frames are read as a video.
        """

    @abstractmethod
    def continued_positions(self, positions: Tensor) -> Tensor:
        """Positions (B, n) of text that follows a prefix, in the form that the model wants."""

    @abstractmethod
    def vision_depth(self, vision: Any) -> tuple[int, int]:
        """(layers, heads) of the vision encoder, from its configuration."""

    @abstractmethod
    def prepare_sparse(self, model: nn.Module) -> None:
        """Readies a model for `encode_kept`, in place.

        Raises:
            ValueError: this checkpoint cannot read some blocks only.
        """

    @abstractmethod
    def encode_kept(
        self, backbone: Any, inputs: dict[str, Tensor], keep: Tensor, geometry: VisionGeometry, video: bool
    ) -> dict[str, Any]:
        """Visual tokens of kept blocks (N, h, w) bool, as the library's `mm_encoder_outputs`; inputs: the pixels."""

    @abstractmethod
    def tiny_config(self, cfg: TinyMLLMConfig, image_size: int, text: dict[str, Any], ids: Callable[[str], int]) -> Any:
        """The family's configuration at tiny size.

        Args:
            cfg: sizes.
            image_size: side of a frame, pixels.
            text: the language model's part as far as families agree on it.
            ids: token -> id.
        """

    @abstractmethod
    def tiny_processor(self, cfg: TinyMLLMConfig, image_size: int) -> Any:
        """The family's image processor, in the variant that needs no torchvision."""
