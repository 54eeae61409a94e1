"""npy, npz, mat and json files of unknown content -> the arrays in them that may be coordinates, by path.

Knows containers and names, not layouts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io.describe.body import CHECK, Guess
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.sources.arrays.content import as_array, pick
from skeleton_io.sources.shared.files import SourceFile

AXES = {"x": "x", "y": "y", "z": "z"} | dict.fromkeys(
    ("confidence", "score", "visibility", "likelihood", "c", "prob", "probability", "conf"), "confidence"
)
"""Names of numbers of a joint, lower case -> coordinates of a definition."""
TEXT_NAMES = {
    "label": ("label", "action", "class", "activity", "category", "label_name", "action_name"),
    "subject": ("subject", "performer", "actor", "participant", "subject_id"),
    "view": ("view", "camera", "cam", "camera_id"),
}
_FPS = ("fps", "frame_rate", "framerate", "mocap_framerate", "mocap_frame_rate", "sampling_rate", "rate", "frequency")
TIMES = ("time", "times", "timestamp", "timestamps", "t", "seconds", "time_s", "time_ms", "timestamp_ms", "time_us")
_PREFERRED = ("joint", "keypoint", "skel", "pos", "pose", "body", "landmark", "coord", "kp", "xyz")
_FEWEST = 5
"""Joints; an object with fewer entries is no skeleton by joint."""
_DEEPEST = 6
"""Levels looked into: frames, people, joints and axes are four, and a wrapper or two."""
_MOST_CLIPS = 500


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to get numbers out of the files.

    Attributes:
        fields: of the definition, with their reasons.
        arrays: one per clip looked at; with `fixed` they are (T, P, J, C) already.
        names: of the joints, as the file spells them.
        axes: coordinates of the definition, where names tell them.
        bonus: what names speak for it; higher is better.
    """

    fields: dict[str, Guess]
    arrays: tuple[NDArray[np.float64], ...]
    fixed: bool = False
    names: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    bonus: float = 0.0


@dataclass(frozen=True)
class _Path:
    text: str
    joints: tuple[str, ...] = ()
    axes: tuple[str, ...] = field(default=())


def read_trees(files: Sequence[SourceFile], contents: Sequence[Any]) -> list[Reading]:
    """Readings of decoded files.

    Args:
        files: for the errors.
        contents: what `open_content` gave for each.
    """
    shared = _shared_fields(contents)
    readings = []
    clips = _many_clips(contents[0])
    if clips:
        reason = f"{len(contents[0])} arrays that differ in their first length only: a clip each"
        readings.append(
            Reading(fields={"clips": Guess({"names": ".*"}, reason), **shared}, arrays=tuple(clips), bonus=1)
        )
    for path in _paths(contents[0], "", (), (), 0):
        arrays = []
        for file, content in zip(files, contents, strict=True):
            try:
                value = pick(file, content, path.text, path.joints, path.axes) if path.text else content
                arrays.append(as_array(file, value, path.text or "whole file"))
            except SkeletonFormatError:
                break
        if len(arrays) < len(files) or any(a.size == 0 or not 2 <= a.ndim <= 5 for a in arrays):
            continue
        if len({a.ndim for a in arrays}) > 1:
            continue
        read: dict[str, Any] = {"key": path.text} if path.text else {}
        axes = tuple(AXES[axis.casefold()] for axis in path.axes)
        if path.joints:
            read["joint_names"] = list(path.joints)
        if path.axes and axes != path.axes:
            read["axis_names"] = list(path.axes)
        fields = dict(shared)
        if read:
            fields["read"] = Guess(read, f"numbers {arrays[0].shape} at {path.text}")
        likely_name = any(word in path.text.casefold() for word in _PREFERRED)
        readings.append(
            Reading(
                fields=fields, arrays=tuple(arrays), names=path.joints, axes=axes, bonus=1.0 if likely_name else 0.0
            )
        )
    return readings


def _paths(value: Any, prefix: str, joints: tuple[str, ...], axes: tuple[str, ...], depth: int) -> Iterator[_Path]:
    """Paths of everything that is an array of numbers."""
    if depth > _DEEPEST:
        return
    if isinstance(value, np.ndarray) or _numeric(value):
        yield _Path(prefix, joints, axes)
    elif isinstance(value, list) and value and isinstance(value[0], dict | list):
        yield from _paths(value[0], f"{prefix}[*]", joints, axes, depth + 1)
    elif isinstance(value, dict) and value:
        keys = [str(key) for key in value]
        first = next(iter(value.values()))
        if {"x", "y"} <= {k.casefold() for k in keys} <= set(AXES) and not axes:
            yield _Path(_join_path(prefix, "{axis}"), joints, tuple(keys))
        elif len(keys) >= _FEWEST and not joints and _alike(list(value.values())):
            if _numeric(first):
                yield _Path(_join_path(prefix, "{joint}"), tuple(keys), axes)
            else:
                yield from _paths(first, _join_path(prefix, "{joint}"), tuple(keys), axes, depth + 1)
        else:
            for key in keys:
                if not set(key) & set(".[]{}"):
                    yield from _paths(value[key], _join_path(prefix, key), joints, axes, depth + 1)


def _join_path(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _numeric(value: Any) -> bool:
    """Whether nested lists end in numbers (or null)."""
    depth = 0
    while isinstance(value, list) and value and depth < _DEEPEST:
        value, depth = value[0], depth + 1
    return depth > 0 and isinstance(value, int | float | None) and not isinstance(value, bool)


def _alike(values: list[Any]) -> bool:
    if all(isinstance(value, dict) for value in values):
        return len({tuple(value) for value in values}) == 1
    # A frame's joint has 2 to 7 numbers; a joint of its own has frames of them.
    return all(_numeric(value) for value in values) and len({np.shape(value) for value in values}) == 1


def _many_clips(content: Any) -> list[NDArray[np.float64]]:
    """Arrays of a file of clips by name: alike but for the first length."""
    if not isinstance(content, dict) or not len(content) >= 2:
        return []
    values = list(content.values())
    if not all(isinstance(v, np.ndarray) and v.dtype.kind in "fiu" and 2 <= v.ndim <= 4 for v in values):
        return []
    if len({v.shape[1:] for v in values}) > 1 or len({v.shape[0] for v in values}) < 2:
        return []
    return [v.astype(np.float64) for v in values[:8]]


def _shared_fields(contents: Sequence[Any]) -> dict[str, Guess]:
    """fps, label, subject and view that stand beside the coordinates."""
    fields: dict[str, Guess] = {}
    for content in contents:
        if not isinstance(content, dict):
            return {}
    first = contents[0]
    for key, value in first.items():
        plain = value.reshape(-1)[0].item() if isinstance(value, np.ndarray) and value.size == 1 else value
        name = str(key).casefold()
        if not all(key in content for content in contents):
            continue
        if name in _FPS and isinstance(plain, int | float) and 0 < plain < 1e6:
            fields["fps"] = Guess({"key": key}, f"the file says {plain:g}")
        for text, names in TEXT_NAMES.items():
            if name in names and isinstance(plain, str | int) and text not in fields:
                fields[text] = Guess({"key": key}, f"the file says {str(plain)[:40]!r}")
        if name in TIMES and np.ndim(value) == 1 and np.size(value) > 2:
            unit = guess_time_unit(name, np.asarray(value, np.float64))
            if unit is not None:
                fields["time"] = Guess({"key": key, "unit": unit.value}, unit.reason)
    return fields


def guess_time_unit(name: str, values: NDArray[np.float64]) -> Guess | None:
    """Unit of growing times by what the step would be; None where they do not grow."""
    steps = np.diff(values[np.isfinite(values)])
    if not len(steps) or (steps <= 0).any():
        return None
    step = float(np.median(steps))
    for ending, unit in (("_ms", "ms"), ("_us", "us"), ("_ns", "ns"), ("_s", "s")):
        if name.endswith(ending):
            return Guess(unit, f"its name, and a step of {step:g}")
    if (steps == 1).all() and values[0] == int(values[0]):
        return Guess("frames", "it grows by one")
    for unit, second in (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("100ns", 1e7), ("ns", 1e9)):
        # Capture runs at a few to some hundred frames per second.
        if 4 <= second / step <= 600:
            return Guess(unit, f"a step of {step:.6g} is {second / step:.4g} frames per second in {unit}")
    whole = bool((steps == np.rint(steps)).all())
    return Guess("frames", f"{CHECK}it grows by whole numbers, {step:g} at a time") if whole else None
