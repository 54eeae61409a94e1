"""Text of plain numbers -> where its tokens lie, and the values of any of them, without a Python object per token.

Arrow converts the tokens where they stand: an array of strings needs only offsets into the file's bytes, in which
every second entry (what lies between two wanted tokens) is null and skipped. What is not plain ASCII numbers is left
to the caller's slower code, which can say what is wrong with it. Knows no format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_MOST_BYTES = 2**31 - 1  # Arrow's offsets are 32-bit
_LINE, _SPACE = b"\n "
_BLOCK = 1 << 16  # bytes looked at in one go: what stays in the processor's cache, and below malloc's own pages


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of a text in their order; n of them.

    Attributes:
        data: the text.
        bytes: the same, as (size,) uint8.
        bounds: (n,) a token's offsets as one number: what `offsets` takes apart.
        opens: (n,) whether the token is the first of its line.
        lines: number of line breaks before the last token.
    """

    data: bytes
    bytes: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    opens: NDArray[np.bool_]
    lines: int

    def offsets(self, places: NDArray[np.integer]) -> NDArray[np.int32]:
        """(..., 2) first byte of each token, and the byte behind its last."""
        return self.bounds[places][..., None].view(np.int32)

    def texts(self, places: NDArray[np.integer]) -> list[str]:
        """Some tokens, (m,)."""
        return [self.data[start:end].decode("ascii") for start, end in self.offsets(places).tolist()]

    def digits(self, places: NDArray[np.integer]) -> NDArray[np.uint8] | None:
        """Values of tokens that are one digit each, in the shape of `places`; None where one is not."""
        offsets = self.offsets(places)
        values = self.bytes[offsets[..., 0]] - ord("0")  # what lies below "0" wraps around
        return values if (np.diff(offsets) == 1).all() and (values <= 9).all() else None

    def floats(self, places: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Values, correctly rounded, in the shape of `places`; None where one is no finite number.

        Args:
            places: `bounds` of the wanted tokens, in their order.
        """
        count = places.size
        offsets = np.empty(2 * count + 2, np.int32)
        offsets.view(np.int64)[:count] = places.reshape(-1)
        valid = np.full((2 * count + 7) // 8, 0b01010101, np.uint8)
        if count:
            offsets[-2] = offsets[-3]
        buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(self.data)]
        try:
            cast = pa.Array.from_buffers(pa.string(), 2 * count, buffers).cast(pa.float64())
        except pa.ArrowInvalid:
            return None
        values = np.frombuffer(cast.buffers()[1], np.float64)[: 2 * count : 2].reshape(places.shape)
        return values if np.isfinite(values).all() else None


def scan(data: bytes) -> Tokens | None:
    """Finds the tokens, separated by white space; None for text that is empty, not ASCII, not plain or too long."""
    if not data or not data.isascii() or len(data) > _MOST_BYTES:
        return None
    text = np.frombuffer(data, np.uint8)
    edges, blanks = [np.zeros(int(text[0] > _SPACE), np.int32)], 0
    for start in range(0, len(text), _BLOCK):
        block = text[max(0, start - 1) : start + _BLOCK]
        blank = block <= _SPACE
        blanks += np.count_nonzero(blank[min(1, start) :])
        edges.append((np.flatnonzero(blank[1:] != blank[:-1]) + max(1, start)).astype(np.int32))
    edges.append(np.full(int(text[-1] > _SPACE), len(text), np.int32))
    bounds = np.concatenate(edges)  # a token and a gap in turn, whatever stands at the ends
    if not len(bounds):
        return None
    before = text[bounds[2::2] - 1]
    opens = np.empty(len(bounds) // 2, np.bool_)
    opens[0], opens[1:] = True, before == _LINE
    known = np.count_nonzero(before == _SPACE) + np.count_nonzero(opens[1:])
    around = data[: bounds[0]] + data[bounds[-1] :]
    if (blanks != known + len(around) or around.strip(b"\n ")) and not _plain(text):
        return None
    breaks = int(np.count_nonzero(text[: bounds[-1]] == _LINE))
    return Tokens(data=data, bytes=text, bounds=bounds.view(np.int64), opens=opens, lines=breaks)


def _plain(text: NDArray[np.uint8]) -> bool:
    """Whether all that `scan` takes for white space is that for Python too, which needs no look at single gaps."""
    return not (np.count_nonzero(text < 9) or np.count_nonzero(text - np.uint8(14) <= 13))
