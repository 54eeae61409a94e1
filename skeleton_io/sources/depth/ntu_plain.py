"""Bytes of a well-formed NTU `.skeleton` file -> the numbers of every body, without a Python object per number.

For files in which every line holds what it should; None for all others, which the reader of `ntu` takes line by line
and says what is wrong. Both give the same numbers to the last bit. Makes no record.

Only headers are looked at one by one. Of the joints' lines numpy finds all gaps at once, and Arrow converts the tokens
where they stand: an array of strings needs only offsets into the bytes, in which every second entry (what lies
between two wanted tokens) is null and skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_HEADER, _JOINT = 10, 12  # tokens of a body's header and of a joint
_JOINTS = 25
_MOST_FRAMES = 1_000_000
_BODIES = {f"{count}{end}": count for count in range(7) for end in ("", "\r")}  # a line with a number of bodies
_COUNT = (f"{_JOINTS}", f"{_JOINTS}\r")
_WANTED = np.array([0, 1, 2, 7, 8, 9, 10])  # x y z and w x y z of a joint; the pixels between are not read
_BLOCK = 80  # bodies converted in one go: arrays that malloc keeps, instead of new pages from the kernel each time


@dataclass(frozen=True)
class Bodies:
    """All bodies of all frames, in the order of the file; n of them.

    Attributes:
        frames: number of frames of the clip.
        ids: n body ids.
        frame: (n,) frame of each.
        values: (n, 25, 7) x y z and the orientation's w x y z.
        states: (n, 25) tracking states 0 to 2.
    """

    frames: int
    ids: tuple[str, ...]
    frame: NDArray[np.int64]
    values: NDArray[np.float64]
    states: NDArray[np.uint8]


def decode(data: bytes) -> Bodies | None:
    """The file's bodies, at least one; None if a line is not as it should be."""
    if not data.isascii():
        return None
    whole = data if data.endswith(b"\n") else data + b"\n"
    headers = _headers(whole)
    if headers is None or not headers[1]:
        return None
    frames, ids, frame, blocks = headers
    values = np.empty((len(ids), _JOINTS, len(_WANTED)))
    states = np.empty((len(ids), _JOINTS), np.uint8)
    for start in range(0, len(ids), _BLOCK):
        part = slice(start, start + _BLOCK)
        if not _fill(b"".join([whole[begin:end] for begin, end in blocks[part]]), values[part], states[part]):
            return None
    return Bodies(frames=frames, ids=tuple(ids), frame=np.array(frame), values=values, states=states)


def _headers(data: bytes) -> tuple[int, list[str], list[int], list[tuple[int, int]]] | None:
    """Number of frames; of each body id, frame, and where its joints' lines begin and end."""
    breaks, text = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).tolist(), data.decode("ascii")
    first = text[: breaks[0]].strip()
    if not (first.isdigit() and len(first) < 8 and int(first) <= _MOST_FRAMES):
        return None
    frames, line, last = int(first), 0, len(breaks) - 1
    ids, of_frame, blocks = list[str](), list[int](), list[tuple[int, int]]()
    for frame in range(frames):
        line += 1
        bodies = _BODIES.get(text[breaks[line - 1] + 1 : breaks[line]]) if line <= last else None
        if bodies is None or line + bodies * (_JOINTS + 2) > last:
            return None
        for _ in range(bodies):
            end, count_end = breaks[line + 1], breaks[line + 2]
            header = text[breaks[line] + 1 : end].split()
            if len(header) != _HEADER or text[end + 1 : count_end] not in _COUNT:
                return None
            line += _JOINTS + 2
            ids.append(header[0])
            of_frame.append(frame)
            blocks.append((count_end + 1, breaks[line] + 1))
        if bodies > 1 and len(set(ids[-bodies:])) < bodies:
            return None
    return frames, ids, of_frame, blocks


def _fill(text: bytes, values: NDArray[np.float64], states: NDArray[np.uint8]) -> bool:
    """Numbers of joints' lines into (n, 25, 7) and (n, 25); False if a line is not twelve numbers and single gaps."""
    letters, lines = np.frombuffer(text, np.uint8), len(values) * _JOINTS
    returns = int(b"\r" in text)
    gaps = np.flatnonzero(letters <= ord(" "))
    if gaps.size != lines * (_JOINT + returns):
        return False
    # With this count and the places of the others, no gap is anything else.
    spaces = int(np.count_nonzero(letters == ord(" ")))
    ends = gaps.reshape(lines, _JOINT + returns)
    if spaces != lines * (_JOINT - 1) or (letters[ends[:, -1]] != ord("\n")).any():
        return False
    if returns and ((ends[:, -1] - ends[:, -2] != 1).any() or (letters[ends[:, -2]] != ord("\r")).any()):
        return False
    # (lines, 7, 2) where each wanted token begins and ends.
    offsets = np.empty((lines, len(_WANTED), 2), np.int32)
    offsets[..., 1] = np.take(ends, _WANTED, 1)
    offsets[0, 0, 0], offsets[1:, 0, 0] = 0, ends[:-1, -1] + 1
    offsets[:, 1:, 0] = np.take(ends, _WANTED[1:] - 1, 1) + 1
    numbers = _floats(text, offsets)
    last = ends[:, _JOINT - 1]
    states[:] = (letters[last - 1] - ord("0")).reshape(states.shape)  # what is below "0" wraps around
    if numbers is None or (last - ends[:, _JOINT - 2] != 2).any() or (states > 2).any():
        return False
    values[:] = numbers.reshape(values.shape)
    return True


def _floats(text: bytes, tokens: NDArray[np.int32]) -> NDArray[np.float64] | None:
    """Values of the tokens between pairs of offsets, correctly rounded; None where one is no finite number."""
    size = tokens.size
    offsets = np.append(tokens.reshape(-1), tokens.flat[-1])
    valid = np.full((size + 7) // 8, 0b01010101, np.uint8)
    buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(text)]
    try:
        cast = pa.Array.from_buffers(pa.string(), size, buffers).cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    values = np.frombuffer(cast.buffers()[1], np.float64)[:size:2]
    return values if np.isfinite(values).all() else None
