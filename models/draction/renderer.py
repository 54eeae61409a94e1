"""Clips of any topologies -> frames: placement, appearance, one rasteriser call for the whole batch.

Takes frames that were already chosen, with their velocity and camera; reads no files and fits no camera. Always
float32, whatever precision surrounds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import RendererConfig
from models.draction.appearance import Appearance, FactorAppearance, depth_colour
from models.draction.camera import Camera
from models.draction.projection import Raster
from models.draction.rasterize import rasterize
from models.draction.rasterize_tiled import rasterize_tiled
from models.draction.template import SkeletonSpec, Template, radii_from_lengths, template_of


@dataclass(frozen=True, eq=False)
class ClipInput:
    """One clip, ready to draw.

    Attributes:
        spec: its topology.
        positions: (F, P, J, 3) float32 metres, record convention, NaN = missing.
        velocity: (F, P, J, 3) float32 metres over the stride (`frames.velocity`), 0 where missing.
        camera: places the clip in the image.
    """

    spec: SkeletonSpec
    positions: Tensor
    velocity: Tensor
    camera: Camera


@dataclass(frozen=True, eq=False)
class Body:
    """R existing Gaussians of a group of clips.

    Attributes:
        template: their topology's.
        kind: (R,) which of the template's Gaussians.
        place: (R, 3) camera space, metres.
        from_origin: (R, 3) the same from the camera's origin point.
        velocity: (R, 3) camera space, metres over the stride.
        radius: (R,) metres.
        depth_rgb: (R, 3) colour by relative depth.
        image: (R,) index into B * F images.
    """

    template: Template
    kind: Tensor
    place: Tensor
    from_origin: Tensor
    velocity: Tensor
    radius: Tensor
    depth_rgb: Tensor
    image: Tensor


class SceneRenderer(nn.Module):
    """Everything but the paint: subclasses say which colour and opacity each Gaussian has."""

    def __init__(self, cfg: RendererConfig) -> None:
        super().__init__()
        self.cfg = cfg

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SceneRenderer:
        """Follow moves between devices, but stay in the present type where a surrounding model is cast to bf16."""

        def keep_type(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(keep_type, recurse)

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
            (B, F, 3, H, W) float32 in [0, 1], black background.

        Raises:
            ValueError: no clips, different numbers of frames, or positions that do not fit the topology.
        """
        frames = _check(clips)
        device = clips[0].positions.device
        with torch.autocast(device.type, enabled=False):
            bodies = [self._body(group, [clips[i] for i in group], device) for group in _groups(clips)]
            paints = [self.paint(body) for body in bodies]
            size = self.cfg.image_size
            intrinsics = torch.tensor([(c.camera.focal_px, c.camera.cx, c.camera.cy) for c in clips], device=device)
            focal, cx, cy = intrinsics.repeat_interleave(frames, 0).unbind(1)
            raster = Raster(focal, cx, cy, size, size, self.cfg.blur_px)
            draw = rasterize_tiled if self.cfg.rasterizer == "tiled" else rasterize
            images = draw(
                torch.cat([body.place for body in bodies]),
                torch.cat([body.radius for body in bodies]),
                torch.cat([opacity for _, opacity in paints]),
                torch.cat([rgb for rgb, _ in paints]),
                torch.cat([body.image for body in bodies]),
                raster,
            )
        return images.view(len(clips), frames, 3, size, size)

    def _body(self, members: list[int], clips: list[ClipInput], device: torch.device) -> Body:
        """Skin the Gaussians of clips that share topology and number of persons (`members`: places in the batch)."""
        template = self.template(clips[0].spec, device)
        joints = torch.stack([clip.positions for clip in clips]).float()  # (B, F, P, J, 3)
        motion = torch.stack([clip.velocity for clip in clips]).float()
        rotation, shift, origin = _poses(clips, device)
        known = torch.isfinite(joints).all(-1)
        radius = radii_from_lengths(template, joints, self.cfg)  # (B, N)
        joints = torch.where(known[..., None], joints, 0.0)
        motion = torch.where(torch.isfinite(motion), motion, 0.0)
        place = template.blend @ (torch.einsum("bij,bfpkj->bfpki", rotation, joints) + shift[:, None, None, None])
        if template.offset is not None:
            place = place + torch.einsum("bij,nj->bni", rotation, template.offset)[:, None, None]
        velocity = template.blend @ torch.einsum("bij,bfpkj->bfpki", rotation, motion)
        valid = (~known).float() @ template.support.t() == 0  # (B, F, P, N)
        tint = depth_colour(place[..., 2], valid)

        batch, frame, _, kind = valid.nonzero(as_tuple=True)
        rows = valid.flatten().nonzero().squeeze(1)  # index_select on rows is much cheaper than a mask
        place = place.flatten(0, 3).index_select(0, rows)
        return Body(
            template=template,
            kind=kind,
            place=place,
            from_origin=place - origin.index_select(0, batch),
            velocity=velocity.flatten(0, 3).index_select(0, rows),
            radius=radius[batch, kind],
            depth_rgb=tint.flatten(0, 3).index_select(0, rows),
            image=torch.tensor(members, device=device)[batch] * joints.shape[1] + frame,
        )


class Renderer(SceneRenderer):
    """DrAction with learned appearance: about 1,600 weights, the same ones for every topology."""

    def __init__(self, cfg: RendererConfig, features: nn.Module | None = None) -> None:
        """Build from a configuration; `features` replaces the appearance by meaning (imported weights only)."""
        super().__init__(cfg)
        self.appearance = Appearance(cfg, FactorAppearance(cfg.feature_dim) if features is None else features)
        self.depth_mix = nn.Parameter(torch.tensor(float(cfg.depth_mix_init)))

    def paint(self, body: Body) -> tuple[Tensor, Tensor]:
        """Learned colour mixed with colour by depth, and learned opacity."""
        rgb, opacity = self.appearance(body.template, body.kind, body.from_origin, body.velocity)
        return torch.lerp(rgb, body.depth_rgb, torch.sigmoid(self.depth_mix)), opacity


def _check(clips: Sequence[ClipInput]) -> int:
    """F, the number of frames that all clips share."""
    if not clips:
        raise ValueError("renderer: expected at least one clip, found none")
    frames = clips[0].positions.shape[0]
    for clip in clips:
        shape, joints = tuple(clip.positions.shape), len(clip.spec.joint_names)
        if len(shape) != 4 or shape[0] != frames or shape[2:] != (joints, 3):
            raise ValueError(f"renderer: expected positions ({frames}, P, {joints}, 3), found {shape}")
        if clip.velocity.shape != clip.positions.shape:
            raise ValueError(f"renderer: expected velocity {shape}, found {tuple(clip.velocity.shape)}")
    return frames


def _groups(clips: Sequence[ClipInput]) -> list[list[int]]:
    """Places of the clips that can be stacked: same topology, same number of persons."""
    groups: dict[tuple[SkeletonSpec, int], list[int]] = {}
    for i, clip in enumerate(clips):
        groups.setdefault((clip.spec, clip.positions.shape[1]), []).append(i)
    return list(groups.values())


def _poses(clips: Sequence[ClipInput], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Stacked (B, 3, 3) rotations, (B, 3) translations and (B, 3) origins."""
    cameras = [clip.camera for clip in clips]
    rotation = torch.stack([camera.rotation for camera in cameras])
    shift = torch.stack([camera.translation for camera in cameras])
    origin = torch.stack([camera.origin for camera in cameras])
    return rotation.to(device), shift.to(device), origin.to(device)
