"""2D joints -> a plane in metres, so that a Gaussian's radius means the same for pixels as for metric data.

Guesses no depth: the figure stays flat, upright and facing the sensor. Differentiable, scale and centre included.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.draction.template import SkeletonSpec

TORSO_M = 0.5
"""Shoulder middle to hip middle of an adult, metres."""
HEIGHT_M = 1.7
"""Extent of the visible figure assumed where the torso is not seen, metres."""
PLANE_M = 2.5
"""Depth of the plane, metres: where the paper puts data without a depth of its own."""


def metric_scale(positions: Tensor, spec: SkeletonSpec) -> Tensor:
    """Metres per unit of `positions`: median torso length brought to TORSO_M, else median figure height to HEIGHT_M.

    Args:
        positions: (T, P, J, 2 or 3) in any unit, y up, NaN = missing.
        spec: names of the joints.

    Returns:
        () float64, positive; 1 where nothing is seen or everything coincides.
    """
    torso = _middle(positions, spec, "shoulder") - _middle(positions, spec, "hip")
    length = _median(torso.norm(dim=-1))
    if float(length) > 0:
        return TORSO_M / length
    height = positions[..., 1]
    known = torch.isfinite(height)
    top = torch.where(known, height, -torch.inf).amax(-1)
    bottom = torch.where(known, height, torch.inf).amin(-1)
    length = _median((top - bottom)[known.any(-1)])
    return HEIGHT_M / length if float(length) > 0 else torch.ones_like(length)


def lift_2d(positions: Tensor, spec: SkeletonSpec) -> Tensor:
    """Put 2D joints on a plane PLANE_M before the sensor, scaled to metres and centred.

    Args:
        positions: (T, P, J, 2), x towards the image's left, y up, any unit (pixels), NaN = missing.
        spec: names of the joints.

    Returns:
        (T, P, J, 3) metres, float32 (float64 for float64), NaN where the input is.

    Raises:
        ValueError: the last axis is not 2.
    """
    if positions.shape[-1] != 2:
        raise ValueError(f"lift_2d: expected positions (T, P, J, 2), found {tuple(positions.shape)}")
    missing = ~torch.isfinite(positions).all(-1, keepdim=True)
    flat = positions if positions.dtype == torch.float64 else positions.float()
    flat = flat.masked_fill(missing, torch.nan)
    centre = flat.flatten(0, 2).nanmedian(0).values.nan_to_num(0.0)
    plane = torch.full_like(flat[..., :1], PLANE_M).masked_fill(missing, torch.nan)
    return torch.cat([(flat - centre) * metric_scale(flat, spec), plane], dim=-1)


def _middle(positions: Tensor, spec: SkeletonSpec, part: str) -> Tensor:
    """(T, P, C) middle of left and right; NaN where the skeleton or the frame lacks both."""
    found = [j for j in (spec.index(f"left_{part}"), spec.index(f"right_{part}")) if j is not None]
    if not found:
        return torch.full_like(positions[:, :, 0], torch.nan)
    return positions[:, :, found].nanmean(2)


def _median(values: Tensor) -> Tensor:
    """() float64, median of the finite values; 0 where there are none."""
    values = values[torch.isfinite(values)].double()
    return values.median() if values.numel() else values.new_zeros(())
