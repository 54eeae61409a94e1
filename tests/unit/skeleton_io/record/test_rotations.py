"""rotations: rotation vectors against Rodrigues' formula; Euler angles and quaternions are in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest

from skeleton_io.record.rotations import vector_matrices


def rodrigues(vector: np.ndarray) -> np.ndarray:
    """1 + sin(a) K + (1 - cos(a)) K K with K the cross product matrix of the axis."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / angle if angle else np.zeros(3)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-12, 1e-6, 1e-3, 1.0, np.pi, 7.0, 1e3])
def test_rotation_vectors_of_any_length(size: float):
    axes = np.random.default_rng(0).normal(size=(4, 5, 3))
    vectors = size * axes / np.linalg.norm(axes, axis=-1, keepdims=True)
    matrices = vector_matrices(vectors)
    assert matrices.shape == (4, 5, 3, 3)
    expected = np.array([[rodrigues(vector) for vector in row] for row in vectors])
    np.testing.assert_allclose(matrices, expected, rtol=0, atol=1e-12)
