"""npy and npz bytes -> numeric and text arrays. For hostile files: sizes are checked before any allocation.

npy versions 1 to 3: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Never unpickles: arrays
of objects are refused, and `read_object_pickle` only hands out their bytes for a loader that executes nothing.
"""

from __future__ import annotations

import ast
import io
import math
import re
import zipfile
import zlib
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.sources.shared.files import SourceFile

MOST_BYTES = 256 << 20
"""Of one array, and of all members of an archive that are read, decompressed."""
_MAGIC = b"\x93NUMPY"
_MOST_HEADER = 4096  # a plain array's header has some hundred bytes
_MOST_DIMENSIONS = 32
_MOST_MEMBERS = 10_000  # an archive of empty members costs time for each
_CHUNK = 1 << 20
_PLAIN = re.compile(r"[<>|=]?(?:\?|[biuf]\d{1,2}|[US]\d{1,7})")


class Header(NamedTuple):
    """What an npy file says of itself; `start` is the byte after it."""

    descr: str
    fortran: bool
    shape: tuple[int, ...]
    start: int


def read_header(data: bytes, file: SourceFile, place: str = "byte 0") -> Header:
    """Header of npy bytes; no array is made.

    Raises:
        SkeletonFormatError: no npy file, or a header that is no plain one.
    """
    if data[:6] != _MAGIC or len(data) < 12:
        raise file.error(place, "an npy file", repr(data[:8]))
    wide = data[6] > 1
    start = 12 if wide else 10
    size = int.from_bytes(data[8:start], "little")
    if data[6] not in (1, 2, 3) or size > _MOST_HEADER or start + size > len(data):
        raise file.error(place, f"npy version 1 to 3, header to {_MOST_HEADER} B", f"version {data[6]}, {size} B")
    try:
        fields = ast.literal_eval(data[start : start + size].decode("latin-1").strip())
        descr, fortran, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise file.error(place, "an npy header", type(error).__name__) from None
    if not isinstance(descr, str) or not isinstance(fortran, bool) or not isinstance(shape, tuple):
        raise file.error(place, "one plain type and a shape", repr(descr)[:80])
    if len(shape) > _MOST_DIMENSIONS or any(type(side) is not int or side < 0 for side in shape):
        raise file.error(place, "a shape of numbers from 0", repr(shape)[:80])
    return Header(descr, fortran, shape, start + size)


def read_npy(data: bytes, file: SourceFile, place: str = "whole file") -> NDArray[np.generic]:
    """The array of npy bytes, native byte order, C order; read-only where it needs no copy.

    Args:
        data: the whole npy file or archive member.
        file: named in errors.
        place: where these bytes stand, for errors.

    Raises:
        SkeletonFormatError: another content than bool, int, float or text; or the size does not fit the header.
    """
    header = read_header(data, file, place)
    if not _PLAIN.fullmatch(header.descr):
        found = "objects (a pickle inside)" if "O" in header.descr else repr(header.descr)[:60]
        raise file.error(place, "numbers or text", found)
    try:
        kind = np.dtype(header.descr)
    except TypeError:
        raise file.error(place, "a numpy type", repr(header.descr)) from None
    count, there = math.prod(header.shape), len(data) - header.start
    if kind.itemsize == 0 or count * kind.itemsize != there:
        raise file.error(place, f"{count} values of {kind.str}, shape {header.shape}", f"{there} bytes")
    values = np.frombuffer(data, kind, offset=header.start).reshape(header.shape, order="F" if header.fortran else "C")
    return np.ascontiguousarray(values, kind.newbyteorder("=")).reshape(header.shape)


def read_npz(data: bytes, file: SourceFile, names: Collection[str] | None = None) -> dict[str, NDArray[np.generic]]:
    """Arrays of an npz archive by name, without ".npy".

    Args:
        data: the archive.
        file: named in errors.
        names: names to read; others are not even decompressed. None: all.

    Raises:
        SkeletonFormatError: no archive, an array that `read_npy` refuses, or more than MOST_BYTES decompressed.
    """
    members = read_members(data, file, names)
    return {name: read_npy(content, file, f"array {name}") for name, content in members.items()}


def read_members(data: bytes, file: SourceFile, names: Collection[str] | None = None) -> dict[str, bytes]:
    """npy bytes of an npz archive's arrays by name, without ".npy". Stored and deflated members only, as numpy writes.

    Raises:
        SkeletonFormatError: no archive, a broken member, or more than MOST_BYTES by declared or by actual size.
    """
    contents: dict[str, bytes] = {}
    budget = MOST_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise file.error("archive", f"at most {_MOST_MEMBERS} members", str(len(members)))
            for member in members:
                name = member.filename.removesuffix(".npy")
                if member.is_dir() or (names is not None and name not in names):
                    continue
                contents[name] = _member(archive, member, file, budget)
                budget -= len(contents[name])
    except SkeletonFormatError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise file.error("archive", "an npz archive", f"{type(error).__name__}: {error}"[:120]) from None
    return contents


def read_object_pickle(data: bytes, file: SourceFile, place: str = "whole file") -> tuple[tuple[int, ...], bytes]:
    """Shape and pickle of an object array, unread: what numpy would hand to pickle.

    Raises:
        SkeletonFormatError: no npy file, or an array without objects.
    """
    header = read_header(data, file, place)
    if header.descr not in ("|O", "O", "|O8", "|O4"):
        raise file.error(place, "an array of objects", repr(header.descr)[:60])
    return header.shape, data[header.start :]


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: SourceFile, budget: int) -> bytes:
    """One member's bytes, at most `budget` of them. Read in pieces: an archive's stated size can lie either way."""
    place = f"member {member.filename[:80]!r}"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise file.error(place, "a stored or deflated member", f"compression {member.compress_type}")
    if member.file_size > budget:
        raise file.error(place, f"at most {budget >> 20} MiB decompressed", f"{member.file_size >> 20} MiB")
    buffer = io.BytesIO()
    with archive.open(member) as stream:
        while chunk := stream.read(_CHUNK):
            if buffer.tell() + len(chunk) > budget:
                raise file.error(place, f"at most {budget >> 20} MiB decompressed", "more")
            buffer.write(chunk)
    return buffer.getvalue()
