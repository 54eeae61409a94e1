"""A file's numbers (T, P, J, C) -> the record's: joint order, missing joints, units, axes, confidence, times.

Knows no container and no text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import Scale
from skeleton_io.sources.arrays.axes import axes_matrix, describe_axes
from skeleton_io.sources.arrays.definition import SKIP, ArraysDefinition
from skeleton_io.sources.shared.tracks import Track, measure_activity

_METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254, "pixels": 1.0, "normalised": 1.0}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "100ns": 1e-7, "ns": 1e-9}
_STEADY = 0.1
"""Steps in time that differ from the usual one by less than this share are regular capture."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """Positions (T, P, J, C) float32, confidence (T, P, J) or None, and what was done to them."""

    positions: NDArray[np.float32]
    confidence: NDArray[np.float32] | None
    scale: Scale
    image_size: tuple[int, int] | None
    transform: str


def convert(
    d: ArraysDefinition,
    values: NDArray[np.float64],
    confidence: NDArray[np.float64] | None,
    image_size: tuple[int, int] | None,
) -> Values:
    """The record's numbers.

    Args:
        d: the definition.
        values: (T, P, J, C) in the file's order of joints and coordinates.
        confidence: (T, P, J) of an array of its own, or None.
        image_size: width and height, where the definition or the file says.

    Raises:
        ValueError: a tracking state without a level.
    """
    names = d.joints or d.skeleton.joints
    order = [names.index(joint) for joint in d.skeleton.joints]
    values = values[:, :, order]
    if confidence is not None:
        confidence = confidence[:, :, order]
    elif "confidence" in d.coordinates:
        confidence = values[..., d.coordinates.index("confidence")]
    points = values[..., [d.coordinates.index(axis) for axis in "xyz" if axis in d.coordinates]]
    missing = _missing(d, points, confidence)
    points, scale, transform = _place(d, points, image_size)
    points[missing] = np.nan
    with np.errstate(over="raise"):
        positions = np.ascontiguousarray(points, np.float32)
    levels = None if confidence is None else _confidence(d, confidence)
    size = image_size if scale == "pixels" else None
    return Values(positions=positions, confidence=levels, scale=scale, image_size=size, transform=transform)


def _missing(d: ArraysDefinition, points: NDArray[np.float64], confidence: NDArray | None) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_] = np.asarray(np.isnan(points).any(-1))
    if d.missing.zero_joint:
        missing |= (points == 0).all(-1)
    for value in d.missing.values:
        missing |= (points == value).any(-1)
    if d.missing.confidence_at_most is not None and confidence is not None:
        missing |= ~(confidence > d.missing.confidence_at_most)
    return missing


def _place(
    d: ArraysDefinition, points: NDArray[np.float64], image_size: tuple[int, int] | None
) -> tuple[NDArray[np.float64], Scale, str]:
    """Units, offset, axes, image border; and the words for it."""
    size = points.shape[-1]
    scale: Scale = "metric"
    steps = []
    factor = np.ones(size)
    border = np.zeros(size)
    if isinstance(d.units, str):
        factor = factor * _METRES[d.units]
        if d.units == "pixels" or (d.units == "normalised" and image_size is not None and size == 2):
            scale = "pixels"
            border[:2] = image_size or (0, 0)
            factor = factor * (border if d.units == "normalised" else 1.0)
        elif d.units == "normalised":
            scale = "normalised"
            border[:2] = 1.0 if size == 2 else 0.0
    else:
        factor = factor * np.array(d.units, np.float64)
    scaled = points * factor
    if (factor != 1).any():
        steps.append(f"times {_format_numbers(factor)}")
    if d.offset:
        scaled = scaled + np.array(d.offset)
        steps.append(f"plus {_format_numbers(np.array(d.offset))}")
    turn = axes_matrix(d.axes, size, d.handedness, size == 2)
    positions = np.empty_like(scaled)
    for row in range(size):
        column = int(np.flatnonzero(turn[row])[0])
        # Not a matrix product: a coordinate that is missing must not spoil the others, and 1 times x stays x.
        positions[..., row] = scaled[..., column] if turn[row, column] > 0 else border[column] - scaled[..., column]
    if (turn != np.eye(size)).any():
        text = describe_axes(turn)
        for name, edge in zip("xyz", border, strict=False):
            text = text.replace(f"= -{name}", f"= {edge:g} - {name}") if edge else text
        steps.append(text)
    return positions, scale, "; ".join(steps)


def _format_numbers(numbers: NDArray[np.float64]) -> str:
    texts = [f"{number:.6g}" for number in numbers]
    return texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]"


def _confidence(d: ArraysDefinition, raw: NDArray[np.float64]) -> NDArray[np.float32]:
    levels = d.confidence.levels
    if levels is None:
        return np.clip(np.nan_to_num(raw / d.confidence.full, nan=0.0), 0, 1).astype(np.float32)
    table = {float(key): value for key, value in levels.items()}
    result = np.zeros(raw.shape, np.float32)
    for state in np.unique(raw[np.isfinite(raw)]):
        if float(state) not in table:
            raise ValueError(f"tracking states {', '.join(f'{k:g}' for k in table)}, found {state:g}")
        result[raw == state] = table[float(state)]
    return result


def order_persons(
    d: ArraysDefinition, values: Values, ids: tuple[str, ...]
) -> tuple[list[int], tuple[str, ...], tuple[str, ...]]:
    """Which person slots stay and in which order, their identities, and notes.

    A slot in which nobody is ever seen is dropped, as fixed-size arrays pad with them.
    """
    present: NDArray[np.bool_] = np.asarray(np.isfinite(values.positions).all(-1))
    slots = [p for p in range(present.shape[1]) if present[:, p].any()]
    if d.person_order == "activity":
        tracks = {}
        for slot in slots:
            frames = np.flatnonzero(present[:, slot].any(-1))
            tracks[slot] = measure_activity(
                Track(
                    id=str(slot),
                    frames=frames,
                    positions=values.positions[frames, slot].astype(np.float64),
                    confidence=np.zeros((0, 0)),
                )
            )
        slots.sort(key=lambda slot: (-tracks[slot], slot))
    empty = present.shape[1] - len(slots)
    notes = (f"{empty} of {present.shape[1]} person slots dropped: nobody is seen in them",) if empty and slots else ()
    return slots, tuple(ids[slot] for slot in slots) if ids else (), notes


def rate_and_times(
    d: ArraysDefinition, moments: NDArray[np.float64] | None, fps: float | None
) -> tuple[float, NDArray[np.float64] | None]:
    """Rate, and seconds from the first frame where capture was irregular.

    Args:
        d: the definition.
        moments: (T,) in `d.time.unit`, or None.
        fps: what the definition or the file says.

    Raises:
        ValueError: times that do not grow, or no rate.
    """
    if moments is None or d.time is None:
        if fps is None:
            raise ValueError("frames per second, found none")
        return fps, None
    if not np.isfinite(moments).all():
        raise ValueError(f"times, found none in frame {int(np.argmax(~np.isfinite(moments)))}")
    steps = np.diff(moments)
    if (steps <= 0).any():
        frame = int(np.argmax(steps <= 0)) + 1
        raise ValueError(f"times that grow, found {moments[frame]:g} after {moments[frame - 1]:g} in frame {frame}")
    if d.time.unit == "frames":
        if fps is None:
            raise ValueError("frames per second, found none")
        return fps, (moments - moments[0]) / fps if (steps != 1).any() else None
    seconds = (moments - moments[0]) * _SECONDS[d.time.unit]
    if len(steps) == 0:
        if fps is None:
            raise ValueError("two frames or more to take the rate from, found one")
        return fps, None
    steps = np.diff(seconds)
    usual = float(np.median(steps))
    even = bool((np.abs(steps / usual - 1) <= _STEADY).all())
    # Times are often rounded: over all frames that evens out.
    rate = fps if fps is not None else len(steps) / float(seconds[-1]) if even else 1 / usual
    return rate, None if (np.abs(steps * rate - 1) <= _STEADY).all() else seconds


def file_joints(d: ArraysDefinition) -> tuple[str, ...]:
    """Names in the file's order, those to skip included."""
    return d.joints or d.skeleton.joints


def skipped(d: ArraysDefinition) -> int:
    """How many joints of the file are not in the record."""
    return sum(name == SKIP for name in d.joints)
