"""Configuration of the models: frozen dataclasses. Loads no torch, since `--help` reads it.

Every default stands here and nowhere else. Bounds stand beside the field, units and sources in its docstring.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from models.bounds import check_bounds

Strict = {"extra": "forbid"}  # pydantic accepts unknown keys silently without it

RendererKind = Literal["draction", "stick", "heatmap", "velocity"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class RendererConfig:
    """DrAction, the differentiable renderer (arXiv 2603.18003, section 3), and the fixed ones. See docs/render.md."""

    __pydantic_config__: ClassVar[dict[str, Any]] = Strict

    kind: RendererKind = "draction"
    """draction learns. Fixed baselines: stick figure, joint heatmaps, 3D + velocity colours (the paper's)."""
    frames: Annotated[int, Ge(1)] = 12
    """Images F of a clip that the MLLM sees, one from each of F equal segments; `views` share them. Searched: 8-24."""
    image_size: Annotated[int, Ge(1)] = 448
    """Side of the square image, pixels. Must be what the MLLM's vision encoder takes."""
    samples_per_bone: Annotated[int, Ge(0)] = 10
    """Gaussians S inside every bone, at fractions s/(S+1). Searched in 4-24."""
    joint_radius: Annotated[float, Gt(0)] = 0.030
    """Base radius of a joint's Gaussian, metres; clamped to [1/3, 7/6] of itself after scaling by bone length."""
    bone_radius: Annotated[float, Gt(0)] = 0.020
    """Base radius of a bone point's Gaussian, metres; clamped to [0.3, 1.5] of itself."""
    radius_exponent: Annotated[float, Ge(0)] = 1.0
    """g: radius ~ (bone length / longest bone)^g. 0 makes all radii equal."""
    fov_deg: Annotated[float, Ge(1), Le(170)] = 60.0
    """Horizontal field of view of the pinhole camera, degrees."""
    distance: Annotated[float, Gt(0)] = 2.5
    """Least distance of the framing camera from the clip's centre, metres; it steps back until everything fits."""
    margin: Annotated[float, Ge(0), Lt(0.5)] = 0.08
    """Share of the image kept free at each edge by the framing camera."""
    camera: Literal["fit", "identity"] = "fit"
    """fit: frames the clip with true left and right. identity: the authors' mirrored camera at the origin."""
    view: Literal["front", "sensor"] = "front"
    """Where the framing camera stands: before the person (across the line between two persons), or at the sensor."""
    views: tuple[float, ...] = (0.0,)
    """Turns of the framing camera about the vertical, degrees. V views share the F images: F/V moments in time, all of
    them from the first view, then all from the second; F must be a multiple of V."""
    learn_camera: bool = False
    """Learn a turn, a tilt and a distance for each view, added to the framing camera; they start at nothing."""
    blur_px: Annotated[float, Ge(0)] = 0.3
    """Standard deviation of the screen-space blur, pixels: keeps thin limbs whole in small images. 0 = authors'."""
    velocity_stride_s: Annotated[float, Gt(0)] = 4 / 30
    """Time over which the velocity input is taken, seconds (4 frames at 30 fps in the paper)."""
    depth_mix: bool = True
    """Mix the learned colour with colour by depth; the share is learned."""
    depth_mix_init: float = -0.5
    """Start of the logit that mixes learned colour with depth colour."""
    nfm: bool = True
    """Neural feature modulator: colour and opacity depend on position and velocity."""
    nfm_width: Annotated[int, Ge(1)] = 64
    """Hidden width of the modulator. Searched in 32-128."""
    gru: bool = False
    """Recurrent modulator: colour and opacity also depend on the earlier drawn frames."""
    gru_width: Annotated[int, Ge(1)] = 16
    """Width of its state."""
    feature_dim: Annotated[int, Ge(3)] = 3
    """Width of a Gaussian's appearance feature."""
    heatmap_sigma: Annotated[float, Gt(0)] = 0.02
    """Standard deviation of a joint in `kind: heatmap`, as a share of the image's side."""
    rasterizer: Literal["tiled", "reference"] = "tiled"
    """tiled: work proportional to the pixels touched. reference: every pixel for every Gaussian, the oracle."""

    @property
    def moments(self) -> int:
        """Moments in time that are drawn, each from every view."""
        return self.frames // len(self.views)

    def check(self) -> None:
        """Values and combinations that make no picture.

        Raises:
            ValueError: names the field, what it needs and what was found.
        """
        fixed_view = tuple(self.views) == (0.0,) and not self.learn_camera
        check_bounds(self, "renderer")
        needs = (
            ("views", "at least one angle", len(self.views) > 0),
            ("views", "a number that divides frames", not self.views or self.frames % len(self.views) == 0),
            ("camera", "fit, where there are views or a learned camera", self.camera == "fit" or fixed_view),
            ("learn_camera", "kind draction", self.kind == "draction" or not self.learn_camera),
        )
        for name, expected, fine in needs:
            if not fine:
                raise ValueError(f"renderer.{name}: expected {expected}, found {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters on the LLM's projections (arXiv 2106.09685; peft)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = Strict

    rank: Annotated[int, Ge(1)] = 32
    """Rank r; searched in 8-64."""
    alpha: Annotated[int, Ge(1)] = 64
    """Scale numerator: the update is weighted alpha / r."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.05
    """Dropout before the adapter."""
    targets: Literal["attention", "all"] = "attention"
    """attention: query, key, value and output projections. all: the three of the feed-forward part too."""


@dataclass(frozen=True, kw_only=True)
class TinyMLLMConfig:
    """Size of the random-initialised MLLM of a real architecture that stands in where no hub is reached."""

    __pydantic_config__: ClassVar[dict[str, Any]] = Strict

    vision_width: Annotated[int, Ge(1)] = 128
    """Hidden size of the vision encoder."""
    vision_layers: Annotated[int, Ge(1)] = 4
    """Layers of the vision encoder."""
    llm_width: Annotated[int, Ge(1)] = 128
    """Hidden size of the language model."""
    llm_layers: Annotated[int, Ge(1)] = 3
    """Layers of the language model."""
    heads: Annotated[int, Ge(1)] = 4
    """Attention heads of both."""
    patch: Annotated[int, Ge(1)] = 16
    """Patch side, pixels; a visual token covers 2 x 2 patches, so image_size must be a multiple of 2 * patch."""
    vocab: Annotated[int, Ge(1)] = 1024
    """Upper bound of the tokenizer's vocabulary, trained on the labels, prompts and rationales at hand."""


@dataclass(frozen=True, kw_only=True)
class SparsifyConfig:
    """Visual tokens of black background are dropped before the vision encoder (arXiv 2603.18003)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = Strict

    enabled: bool = False
    """Drop them. Off: every block of every frame is encoded."""
    threshold: float = 1 / 255
    """A block (the patches of one visual token) is kept if any channel of any pixel is above this, frames in [0, 1].
    The default is the smallest step of an 8-bit image; below 0 keeps every block."""
    dilation: Annotated[int, Ge(0)] = 0
    """Blocks kept around each of these, diagonals included: room for the gradient to move a limb into."""


@dataclass(frozen=True, kw_only=True)
class MLLMConfig:
    """The multimodal LLM: any Hugging Face checkpoint of a supported family."""

    __pydantic_config__: ClassVar[dict[str, Any]] = Strict

    path: str = ""
    """Folder or hub id for from_pretrained. Empty: `skel tiny-mllm` writes one into the run and it is used."""
    family: str = "internvl"
    """Architecture of the tiny checkpoint that is written when `path` is empty: internvl, qwen2_5_vl or qwen3_vl."""
    frames_as: Literal["image", "video"] = "image"
    """image: each frame is an image with a label before it. video: the frames are one video, of which two frames share
    their visual tokens (Qwen2.5-VL and Qwen3-VL; InternVL reads videos as images)."""
    video_fps: Annotated[float, Gt(0)] = 2.0
    """Frames per second that the model is told with `frames_as: video`, whatever the clip's length; 2 is what Qwen's
    processors sample at."""
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
