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


def matrix(
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
    found = np.zeros((size, size))
    if axes is None:
        found = np.eye(size)
        if image:
            found[0, 0] = found[1, 1] = -1
        elif handedness == "left":
            raise ValueError("a left-handed file needs its axes named")
        return found
    if set(axes) & _SENSOR and set(axes) & _WORLD:
        raise ValueError(f"sensor and world directions are mixed: {', '.join(axes)}")
    for direction, text in axes.items():
        row, sign = _DIRECTIONS[direction]
        column = "xyz".index(text[-1])
        if row >= size or column >= size:
            raise ValueError(f"{direction}: {text} in {size} dimensions")
        if found[row].any() or found[:, column].any():
            raise ValueError(f"{direction}: {text} after that direction or axis was named already")
        found[row, column] = sign * (-1 if text.startswith("-") else 1)
    return _completed(found, 1.0 if handedness == "right" else -1.0, set(axes))


def _completed(found: NDArray[np.float64], hand: float, named: set[str]) -> NDArray[np.float64]:
    """Fills the rows that no direction names so that the determinant is `hand`."""
    size = len(found)
    free = [row for row in range(size) if not found[row].any()]
    left = [column for column in range(size) if not found[:, column].any()]
    if not free:
        if size == 3 and not named & _WORLD and not named & _SENSOR:
            raise ValueError("name left or image_left")
        if size == 3 and np.linalg.det(found) * hand < 0:
            raise ValueError("the three directions are of the other handedness; say handedness: left (or right)")
        return found
    if not found[1].any():
        raise ValueError("up (or down) has to be named")
    if size == 2:
        found[0, left[0]] = -1.0  # images run to the right
        return found
    if len(free) == 2:  # only up: y and x stay where they can; an axis that points down is a camera's, with z ahead
        column = int(np.flatnonzero(found[1])[0])
        if column == 1 and found[1, 1] < 0:
            found[2, 2] = 1.0
        elif column == 2:
            found[0, 0] = 1.0
        else:
            found[2, 2] = 1.0 if column == 0 or found[1, 1] > 0 else -1.0
        free = [row for row in range(size) if not found[row].any()]
        left = [c for c in range(size) if not found[:, c].any()]
    found[free[0], left[0]] = 1.0
    if np.linalg.det(found) * hand < 0:
        found[free[0], left[0]] = -1.0
    return found


def words(turn: NDArray[np.float64]) -> str:
    """The matrix as text: "x = -x, y = z, z = y"."""
    parts = []
    for row, name in zip(turn, "xyz", strict=False):
        column = int(np.flatnonzero(row)[0])
        parts.append(f"{name} = {'-' if row[column] < 0 else ''}{'xyz'[column]}")
    return ", ".join(parts)
