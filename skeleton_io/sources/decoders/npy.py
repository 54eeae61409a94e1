"""npy and npz bytes -> numeric and text arrays. For hostile files: sizes are checked before any allocation.

npy versions 1 to 3: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Never unpickles: arrays
of objects are refused, and `object_pickle` only hands out their bytes for a loader that executes nothing.
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
_MOST_MEMBERS = 10_000
_CHUNK = 1 << 20
_PLAIN = re.compile(r"[<>|=]?(?:\?|[biuf]\d{1,2}|[US]\d{1,7})")


class Header(NamedTuple):
    """What an npy file says of itself; `start` is the byte after it."""

    descr: str
    fortran: bool
    shape: tuple[int, ...]
    start: int


def header(data: bytes, file: SourceFile, place: str = "byte 0") -> Header:
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
        said = ast.literal_eval(data[start : start + size].decode("latin-1").strip())
        descr, fortran, shape = said["descr"], said["fortran_order"], said["shape"]
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
    said = header(data, file, place)
    if not _PLAIN.fullmatch(said.descr):
        found = "objects (a pickle inside)" if "O" in said.descr else repr(said.descr)[:60]
        raise file.error(place, "numbers or text", found)
    try:
        kind = np.dtype(said.descr)
    except TypeError:
        raise file.error(place, "a numpy type", repr(said.descr)) from None
    count, there = math.prod(said.shape), len(data) - said.start
    if kind.itemsize == 0 or count * kind.itemsize != there:
        raise file.error(place, f"{count} values of {kind.str}, shape {said.shape}", f"{there} bytes")
    values = np.frombuffer(data, kind, offset=said.start).reshape(said.shape, order="F" if said.fortran else "C")
    return np.ascontiguousarray(values, kind.newbyteorder("=")).reshape(said.shape)


def read_npz(data: bytes, file: SourceFile, wanted: Collection[str] | None = None) -> dict[str, NDArray[np.generic]]:
    """Arrays of an npz archive by name, without ".npy".

    Args:
        data: the archive.
        file: named in errors.
        wanted: names to read; others are not even decompressed. None: all.

    Raises:
        SkeletonFormatError: no archive, an array that `read_npy` refuses, or more than MOST_BYTES decompressed.
    """
    found = npz_members(data, file, wanted)
    return {name: read_npy(content, file, f"array {name}") for name, content in found.items()}


def npz_members(data: bytes, file: SourceFile, wanted: Collection[str] | None = None) -> dict[str, bytes]:
    """npy bytes of an npz archive's arrays by name, without ".npy". Stored and deflated members only, as numpy writes.

    Raises:
        SkeletonFormatError: no archive, a broken member, or more than MOST_BYTES by declared or by actual size.
    """
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise file.error("archive", f"at most {_MOST_MEMBERS} members", str(len(members)))
            for member in members:
                name = member.filename.removesuffix(".npy")
                if member.is_dir() or (wanted is not None and name not in wanted):
                    continue
                found[name] = _member(archive, member, file, left)
                left -= len(found[name])
    except SkeletonFormatError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise file.error("archive", "an npz archive", f"{type(error).__name__}: {error}"[:120]) from None
    return found


def object_pickle(data: bytes, file: SourceFile, place: str = "whole file") -> tuple[tuple[int, ...], bytes]:
    """Shape and pickle of an object array, unread: what numpy would hand to pickle.

    Raises:
        SkeletonFormatError: no npy file, or an array without objects.
    """
    said = header(data, file, place)
    if said.descr not in ("|O", "O", "|O8", "|O4"):
        raise file.error(place, "an array of objects", repr(said.descr)[:60])
    return said.shape, data[said.start :]


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: SourceFile, left: int) -> bytes:
    """One member's bytes, at most `left` of them. Read in pieces: an archive's stated size can lie either way."""
    place = f"member {member.filename[:80]!r}"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise file.error(place, "a stored or deflated member", f"compression {member.compress_type}")
    if member.file_size > left:
        raise file.error(place, f"at most {left >> 20} MiB decompressed", f"{member.file_size >> 20} MiB")
    found = io.BytesIO()
    with archive.open(member) as stream:
        while chunk := stream.read(_CHUNK):
            if found.tell() + len(chunk) > left:
                raise file.error(place, f"at most {left >> 20} MiB decompressed", "more")
            found.write(chunk)
    return found.getvalue()
