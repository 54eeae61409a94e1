"""Clips of any topologies -> frames: placement, appearance, one rasteriser call for the whole batch.

Takes frames that were already chosen, with their velocity and camera; reads no files and fits no camera. Always
float32, whatever precision surrounds it (float64 where its weights are, to check gradients).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.config import RendererConfig
from models.draction.appearance import Appearance, FactorAppearance
from models.draction.body import Body, ClipInput, place_body
from models.draction.camera import LearnedView
from models.draction.rasterize.projection import Raster
from models.draction.rasterize.reference import rasterize
from models.draction.rasterize.tiled import rasterize_tiled
from models.draction.template import SkeletonSpec, Template, template_of

__all__ = ["Body", "ClipInput", "DrAction", "SceneRenderer"]
_HALF = (torch.float16, torch.bfloat16)


class SceneRenderer(nn.Module):
    """Everything but the paint: subclasses say which colour and opacity each Gaussian has."""

    def __init__(self, cfg: RendererConfig) -> None:
        """Build.

        Raises:
            ValueError: a configuration that makes no picture.
        """
        super().__init__()
        cfg.check()
        self.cfg = cfg
        # Learned change of the cameras. No class attribute: it would hide the module that a subclass sets.
        self.turn: LearnedView | None = None
        # Says which type to work in, also where there are no weights.
        self.register_buffer("unit", torch.ones(()), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SceneRenderer:
        """Follow moves between devices, but not into half precision where a surrounding model is cast."""

        def keep_type(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in _HALF else moved

        return super()._apply(keep_type, recurse)

    @property
    def dtype(self) -> torch.dtype:
        """float32, or float64 after `double()`."""
        return self.get_buffer("unit").dtype

    def template(self, spec: SkeletonSpec, device: torch.device) -> Template:
        """The Gaussians of a topology."""
        return template_of(spec, self.cfg.samples_per_bone, device)

    def paint(self, body: Body) -> tuple[Tensor, Tensor]:
        """(R, 3) colours in [0, 1] and (R,) opacities at least 0."""
        raise NotImplementedError

    def forward(self, clips: Sequence[ClipInput]) -> Tensor:
        """Draw B clips, each with its own topology, number of persons and camera, in one pass.

        Missing joints, and bone points that need one, are not drawn.

        Returns:
            (B, F, 3, H, W) float32 in [0, 1], black background. F = moments x views, all moments of the first view
            first.

        Raises:
            ValueError: no clips, different numbers of frames, or positions that do not fit the topology.
        """
        _check(clips)
        device, dtype, size = clips[0].positions.device, self.dtype, self.cfg.image_size
        with torch.autocast(device.type, enabled=False):
            bodies = []
            for group in _groups(clips):
                members = [clips[i] for i in group]
                template = self.template(members[0].spec, device).to(dtype)
                bodies.append(place_body(members, group, template, self.cfg, self.turn))
            images = self.compose(bodies, self._raster(clips, device, dtype))
        return images.view(len(clips), clips[0].images, 3, size, size)

    def _raster(self, clips: Sequence[ClipInput], device: torch.device, dtype: torch.dtype) -> Raster:
        """Sizes and intrinsics of all images."""
        rows = [
            torch.stack([torch.as_tensor(value, dtype=dtype, device=device) for value in (c.focal_px, c.cx, c.cy)])
            for c in (clip.camera for clip in clips)
        ]
        focal, cx, cy = torch.stack(rows).repeat_interleave(clips[0].images, 0).unbind(1)
        return Raster(focal, cx, cy, self.cfg.image_size, self.cfg.image_size, self.cfg.blur_px)

    def compose(self, bodies: Sequence[Body], raster: Raster) -> Tensor:
        """Paint and rasterise: (I, 3, H, W)."""
        paints = [self.paint(body) for body in bodies]
        draw = rasterize_tiled if self.cfg.rasterizer == "tiled" else rasterize
        return draw(
            torch.cat([body.place for body in bodies]),
            torch.cat([body.radius for body in bodies]),
            torch.cat([opacity for _, opacity in paints]),
            torch.cat([rgb for rgb, _ in paints]),
            torch.cat([body.image for body in bodies]),
            raster,
        )


class DrAction(SceneRenderer):
    """DrAction with learned appearance: 1,585 weights as configured by default, the same ones for every topology."""

    def __init__(self, cfg: RendererConfig, features: nn.Module | None = None) -> None:
        """Build from a configuration; `features` replaces the appearance by meaning (imported weights only)."""
        super().__init__(cfg)
        self.appearance = Appearance(cfg, FactorAppearance(cfg.feature_dim) if features is None else features)
        self.depth_mix = nn.Parameter(torch.tensor(float(cfg.depth_mix_init))) if cfg.depth_mix else None
        self.turn = LearnedView(len(cfg.views)) if cfg.learn_camera else None

    def paint(self, body: Body) -> tuple[Tensor, Tensor]:
        """Learned colour, mixed with colour by depth where that is asked for, and learned opacity."""
        rgb, opacity = self.appearance(body)
        if self.depth_mix is None:
            return rgb, opacity
        return torch.lerp(rgb, body.depth_rgb, torch.sigmoid(self.depth_mix)), opacity


def _check(clips: Sequence[ClipInput]) -> None:
    """Raises where the clips cannot be drawn together."""
    if not clips:
        raise ValueError("renderer: expected at least one clip, found none")
    moments, views = clips[0].positions.shape[0], clips[0].camera.views
    for clip in clips:
        shape, joints = tuple(clip.positions.shape), len(clip.spec.joint_names)
        if len(shape) != 4 or shape[0] != moments or shape[2:] != (joints, 3):
            raise ValueError(f"renderer: expected positions ({moments}, P, {joints}, 3), found {shape}")
        if clip.velocity.shape != clip.positions.shape:
            raise ValueError(f"renderer: expected velocity {shape}, found {tuple(clip.velocity.shape)}")
        if clip.camera.views != views:
            raise ValueError(f"renderer: expected cameras with {views} views, found {clip.camera.views}")


def _groups(clips: Sequence[ClipInput]) -> list[list[int]]:
    """Places of the clips that can be stacked: same topology, same number of persons."""
    groups: dict[tuple[SkeletonSpec, int], list[int]] = {}
    for i, clip in enumerate(clips):
        groups.setdefault((clip.spec, clip.positions.shape[1]), []).append(i)
    return list(groups.values())
