"""Configuration of the models: frozen dataclasses, standard library only, so that `--help` loads no torch.

Every default stands here and nowhere else. Units, ranges and sources are in the field's docstring.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Strict = {"extra": "forbid"}  # pydantic accepts unknown keys silently without it

MLLMFamily = Literal["internvl", "qwen2_5_vl", "qwen3_vl"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class RendererConfig:
    """DrAction, the differentiable renderer (arXiv 2603.18003, section 3)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = Strict

    frames: int = 12
    """Frames F drawn per clip: one from each of F equal segments. Searched in 8-24."""
    image_size: int = 448
    """Side of the square image, pixels. Must be what the MLLM's vision encoder takes."""
    samples_per_bone: int = 10
    """Gaussians S inside every bone, at fractions s/(S+1). Searched in 4-24."""
    joint_radius: float = 0.030
    """Base radius of a joint's Gaussian, metres; clamped to [1/3, 7/6] of itself after scaling by bone length."""
    bone_radius: float = 0.020
    """Base radius of a bone point's Gaussian, metres; clamped to [0.3, 1.5] of itself."""
    radius_exponent: float = 1.0
    """g: radius ~ (bone length / longest bone)^g. 0 makes all radii equal."""
    fov_deg: float = 60.0
    """Horizontal field of view of the pinhole camera, degrees."""
    distance: float = 2.5
    """Least distance of the framing camera from the clip's centre, metres; it steps back until everything fits."""
    margin: float = 0.08
    """Share of the image kept free at each edge by the framing camera."""
    camera: Literal["fit", "identity"] = "fit"
    """fit: frames the clip with true left and right. identity: the authors' mirrored camera at the origin."""
    view: Literal["front", "sensor"] = "front"
    """Where the framing camera stands: before the person (across the line between two persons), or at the sensor."""
    blur_px: float = 0.3
    """Standard deviation of the screen-space blur, pixels: keeps thin limbs whole in small images. 0 = authors'."""
    velocity_stride_s: float = 4 / 30
    """Time over which the velocity input is taken, seconds (4 frames at 30 fps in the paper)."""
    depth_mix_init: float = -0.5
    """Start of the logit that mixes learned colour with depth colour."""
    nfm: bool = True
    """Neural feature modulator: colour and opacity depend on position and velocity."""
    nfm_width: int = 64
    """Hidden width of the modulator."""
    feature_dim: int = 3
    """Width of a Gaussian's appearance feature."""
    rasterizer: Literal["tiled", "reference"] = "tiled"
    """tiled: work proportional to the pixels touched. reference: every pixel for every Gaussian, the oracle."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters on the LLM's attention projections (arXiv 2106.09685; peft)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = Strict

    rank: int = 32
    """Rank r; searched in 8-64."""
    alpha: int = 64
    """Scale numerator: the update is weighted alpha / r."""
    dropout: float = 0.05
    """Dropout before the adapter, in [0, 1)."""


@dataclass(frozen=True, kw_only=True)
class TinyMLLMConfig:
    """Size of the random-initialised MLLM of a real architecture that stands in where no hub is reached."""

    __pydantic_config__: ClassVar[dict[str, Any]] = Strict

    vision_width: int = 128
    """Hidden size of the vision encoder."""
    vision_layers: int = 4
    """Layers of the vision encoder."""
    llm_width: int = 128
    """Hidden size of the language model."""
    llm_layers: int = 3
    """Layers of the language model."""
    heads: int = 4
    """Attention heads of both."""
    patch: int = 16
    """Patch side, pixels; a visual token covers 2 x 2 patches, so image_size must be a multiple of 2 * patch."""
    vocab: int = 1024
    """Upper bound of the tokenizer's vocabulary, trained on the labels, prompts and rationales at hand."""


@dataclass(frozen=True, kw_only=True)
class SparsifyConfig:
    """Visual tokens of black background are dropped before the vision encoder (arXiv 2603.18003)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = Strict

    enabled: bool = False
    """Off: every block of every frame is encoded."""
    threshold: float = 1 / 255
    """A block (the patches of one visual token) is kept if any channel of any pixel is above this, frames in [0, 1].
    The default is the smallest step of an 8-bit image; below 0 keeps every block."""
    dilation: int = 0
    """Blocks kept around each of these, diagonals included: room for the gradient to move a limb into."""


@dataclass(frozen=True, kw_only=True)
class MLLMConfig:
    """The multimodal LLM: any Hugging Face checkpoint of a supported family."""

    __pydantic_config__: ClassVar[dict[str, Any]] = Strict

    path: str = ""
    """Folder or hub id for from_pretrained. Empty: `skel tiny-mllm` writes one into the run and it is used."""
    family: MLLMFamily = "internvl"
    """Architecture of the tiny checkpoint that is written when `path` is empty."""
    precision: Precision = "fp32"
    """Type of the MLLM's weights and activations; the renderer stays in float32."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention implementation handed to transformers."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Used only by stages whose `trains` names `lora`."""
    sparsify: SparsifyConfig = field(default_factory=SparsifyConfig)
    """Foreground patch sparsification."""
    tiny: TinyMLLMConfig = field(default_factory=TinyMLLMConfig)
    """Size of the tiny checkpoint."""
