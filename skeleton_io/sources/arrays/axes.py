"""Directions of a file's axes -> the matrix that turns its coordinates into the record's. Numpy only.

The record: +x towards the image's left, +y up, +z into the scene for a sensor; +y up with a person who usually faces
+z, whose left is then +x, for a world.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIRECTIONS = {
    "up": (1, 1),
    "down": (1, -1),
    "image_left": (0, 1),
    "image_right": (0, -1),
    "away": (2, 1),
    "towards": (2, -1),
    "left": (0, 1),
    "right": (0, -1),
    "forward": (2, 1),
    "backward": (2, -1),
}
"""Direction -> (axis of the record, sign)."""
_SENSOR = {"image_left", "image_right", "away", "towards"}
_WORLD = {"left", "right", "forward", "backward"}


def axes_matrix(
    axes: Mapping[Any, str] | None, size: int, handedness: str = "right", image: bool = False
) -> NDArray[np.float64]:
    """(size, size) signed permutation M: record = M @ file.

    Args:
        axes: direction -> signed file axis ("x", "-z"); None: the record's own, or those of an image.
        size: 2 or 3 coordinates.
        handedness: of the file's axes, "right" or "left"; completes what is not named.
        image: without `axes` x runs right and y down.

    Raises:
        ValueError: directions that contradict each other.
    """
    matrix = np.zeros((size, size))
    if axes is None:
        matrix = np.eye(size)
        if image:
            matrix[0, 0] = matrix[1, 1] = -1
        elif handedness == "left":
            raise ValueError("a left-handed file needs its axes named")
        return matrix
    if set(axes) & _SENSOR and set(axes) & _WORLD:
        raise ValueError(f"sensor and world directions are mixed: {', '.join(axes)}")
    for direction, text in axes.items():
        row, sign = _DIRECTIONS[direction]
        column = "xyz".index(text[-1])
        if row >= size or column >= size:
            raise ValueError(f"{direction}: {text} in {size} dimensions")
        if matrix[row].any() or matrix[:, column].any():
            raise ValueError(f"{direction}: {text} after that direction or axis was named already")
        matrix[row, column] = sign * (-1 if text.startswith("-") else 1)
    return _complete(matrix, 1.0 if handedness == "right" else -1.0, set(axes))


def _complete(matrix: NDArray[np.float64], hand: float, directions: set[str]) -> NDArray[np.float64]:
    """Fills the rows that no direction names so that the determinant is `hand`."""
    size = len(matrix)
    free_rows = [row for row in range(size) if not matrix[row].any()]
    free_columns = [column for column in range(size) if not matrix[:, column].any()]
    if not free_rows:
        if size == 3 and not directions & _WORLD and not directions & _SENSOR:
            raise ValueError("name left or image_left")
        if size == 3 and np.linalg.det(matrix) * hand < 0:
            raise ValueError("the three directions are of the other handedness; say handedness: left (or right)")
        return matrix
    if not matrix[1].any():
        raise ValueError("up (or down) has to be named")
    if size == 2:
        matrix[0, free_columns[0]] = -1.0  # images run to the right
        return matrix
    if (
        len(free_rows) == 2
    ):  # only up: y and x stay where they can; an axis that points down is a camera's, with z ahead
        column = int(np.flatnonzero(matrix[1])[0])
        if column == 1 and matrix[1, 1] < 0:
            matrix[2, 2] = 1.0
        elif column == 2:
            matrix[0, 0] = 1.0
        else:
            matrix[2, 2] = 1.0 if column == 0 or matrix[1, 1] > 0 else -1.0
        free_rows = [row for row in range(size) if not matrix[row].any()]
        free_columns = [c for c in range(size) if not matrix[:, c].any()]
    matrix[free_rows[0], free_columns[0]] = 1.0
    if np.linalg.det(matrix) * hand < 0:
        matrix[free_rows[0], free_columns[0]] = -1.0
    return matrix


def describe_axes(turn: NDArray[np.float64]) -> str:
    """The matrix as text: "x = -x, y = z, z = y"."""
    parts = []
    for row, name in zip(turn, "xyz", strict=False):
        column = int(np.flatnonzero(row)[0])
        parts.append(f"{name} = {'-' if row[column] < 0 else ''}{'xyz'[column]}")
    return ", ".join(parts)
