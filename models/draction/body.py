"""Clips of one topology -> their Gaussians in camera space: skinning, radii, what exists, colour by depth.

Knows no weights and draws nothing. Works in the type it is given: float32, or float64 to check gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.config import RendererConfig
from models.draction.camera import Camera, LearnedView
from models.draction.template import SkeletonSpec, Template, radii_from_lengths

_FLAT_M = 1e-4  # depth range below which a person has no depth to show


@dataclass(frozen=True, eq=False)
class ClipInput:
    """One clip, ready to draw: M moments, seen from the V poses of its camera.

    Attributes:
        spec: its topology.
        positions: (M, P, J, 3) float32 metres, record convention, NaN = missing.
        velocity: (M, P, J, 3) float32 metres over the stride (`frames.velocity`), 0 where missing.
        camera: places the clip in the image; M * V images come of it.
    """

    spec: SkeletonSpec
    positions: Tensor
    velocity: Tensor
    camera: Camera

    @property
    def images(self) -> int:
        """F = M * V."""
        return self.positions.shape[0] * self.camera.views


@dataclass(frozen=True, eq=False)
class Body:
    """The Gaussians of B clips with one topology and number of persons, of which R exist.

    Attributes:
        template: their topology's.
        kind: (R,) which of the template's N Gaussians.
        place: (R, 3) camera space, metres.
        from_origin: (R, 3) the same from the camera's origin point.
        velocity: (R, 3) camera space, metres over the stride.
        radius: (R,) metres.
        depth_rgb: (R, 3) colour by relative depth.
        image: (R,) index into all images of the batch.
        rows: (R,) index into the flattened (B, V, M, P, N).
        joints: (B, V, M, P, J, 3) camera space from the origin point, metres, 0 where missing; template's order.
        joint_velocity: (B, V, M, P, J, 3) metres over the stride, 0 where missing.
        known: (B, M, P, J) bool.
    """

    template: Template
    kind: Tensor
    place: Tensor
    from_origin: Tensor
    velocity: Tensor
    radius: Tensor
    depth_rgb: Tensor
    image: Tensor
    rows: Tensor
    joints: Tensor
    joint_velocity: Tensor
    known: Tensor


def place_body(
    clips: Sequence[ClipInput],
    members: Sequence[int],
    template: Template,
    cfg: RendererConfig,
    turn: LearnedView | None = None,
) -> Body:
    """Skin the Gaussians of clips that share topology, number of persons and number of views.

    A Gaussian sits at sum_j w_j x_j (linear blend skinning with fixed weights), moves as its joints do, and exists
    where all joints it depends on are known.

    Args:
        clips: the clips.
        members: their places in the whole batch.
        template: their topology's Gaussians, on the device and in the type to work in.
        cfg: radii.
        turn: learned change of the cameras.
    """
    device, dtype = template.blend.device, template.blend.dtype
    # (B, M, P, J, 3)
    world = template.ordered(torch.stack([clip.positions for clip in clips]).to(device, dtype))
    motion = template.ordered(torch.stack([clip.velocity for clip in clips]).to(device, dtype))
    rotation, shift, origin = poses([clip.camera for clip in clips], device, dtype)
    if turn is not None:
        planar = torch.tensor([clip.camera.planar for clip in clips], device=device)
        rotation, shift, origin = turn(rotation, shift, origin, planar)
    known = torch.isfinite(world).all(-1)
    radius = radii_from_lengths(template, world, cfg)  # (B, N)
    world = torch.where(known[..., None], world, 0.0)
    motion = torch.where(torch.isfinite(motion), motion, 0.0)
    joints = torch.einsum("bvij,bfpkj->bvfpki", rotation, world) + shift[:, :, None, None, None]
    place = template.blend @ joints
    if template.offset is not None:
        place = place + torch.einsum("bvij,nj->bvni", rotation, template.offset)[:, :, None, None]
    joint_velocity = torch.einsum("bvij,bfpkj->bvfpki", rotation, motion)
    velocity = template.blend @ joint_velocity
    views, moments = rotation.shape[1], world.shape[1]
    valid = (~known).to(dtype) @ template.support.t() == 0  # (B, M, P, N)
    valid = valid[:, None].expand(-1, views, -1, -1, -1)
    tint = depth_colour(place[..., 2], valid)

    batch, view, moment, _, kind = valid.nonzero(as_tuple=True)
    rows = valid.flatten().nonzero().squeeze(1)  # index_select on rows is much cheaper than a mask
    place = place.flatten(0, 4).index_select(0, rows)
    seen = known[:, None, ..., None]
    return Body(
        template=template,
        kind=kind,
        place=place,
        from_origin=place - origin.flatten(0, 1).index_select(0, batch * views + view),
        velocity=velocity.flatten(0, 4).index_select(0, rows),
        radius=radius[batch, kind],
        depth_rgb=tint.flatten(0, 4).index_select(0, rows),
        image=(torch.tensor(members, device=device)[batch] * views + view) * moments + moment,
        rows=rows,
        joints=torch.where(seen, joints - origin[:, :, None, None, None], 0.0),
        joint_velocity=torch.where(seen, joint_velocity, 0.0),
        known=known,
    )


def poses(cameras: Sequence[Camera], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Rotations (B, V, 3, 3), translations (B, V, 3) and origin points (B, V, 3) of cameras with V poses each."""
    rotation = torch.stack([camera.rotation.reshape(-1, 3, 3) for camera in cameras])
    shift = torch.stack([camera.translation.reshape(-1, 3) for camera in cameras])
    origin = torch.stack([camera.origin.reshape(-1, 3) for camera in cameras])
    return rotation.to(device, dtype), shift.to(device, dtype), origin.to(device, dtype)


def depth_colour(depth: Tensor, valid: Tensor) -> Tensor:
    """Colour by relative depth within one person and frame: d near 0, (d, 1 - |2d - 1|, 1 - d).

    Args:
        depth: (..., N) camera z, metres.
        valid: (..., N) bool, Gaussians that exist.

    Returns:
        (..., N, 3) in [0, 1]; finite where nothing is valid. A flat person (lifted 2D) has d = 0.5 all over:
        the formula would magnify rounding errors.
    """
    nearest = torch.where(valid, depth, torch.inf).amin(-1, keepdim=True)
    farthest = torch.where(valid, depth, -torch.inf).amax(-1, keepdim=True)
    nearest = torch.where(valid.any(-1, keepdim=True), nearest, 0.0)
    farthest = torch.where(valid.any(-1, keepdim=True), farthest, 1.0)
    d = ((depth - nearest) / (farthest - nearest + 1e-6)).clamp(0, 1)
    d = torch.where(farthest - nearest < _FLAT_M, 0.5, d)
    return torch.stack([d, 1 - (2 * d - 1).abs(), 1 - d], dim=-1)
