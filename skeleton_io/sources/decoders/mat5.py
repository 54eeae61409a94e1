"""MATLAB v5 bytes -> its numeric arrays by name. Written for hostile files: bounded memory, no recursion, no objects.

MAT-File Format, MathWorks (2024), chapter 1. Cells, structs, strings, sparse and complex arrays are skipped; v7.3 files
are HDF5 and refused. `scipy.io.loadmat` believes a header's sizes and follows nested cells as deep as they go.
"""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from skeleton_io.sources.shared.files import SourceFile

MOST_BYTES = 256 << 20
"""Of one decompressed variable."""
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# Array classes that hold numbers, and what they become. Files may store them in a smaller type.
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800  # flag of a second, imaginary part
_MOST_DIMENSIONS = 32  # what every numpy takes


def read_mat5(file: SourceFile) -> dict[str, NDArray[np.generic]]:
    """Name -> array in MATLAB's shape, of all plain numeric variables.

    Raises:
        SkeletonFormatError: not MATLAB v5, cut short, or a size that does not fit.
    """
    data = file.data
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI"):
        other = "HDF5 (v7.3)" if data[:4] == b"\x89HDF" or b"MATLAB 7.3" in data[:20] else "another header"
        raise file.error("byte 0", "a MATLAB v5 file", other)
    order = "<" if data[126:128] == b"IM" else ">"
    arrays: dict[str, NDArray[np.generic]] = {}
    at = _HEADER
    while at < len(data):
        kind, start, size, after = _tag(file, data, at, order, f"byte {at}")
        body = data[start : start + size]
        if kind == _COMPRESSED:
            inner = _inflate(file, body, at)
            kind, start, size, _ = _tag(file, inner, 0, order, f"variable at byte {at}")
            body = inner[start : start + size]
        if kind == _MATRIX:
            arrays |= _matrix(file, body, order, f"variable at byte {at}")
        at = after
    return arrays


def _tag(file: SourceFile, data: bytes, at: int, order: str, place: str) -> tuple[int, int, int, int]:
    """Type, start and size of the element at `at`, and where the next begins."""
    if at + 8 > len(data):
        raise file.error(place, "an element", "end of file")
    first, second = struct.unpack_from(order + "II", data, at)
    if first >> 16:  # small: the size stands beside the type, the data in the tag
        if first >> 16 > 4:
            raise file.error(place, "at most 4 bytes in a small element", str(first >> 16))
        return first & 0xFFFF, at + 4, first >> 16, at + 8
    if at + 8 + second > len(data):
        raise file.error(place, f"{second} bytes", f"{len(data) - at - 8}")
    padded = second if first == _COMPRESSED else second + -second % 8
    return first, at + 8, second, at + 8 + padded


def _inflate(file: SourceFile, packed: bytes, at: int) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        body = unpacker.decompress(packed, MOST_BYTES)
    except zlib.error as error:
        raise file.error(f"variable at byte {at}", "zlib data", str(error)) from None
    if unpacker.unconsumed_tail:
        raise file.error(f"variable at byte {at}", f"at most {MOST_BYTES >> 20} MiB decompressed", "more")
    return body


def _matrix(file: SourceFile, body: bytes, order: str, place: str) -> dict[str, NDArray[np.generic]]:
    """The one variable of a matrix element, or nothing where it is not plain numbers."""
    if not body:
        return {}
    parts: list[tuple[int, bytes]] = []
    at = 0
    while at < len(body) and len(parts) < 4:
        kind, start, size, at = _tag(file, body, at, order, place)
        parts.append((kind, body[start : start + size]))
    if len(parts) < 3 or len(parts[0][1]) != 8 or parts[1][0] != 5 or len(parts[1][1]) % 4:
        raise file.error(place, "array flags, dimensions and name", "another order of elements")
    (flags,) = struct.unpack_from(order + "I", parts[0][1])
    shape = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    name = parts[2][1].decode("ascii", "replace")
    if flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        return {}
    if min(shape, default=-1) < 0 or len(shape) > _MOST_DIMENSIONS:
        raise file.error(f"dimensions of {name}", "numbers from 0", str(shape)[:80])
    if len(parts) < 4 or parts[3][0] not in _TYPES:
        raise file.error(f"values of {name}", "a numeric type", str(parts[3][0]) if len(parts) > 3 else "none")
    kind = np.dtype(order + _TYPES[parts[3][0]])
    count = math.prod(shape)
    if count * kind.itemsize != len(parts[3][1]):
        raise file.error(f"values of {name}", f"{count} of {kind.name} {shape}", f"{len(parts[3][1])} bytes")
    values = np.frombuffer(parts[3][1], kind).reshape(shape, order="F")
    return {name: values.astype(_CLASSES[flags & 0xFF])}
