"""Bytes of a well-formed NTU `.skeleton` file -> the numbers of every body, all at once.

For files in which every line holds what it should; None for all others, which the reader of `ntu` takes line by line
and says what is wrong. Both give the same numbers to the last bit. Makes no record.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skeleton_io.sources.number_text import Tokens, scan

_HEADER, _JOINT = 10, 12  # tokens of a body's header and of a joint
_JOINTS = 25
_MOST_BODIES = 6
_VALUES = 7
_BLOCK = 64  # bodies converted in one go: arrays that malloc keeps instead of giving them back each time
_WHERE, _TURN, _STATE = slice(0, 3), slice(7, 11), 11  # columns of a joint; the pixels between are not read


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
    tokens = scan(data)
    layout = None if tokens is None else _layout(tokens)
    if tokens is None or layout is None:
        return None
    bodies = len(layout.joints)
    values = np.empty((bodies, _JOINTS, _VALUES))
    states = np.empty((bodies, _JOINTS), np.uint8)
    for block in (slice(start, start + _BLOCK) for start in range(0, bodies, _BLOCK)):
        if not _fill(tokens, layout.joints[block], values[block], states[block]):
            return None
    ids = tuple(tokens.texts(layout.headers))
    if len(set(zip(ids, layout.frame.tolist(), strict=True))) < len(ids):
        return None
    return Bodies(frames=layout.frames, ids=ids, frame=layout.frame, values=values, states=states)


def _fill(tokens: Tokens, joints: NDArray[np.int64], values: NDArray[np.float64], states: NDArray[np.uint8]) -> bool:
    """Numbers of some bodies into their places; False where one is no number or no tracking state."""
    first = joints[:, None] + np.arange(_JOINTS * _JOINT)
    places = tokens.bounds[first].reshape(-1, _JOINTS, _JOINT)
    state = tokens.digits(first[:, _STATE::_JOINT])
    found = tokens.floats(np.concatenate([places[..., _WHERE], places[..., _TURN]], -1))
    if state is None or (state > 2).any() or found is None:
        return False
    values[:], states[:] = found, state
    return True


@dataclass(frozen=True)
class _Layout:
    """Of n bodies: frame, first token of the header, first token of the joints; and the number of frames."""

    frame: NDArray[np.int64]
    headers: NDArray[np.int64]
    joints: NDArray[np.int64]
    frames: int


def _layout(tokens: Tokens) -> _Layout | None:
    opens = np.flatnonzero(tokens.opens)
    if tokens.lines != len(opens) - 1:  # a line without a token
        return None
    lengths = np.diff(opens, append=len(tokens.opens))
    headers = np.flatnonzero(lengths == _HEADER)
    single = lengths == 1
    if not len(headers) or headers[-1] + 1 + _JOINTS >= len(opens):
        return None
    # Blocks cannot overlap: a header's line is none of a joint.
    rows = lengths[headers[:, None] + 2 + np.arange(_JOINTS)] == _JOINT
    if not (single[headers + 1].all() and rows.all() and _are_25(tokens, opens[headers + 1])):
        return None
    if np.count_nonzero(single) + len(headers) * (1 + _JOINTS) != len(opens):
        return None
    single[headers + 1] = False
    counts = np.flatnonzero(single)  # the number of frames, then each frame's number of bodies
    (first,) = tokens.texts(np.zeros(1, np.int64))
    if counts[0] != 0 or not (len(first) <= 7 and first.isdigit() and int(first) == len(counts) - 1):
        return None
    bodies = tokens.digits(opens[counts[1:]])
    found = np.diff(np.searchsorted(headers, np.append(counts[1:], len(opens))))
    if bodies is None or (bodies > _MOST_BODIES).any() or not np.array_equal(bodies, found):
        return None
    frame = np.repeat(np.arange(len(bodies)), bodies)
    return _Layout(frame=frame, headers=opens[headers], joints=opens[headers + 2], frames=len(bodies))


def _are_25(tokens: Tokens, places: NDArray[np.int64]) -> bool:
    """Whether every one of these tokens is the number of joints."""
    offsets = tokens.offsets(places)
    if (np.diff(offsets) != 2).any():
        return False
    digits = tokens.bytes[offsets[:, :1] + np.arange(2)]
    return bool((digits == (ord("2"), ord("5"))).all())
