"""npy and npz bytes: what numpy writes comes back; lies about sizes, bombs and objects are refused."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import Source
from skeleton_io.sources.decoders import npy as npy_files
from skeleton_io.sources.decoders.npy import read_object_pickle
from skeleton_io.sources.shared.files import Item, SourceFile
from skeleton_io.sources.shared.side_files import SideInfo

FILE = SourceFile(
    item=Item(id="x", path="x.npz"),
    dataset="set",
    data=b"",
    source=Source(uri="x.npz", sha256="", reader="npy", reader_version=1),
    licence=None,
    side=SideInfo(),
)


def npy(values: np.ndarray, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=pickled)
    return stream.getvalue()


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize(
    "values",
    [
        np.arange(24, dtype="<f4").reshape(2, 3, 4),
        np.arange(24, dtype=">i2").reshape(2, 3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array("female"),
        np.float64(120),
        np.zeros((0, 3)),
        np.array([True, False]),
    ],
    ids=str,
)
def test_npy_round_trip(values: np.ndarray):
    own = npy_files.read_npy(npy(values), FILE)
    np.testing.assert_array_equal(own, values)
    assert own.shape == values.shape
    assert own.dtype.isnative


def test_npz_reads_only_what_is_wanted():
    packed = archive({"a.npy": npy(np.arange(3)), "b.npy": npy(np.array([{}]), pickled=True)})
    assert list(npy_files.read_npz(packed, FILE, {"a"})) == ["a"]
    with pytest.raises(SkeletonFormatError, match="array b: expected numbers or text, found objects"):
        npy_files.read_npz(packed, FILE)


def with_header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "data",
    [
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}") + bytes(8),
        with_header("{'descr': '<U0', 'fortran_order': False, 'shape': (9,)}"),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        with_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}") + bytes(4),
        with_header("{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}") + bytes(3),
        with_header("(" * 3000),
        with_header("-" * 4000 + "1"),
        npy(np.arange(9))[:-1],
        npy(np.arange(9)) + b"more",
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f",
        b"",
    ],
)
def test_npy_that_lies_is_refused(data: bytes):
    with pytest.raises(SkeletonFormatError):
        npy_files.read_npy(data, FILE)


def bomb(megabytes: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("a.npy", "w") as member:
        for _ in range(megabytes):
            member.write(bytes(1 << 20))
    return stream.getvalue()


def test_bombs_are_refused_by_declared_and_by_actual_size(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(npy_files, "MOST_BYTES", 8 << 20)
    honest = bomb(64)
    with pytest.raises(SkeletonFormatError, match="at most 8 MiB decompressed, found 64 MiB"):
        npy_files.read_npz(honest, FILE)
    # The central directory states 1 KiB instead of 64 MiB.
    lying = honest.replace((64 << 20).to_bytes(4, "little"), (1024).to_bytes(4, "little"))
    assert lying != honest
    tracemalloc.start()
    with pytest.raises(SkeletonFormatError):
        npy_files.read_npz(lying, FILE)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_broken_archives_are_refused():
    packed = archive({"a.npy": npy(np.arange(1000))})
    for data in (
        b"PK",
        packed[:100],
        packed[:60] + b"\xff\xff" + packed[62:],
        archive({"a.npy": b"x"}, zipfile.ZIP_LZMA),
    ):
        with pytest.raises(SkeletonFormatError):
            npy_files.read_npz(data, FILE)


def test_object_arrays_give_their_bytes_and_run_nothing():
    shape, content = read_object_pickle(npy(np.array({"S1": 1}, dtype=object), pickled=True), FILE)
    assert shape == ()
    assert content[:1] == b"\x80"
