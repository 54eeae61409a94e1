"""Spheres in camera space -> ellipses in the image: the geometry that both rasterisers share.

Camera space has x to the right, y up, z into the scene, metres. Pixel centres lie at integers, u to the right, v down.
Does not sort, cut or composite.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NEAR_M = 0.05
"""Centres nearer than this (or behind the camera) are not drawn: the linearised projection means nothing there."""
STEEPEST = 20.0
"""Largest |x/z| and |y/z| that is drawn (87 degrees off the axis), for the same reason."""
COVARIANCE_FLOOR_PX2 = 1e-5
"""Added to the diagonal of the projected covariance, as in the authors' release."""


@dataclass(frozen=True, eq=False)
class Raster:
    """The images to draw.

    Attributes:
        focal: (I,) pixels, one per image.
        cx: (I,) principal point, pixels.
        cy: (I,) principal point, pixels.
        height: rows.
        width: columns.
        blur_px: standard deviation of the screen-space blur, pixels.
    """

    focal: Tensor
    cx: Tensor
    cy: Tensor
    height: int
    width: int
    blur_px: float

    @property
    def images(self) -> int:
        """I."""
        return self.focal.shape[0]


@dataclass(frozen=True, eq=False)
class Splats:
    """Ellipses: w(p) = exp(-0.5 (p - c)^T Q (p - c)) at pixel p.

    Attributes:
        conic: (G, 5) u, v, Q_uu, Q_uv, Q_vv.
        spread: (G, 2) standard deviation along u and v, pixels.
        visible: (G,) bool, before the near plane and not beside the camera.
    """

    conic: Tensor
    spread: Tensor
    visible: Tensor


def project(means_cam: Tensor, radius: Tensor, image_index: Tensor, raster: Raster) -> Splats:
    """EWA projection of isotropic Gaussians: Sigma = J (s^2 I) J^T + (floor + blur^2) I.

    Written out for the pinhole J = [[f/z, 0, -f x/z^2], [0, -f/z, f y/z^2]], so that the determinant needs no
    difference of large numbers.

    Args:
        means_cam: (G, 3) metres.
        radius: (G,) standard deviations, metres.
        image_index: (G,) which image each belongs to.
    """
    fixed = means_cam.detach()
    visible = (fixed[:, 2] > NEAR_M) & (fixed[:, :2].abs().amax(1) < STEEPEST * fixed[:, 2])
    # A safe place for the others, so that gradients stay finite.
    x, y, z = torch.where(visible[:, None], means_cam, means_cam.new_tensor([0.0, 0.0, 1.0])).unbind(-1)
    focal = raster.focal[image_index]
    slope_x, slope_y, scale = x / z, y / z, focal / z
    u = focal * slope_x + raster.cx[image_index]
    v = raster.cy[image_index] - focal * slope_y
    area = (scale * radius) ** 2
    floor = COVARIANCE_FLOOR_PX2 + raster.blur_px**2
    xx, yy = slope_x**2, slope_y**2
    s_uu = area * (1 + xx) + floor
    s_vv = area * (1 + yy) + floor
    det = area**2 * (1 + xx + yy) + area * floor * (2 + xx + yy) + floor**2
    # Sigma_uv = -area * slope_x * slope_y; the inverse flips its sign again.
    conic = torch.stack([u, v, s_vv / det, area * slope_x * slope_y / det, s_uu / det], dim=-1)
    return Splats(conic=conic, spread=torch.stack([s_uu, s_vv], -1).detach().sqrt(), visible=visible)
