"""The pickle reader: equal to pickle on data of all protocols; hostile bytes end in the one error, nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import resource
import struct
import time
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.sources.decoders.pickles import load_pickle
from skeleton_io.sources.shared.files import SourceFile

FILE = cast(
    SourceFile,
    SimpleNamespace(error=lambda place, expected, found: SkeletonFormatError("x.pkl", place, expected, found)),
)
DATA = {
    "text": "ä\x00" * 300,
    "old": b"\x00\xff" * 300,
    "numbers": [0, 1, -1, 255, 65536, -(2**31), 2**40, 1.5, float("inf"), True, False, None, (), (1,), (1, 2, 3, 4)],
    7: np.arange(24, dtype=np.float16).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(5, dtype=">i4"),
    "bool": np.array([True, False]),
    "words": np.array(["left", "right"]),
    "empty": np.zeros((0, 17, 2)),
    "scalar": np.int64(12),
    "ordered": OrderedDict(a=1),
}


def same(own: Any, expected: Any) -> bool:
    if isinstance(expected, np.ndarray):
        return own.shape == expected.shape and own.dtype.kind == expected.dtype.kind and (own == expected).all()
    if isinstance(expected, dict):
        return type(own) is dict and own.keys() == expected.keys() and all(same(own[k], expected[k]) for k in own)
    return type(own) is (int if isinstance(expected, np.integer) else type(expected)) and own == expected


@pytest.mark.parametrize("protocol", range(6))
def test_equal_to_pickle(protocol: int):
    assert same(load_pickle(pickle.dumps(DATA, protocol), FILE), DATA)


def test_arrays_of_objects_as_npy_files_hold_them():
    inner = np.empty((), object)
    inner[()] = {"S1": {"Walking": np.ones((2, 32, 3), np.float32)}}
    own = load_pickle(pickle.dumps(inner, 3), FILE)
    assert own.dtype == object
    assert own.shape == ()
    assert own.item()["S1"]["Walking"].sum() == 192


def test_python_2_strings_hold_array_bytes():
    """As Python 2 wrote it: the array's content is a str, escaped in protocol 0 and raw in protocol 2."""
    values = np.array([1.5, -2.25, 1e-300])
    raw = values.tobytes()
    head = (
        b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n(I1\n(I3\ntp6\n"
    )
    kind = b"cnumpy\ndtype\np7\n(S'f8'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS'<'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\n"
    for content in (b"S" + repr(raw)[1:].encode() + b"\n", b"T" + struct.pack("<I", len(raw)) + raw):
        own = load_pickle(head + kind + content + b"tp14\nb.", FILE)
        np.testing.assert_array_equal(own, values)
    assert load_pickle(b"(dp0\nS'pose'\np1\n(lp2\nL12L\nas.", FILE) == {"pose": [12]}


class Runs:
    def __init__(self, constructor: Any, *arguments: Any) -> None:
        self.made, self.arguments = constructor, arguments

    def __reduce__(self) -> Any:
        return self.made, self.arguments


def test_nothing_is_executed(tmp_path: Path):
    witness = tmp_path / "witness"
    attacks = [
        pickle.dumps(Runs(os.system, f"touch {witness}"), protocol) for protocol in range(6)
    ] + [
        pickle.dumps(Runs(open, str(witness), "w")),
        pickle.dumps(Runs(eval, f"open({str(witness)!r}, 'w')")),
        f"(Vtouch {witness}\niposix\nsystem\n.".encode(),
        f"(cposix\nsystem\nVtouch {witness}\no.".encode(),
        b"cbuiltins\nexec\n.",
        b"\x80\x02cnumpy\nload\nX\x01\x00\x00\x00x\x85R.",
        b"\x80\x02c__main__\nX\n)\x81.",
        b"Pid\n.",
        b"\x82\x01.",
        pickle.dumps(np.array([Runs(os.system, f"touch {witness}")], object)),
        pickle.dumps({"pose": [Path("x")]}),
        pickle.dumps({1, 2}),
    ]  # fmt: skip
    for attack in attacks:
        with pytest.raises(SkeletonFormatError) as caught:
            load_pickle(attack, FILE)
        assert "byte" in caught.value.place
    assert not witness.exists()


ARRAY = pickle.dumps(np.zeros((4, 4)), 2)
BOMBS = {
    "empty dicts": b"\x80\x04" + b"}" * 6_000_000 + b".",
    "memo": b"\x80\x04N" + b"\x94" * 6_000_000 + b".",
    "marks": b"(" * 6_000_000 + b".",
    "nested lists": b"]" * 2_000_000 + b"a" * 1_999_999 + b".",
    "length": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"xx.",
    "text length": b"X\xff\xff\xff\xffabc.",
    "long": b"\x8b\xff\xff\xff\x7f" + b"\x01" * 100 + b".",
    "digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "memo index": b"Nr\xff\xff\xff\xff.",
    "shape": ARRAY.replace(b"K\x04K\x04\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
    "negative shape": ARRAY.replace(b"K\x04K\x04\x86", b"J\xff\xff\xff\xffJ\xf0\xff\xff\xff\x86"),
    "hash of shared tuples": b"}" + b")" + b"2\x86" * 200 + b"Ns.",
    "list as key": b"}]Ns.",
    "no stop": b"\x80\x04N",
    "empty": b"",
    "no value": b".",
    "appends to nothing": b"(Ne.",
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_end_early(name: str):
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if name in ("nested lists", "memo index"):
        load_pickle(BOMBS[name], FILE)  # odd, but plain data
    else:
        with pytest.raises(SkeletonFormatError):
            load_pickle(BOMBS[name], FILE)
    assert time.process_time() - begun < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_one_payload_behind_many_arrays_is_refused():
    """Each copy (here of the byte order) is paid for."""
    payload = bytes(8 << 20)
    kind = pickletools.optimize(pickle.dumps(np.dtype(">f8"), 2))[:-1]
    stream = io.BytesIO()
    stream.write(b"\x80\x04" + kind + b"q\x010" + b"B" + struct.pack("<I", len(payload)) + payload + b"q\x020](")
    one = b"cnumpy.core.numeric\n_frombuffer\n(h\x02h\x01J\x00\x00\x10\x00\x85X\x01\x00\x00\x00CtR"
    stream.write(one + b"e.")
    assert load_pickle(stream.getvalue(), FILE)[0].shape == (1 << 20,)
    stream.seek(-2, io.SEEK_END)
    stream.write(one * 500 + b"e.")
    with pytest.raises(SkeletonFormatError, match="asks for more"):
        load_pickle(stream.getvalue(), FILE)


@settings(max_examples=300, derandomize=True)
@given(data=st.data())
def test_spoilt_bytes_end_in_data_or_the_one_error(data: st.DataObject):
    content = bytearray(pickle.dumps(DATA, data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        load_pickle(bytes(content), FILE)
    except SkeletonFormatError:
        return
