"""What the distances between joints say about an unknown array. Numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def measure_distances(frames: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean distance of each pair of joints over (T, J, C) frames, and its standard deviation as a share of it."""
    some = frames[:: max(1, len(frames) // 40)]
    gaps = np.linalg.norm(some[:, :, None] - some[:, None], axis=-1)
    mean = gaps.mean(0)
    return mean, gaps.std(0) / np.maximum(mean, 1e-9)
