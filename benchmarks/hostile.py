"""Hand-made hostile files: pickles, zip and zlib bombs, huge headers, deep nesting. Bytes only; runs nothing itself.

`files()` lists (name, maker). Every maker is cheap: what is huge is huge only for who believes it.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache

CANARY = "FUZZ_CANARY"
"""Environment variable that executed content would set."""
BOMB_BYTES = 2 << 30
_BLOCK = 1 << 20


def _call(module: str, name: str, *arguments: object) -> bytes:
    """Protocol 2 pickle: module.name(*arguments)."""
    body = b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n("
    for argument in arguments:
        body += pickle.dumps(argument, 2)[2:-1]
    return body + b"tR."


def _pickles() -> dict[str, bytes]:
    code = f"__import__('os').environ.__setitem__('{CANARY}', '1')"
    laughs = b"\x80\x02]q\x00"
    for level in range(40):  # each list holds the one before ten times
        laughs += b"]q" + bytes([level + 1]) + b"(" + b"h" + bytes([level]) * 1
        laughs += (b"h" + bytes([level])) * 9 + b"e"
    shape = pickle.dumps((1 << 40, 1 << 20), 2)[2:-1]
    rebuilt = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + shape + b"U\x01btR."
    state = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01" + shape
    state += b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR\x89](K\x01etb."
    return {
        "pickle os.system": _call("os", "system", f"export {CANARY}=1; touch {CANARY}"),
        "pickle posix.system": _call("posix", "system", f"touch {CANARY}"),
        "pickle eval": _call("builtins", "eval", code),
        "pickle exec, Python 2 name": _call("__builtin__", "execfile", CANARY),
        "pickle subprocess": _call("subprocess", "Popen", ["touch", CANARY]),
        "pickle getattr": _call("builtins", "getattr", "", "__class__"),
        "pickle numpy load": _call("numpy", "load", "/etc/passwd"),
        "pickle numpy fromfile": _call("numpy", "fromfile", "/etc/passwd"),
        "pickle numpy runstring": _call("numpy.testing._private.utils", "runstring", code, {}),
        "pickle numpy zeros": _call("numpy", "zeros", 1 << 45),
        "pickle bytearray": _call("builtins", "bytearray", 1 << 40),
        "pickle range list": _call("builtins", "list", range(3)),
        "pickle codecs encode": _call("_codecs", "encode", "x" * 100, "no such codec"),
        "pickle reconstruct huge": rebuilt,
        "pickle object state": state,
        "pickle dtype bomb": _call("numpy", "dtype", "(100000,100000)i4,f8"),
        "pickle laughs": laughs + b".",
        "pickle deep lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "pickle deep tuples": b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
        "pickle huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
        "pickle huge text": b"\x80\x02X" + struct.pack("<I", 0xFFFFFFF0) + b"x.",
        "pickle huge bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 36) + b"x.",
        "pickle huge frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"].",
        "pickle huge memo": b"\x80\x02]r" + struct.pack("<I", 0x7FFFFFF0) + b".",
        "pickle huge integer": b"\x80\x02\x8b" + struct.pack("<i", 0x7FFFFFF0) + b"\x01.",
        "pickle long integer": b"\x80\x02\x8b" + struct.pack("<i", 1 << 22) + b"\x7f" * (1 << 22) + b".",
        "pickle decimal integer": b"I" + b"9" * 300_000 + b"\n.",
        "pickle persistent id": b"\x80\x02U\x01xQ.",
        "pickle extension": b"\x80\x02\x82\x01.",
        "pickle next buffer": b"\x80\x05\x97.",
        "pickle no stop": b"\x80\x02]" + b"K\x01a" * 1000,
        "pickle protocol 255": b"\x80\xff.",
    }


def _npy(shape: str, dtype: str = "<f8", body: bytes = b"\0" * 64) -> bytes:
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + body


def _npz(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


@lru_cache(maxsize=1)
def zeros_deflated() -> bytes:
    """A zlib stream of `BOMB_BYTES` zeros, about 2 MB: one compressed block over and over."""
    packer = zlib.compressobj(9)
    first = packer.compress(b"\0" * _BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b"\0" * _BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (BOMB_BYTES // _BLOCK - 1) + b"\x03\x00" + struct.pack(">I", 1)


def _zip_bomb(name: str, honest: bool) -> bytes:
    """A zip with one member of 2 GiB of zeros, whose header says so or says 1 kB."""
    deflated = zeros_deflated()[2:-4]
    size = BOMB_BYTES - 1 if honest else 1000
    fields = (20, 0, 8, 0, 0x21, 0, len(deflated), size, len(name), 0)
    local = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", *fields) + name.encode() + deflated
    central = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, *fields, 0, 0, 0, 0, 0) + name.encode()
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def _matlab(element: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM") + element


def _matlab_array(dims: tuple[int, ...], name: bytes = b"d_skel") -> bytes:
    flags = struct.pack("<IIII", 6, 8, 6, 0)
    shape = struct.pack("<II", 5, 4 * len(dims)) + struct.pack(f"<{len(dims)}i", *dims)
    shape += b"\0" * (-len(shape) % 8)
    label = struct.pack("<II", 1, len(name)) + name + b"\0" * (-len(name) % 8)
    body = flags + shape + label + struct.pack("<II", 9, 64) + b"\0" * 64
    return struct.pack("<II", 14, len(body)) + body


def _matlab_cells(depth: int) -> bytes:
    """Cells within cells, one in each."""
    inner = b""
    for _ in range(depth):
        head = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1, 1) + struct.pack("<II", 1, 0)
        inner = struct.pack("<II", 14, len(head) + len(inner)) + head + inner
    return inner


def _nested_json(depth: int) -> dict[str, bytes]:
    return {
        "json deep lists": b"[" * depth + b"]" * depth,
        "json open lists": b"[" * depth,
        "json deep objects": b'{"a":' * depth + b"1" + b"}" * depth,
        "json huge integer": b'{"frames": ' + b"9" * 300_000 + b"}",
        "json NaN": b"[NaN, Infinity, -Infinity, 1e999]",
        "json half surrogate": b'{"label": "\\ud800", "skeletons": [], "file_name": "\\udfff"}',
        "json wide list": b"[" + b"0," * 500_000 + b"0]",
    }


def _texts() -> dict[str, bytes]:
    return {
        "empty": b"",
        "one byte": b"\0",
        "spaces": b" \n" * 100_000,
        "zeros": b"\0" * 1_000_000,
        "byte order mark": "\ufeff1 2 3\n".encode(),
        "UTF-16": "1 2 3\n4 5 6\n".encode("utf-16"),
        "one long line": b"1 " * 1_000_000,
        "one long word": b"1" * 3_000_000,
        "many short lines": b"1\n" * 500_000,
        "many braces": b"{" * 300_000,
        "yaml laughs": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (97 + i, 97 + i, b",".join([b"*%c" % (96 + i)] * 9)) for i in range(1, 12)),
        "yaml object": f"!!python/object/apply:os.system ['touch {CANARY}']\n".encode(),
        "xml laughs": b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
        + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))
        + b"]><l>&j;</l>",
        "bvh deep": b"HIERARCHY\nROOT a\n{\n" + b"OFFSET 0 0 0\nJOINT a\n{\n" * 50_000,
        "bvh many frames": b"HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 0\n}\nMOTION\nFrames: 99999999999\n"
        b"Frame Time: 0.01\n",
        "ntu many frames": b"1000000\n" + b"0\n" * 1_000_000,
        "asf deep": b":root\norder TX\n:hierarchy\nbegin\n" + b"root root\n" * 50_000,
        "c3d huge": bytes([2, 0x50])
        + struct.pack("<HHHHHfHHf", 0xFFFF, 0, 1, 0xFFFF, 0, -1.0, 2, 0, 60.0)
        + b"\0" * 490,
    }


def _makers() -> dict[str, Callable[[], bytes]]:
    plain = _texts() | _pickles() | _nested_json(100_000)
    makers: dict[str, Callable[[], bytes]] = {name: (lambda data=data: data) for name, data in plain.items()}
    hostile = _pickles()["pickle os.system"]
    for key in ("positions_3d.npy", "poses.npy"):
        makers |= {
            f"npz bomb {key}": lambda key=key: _zip_bomb(key, True),
            f"npz lying bomb {key}": lambda key=key: _zip_bomb(key, False),
            f"npz object {key}": lambda key=key: _npz({key: _npy("()", "|O", hostile)}),
            f"npz huge shape {key}": lambda key=key: _npz({key: _npy("(1099511627776, 17, 3)")}),
            f"npz negative shape {key}": lambda key=key: _npz({key: _npy("(-1, 17, 3)")}),
            f"npz deep header {key}": lambda key=key: _npz({key: _npy("(" * 9000 + ")" * 9000)}),
        }
    makers |= {
        "zlib bomb": zeros_deflated,
        "npz many members": lambda: _npz({f"{n}.npy": b"" for n in range(20_000)}),
        "npz parent path": lambda: _npz({"../../x.npy": _npy("(1,)")}),
        "npy object": lambda: _npy("()", "|O", hostile),
        "npy huge": lambda: _npy("(1099511627776, 3)"),
        "npy zero width": lambda: _npy("(1099511627776, 0)"),
        "npy void": lambda: _npy("(1,)", "|V2147483647"),
        "matlab bomb": lambda: _matlab(struct.pack("<II", 15, len(zeros_deflated())) + zeros_deflated()),
        "matlab huge": lambda: _matlab(_matlab_array((20, 3, 1 << 30))),
        "matlab negative": lambda: _matlab(_matlab_array((20, 3, -1))),
        "matlab many dims": lambda: _matlab(_matlab_array((1,) * 5000)),
        "matlab deep cells": lambda: _matlab(_matlab_cells(5000)),
        "matlab wide cell": lambda: _matlab(
            struct.pack("<IIIIII", 14, 40, 6, 8, 1, 0)
            + struct.pack("<IIii", 5, 8, 1 << 30, 1)
            + struct.pack("<II", 1, 0)
        ),
        "parquet magic": lambda: b"PAR1" + b"\xff" * 100 + struct.pack("<I", 90) + b"PAR1",
        "arrow magic": lambda: b"ARROW1\0\0" + b"\xff" * 100 + struct.pack("<I", 90) + b"ARROW1",
        "hdf5 magic": lambda: b"\x89HDF\r\n\x1a\n" + b"\xff" * 500,
        "gzip bomb": lambda: b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + zeros_deflated()[2:-4] + b"\0" * 8,
    }
    return makers


def files() -> dict[str, Callable[[], bytes]]:
    """Name -> maker of a whole hostile file."""
    return _makers()
