"""Euler angles, rotation vectors, quaternions -> rotation matrices -> quaternions. Columns, right-handed, radians."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

_AXES = {"X": (1, 2), "Y": (2, 0), "Z": (0, 1)}


def axis_matrices(axis: str, angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations about one axis, (...) radians -> (..., 3, 3). `axis` is "X", "Y" or "Z"."""
    first, second = _AXES[axis]
    matrices = np.zeros((*angles.shape, 3, 3))
    matrices[..., range(3), range(3)] = 1.0
    cos, sin = np.cos(angles), np.sin(angles)
    matrices[..., first, first] = matrices[..., second, second] = cos
    matrices[..., second, first] = sin
    matrices[..., first, second] = -sin
    return matrices


def euler_matrices(order: str, angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Product of axis rotations in the order given: "ZXY" -> Rz Rx Ry (intrinsic, as BVH channels are meant).

    Args:
        order: axes, any number of them, repeats allowed.
        angles: (..., len(order)) radians.

    Returns:
        (..., 3, 3); the identity for an empty order.
    """
    product = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    for place, axis in enumerate(order):
        product = product @ axis_matrices(axis, angles[..., place])
    return product


def matrices_of_quaternions(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 4) quaternions wxyz of any length but 0 -> (..., 3, 3).

    Raises:
        ValueError: a quaternion of length 0, or none at all (NaN, infinity).
    """
    length = np.linalg.norm(turns, axis=-1, keepdims=True)
    if not (np.isfinite(length) & (length > 1e-12)).all():
        raise ValueError("a quaternion is 0, NaN or infinite")
    w, x, y, z = np.moveaxis(turns / length, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def vector_matrices(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation vectors (axis times angle, finite), (..., 3) -> (..., 3, 3)."""
    # scipy's is five times as fast here; its Euler angles and quaternions are slower than the forms of this file.
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape, 3)


def quaternions(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3, 3) -> (..., 4) unit quaternions wxyz with w >= 0.

    The largest of the four components is taken from the diagonal and the others from it, which stays accurate near
    half turns (Shepperd, 1978).
    """
    m = matrices
    diagonal = m[..., range(3), range(3)]
    trace = diagonal.sum(-1)
    squares = np.stack([1 + trace, *np.moveaxis(1 + 2 * diagonal - trace[..., None], -1, 0)], -1)
    skew = np.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
    sums = np.stack([m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]], -1)
    xy, xz, yz = np.moveaxis(sums, -1, 0)
    sx, sy, sz = np.moveaxis(skew, -1, 0)
    # Row i holds 4 q_i q_j for all j; the row of the largest component is divided by its own root.
    rows = np.stack(
        [
            np.stack([squares[..., 0], sx, sy, sz], -1),
            np.stack([sx, squares[..., 1], xy, xz], -1),
            np.stack([sy, xy, squares[..., 2], yz], -1),
            np.stack([sz, xz, yz, squares[..., 3]], -1),
        ],
        -2,
    )
    largest = squares.argmax(-1)
    row = np.take_along_axis(rows, largest[..., None, None], -2)[..., 0, :]
    unit = row / np.linalg.norm(row, axis=-1, keepdims=True)
    return np.where(unit[..., :1] < 0, -unit, unit)
