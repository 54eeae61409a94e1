"""mat5 against scipy's own writer and reader, and against files that lie."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import scipy.io

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import Source
from skeleton_io.sources.decoders.mat5 import read_mat5
from skeleton_io.sources.shared.files import Item, SourceFile
from skeleton_io.sources.shared.side_files import SideInfo

ARRAYS = {
    "d_skel": np.random.default_rng(0).normal(size=(20, 3, 7)),
    "small": np.array([[1, 2]], np.int8),
    "whole": np.arange(6.0).reshape(2, 3),  # MATLAB stores such doubles as bytes
    "single": np.float32([[0.5], [-1]]),
    "big": np.array([[2**40]], np.int64),
    "empty": np.zeros((0, 0)),
}
OTHERS = {"text": "hello", "cell": np.array([1, "a"], object), "struct": {"a": 1}, "complex": np.array([1j])}


def file(data: bytes) -> SourceFile:
    source = Source(uri="a.mat", sha256="", reader="t", reader_version=1)
    item = Item(id="a", path="a.mat")
    return SourceFile(item=item, dataset="t", data=data, source=source, licence=None, side=SideInfo())


def saved(content: dict, compress: bool) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, content, do_compression=compress)
    return stream.getvalue()


@pytest.mark.parametrize("compress", [False, True])
def test_equals_scipy(compress: bool):
    data = saved({**ARRAYS, **OTHERS}, compress)
    own, expected = read_mat5(file(data)), scipy.io.loadmat(io.BytesIO(data))
    assert set(own) == set(ARRAYS)
    for name, array in own.items():
        assert array.dtype == expected[name].dtype, name
        np.testing.assert_array_equal(array, expected[name])


def test_real_files(shared_data):
    paths = sorted((shared_data / "data" / "utd_mhad").glob("*.mat"))[::80]
    assert paths
    for path in paths:
        expected = scipy.io.loadmat(path)["d_skel"]
        np.testing.assert_array_equal(read_mat5(file(path.read_bytes()))["d_skel"], expected)


def matrix(dims: tuple[int, ...], values: bytes) -> bytes:
    body = (
        struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<II", 5, 4 * len(dims)) + struct.pack(f"<{len(dims)}i", *dims)
    )
    body += b"\0" * (-len(body) % 8) + struct.pack("<HH4s", 1, 1, b"x") + struct.pack("<II", 9, len(values)) + values
    return b"MATLAB 5.0".ljust(124) + struct.pack("<H2s", 0x0100, b"IM") + struct.pack("<II", 14, len(body)) + body


@pytest.mark.parametrize(
    ("data", "place", "found"),
    [
        (b"", "byte 0", "another header"),
        (b"\x89HDF" + b"\0" * 200, "byte 0", "HDF5"),
        (matrix((2, 1 << 30), b"\0" * 16), "values of x", "16 bytes"),
        (matrix((2, -1), b"\0" * 16), "dimensions of x", "-1"),
        (matrix((1,) * 40, b"\0" * 8), "dimensions of x", "1"),
        (matrix((2, 1), b"\0" * 16)[:-8], "byte 128", ""),
        (saved({"a": np.zeros(9)}, True)[:-5], "byte 128", ""),
    ],
)
def test_files_that_lie(data: bytes, place: str, found: str):
    with pytest.raises(SkeletonFormatError) as error:
        read_mat5(file(data))
    assert error.value.place == place
    assert found in error.value.found


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr("skeleton_io.sources.decoders.mat5.MOST_BYTES", 1 << 16)
    with pytest.raises(SkeletonFormatError, match="decompressed"):
        read_mat5(file(saved({"a": np.zeros(100_000)}, True)))
