"""Good files -> damaged ones, reproducibly: bytes, lines, numbers, JSON values, zip members, pickled values.

`mutate(seed files, rng)` gives one damaged copy and the name of what was done. Writes and parses nothing on disk.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

NUMBERS = (
    *("-1", "0", "1", "2", "1e308", "-1e308", "1e39", "nan", "-nan", "inf", "-inf", "1e-320", "99999999999999999999"),
    *("2147483647", "4294967296", "", "0x10", "1_000", "٣", "1,5", "--", "1e", "9" * 5000, "1." + "3" * 5000, "-0"),
)
VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 10**30, 1e308, float("nan"), float("inf"), "", "x", "\ud800", "9" * 5000),
    *([], {}, [[]], [None], {"": None}, [0] * 1000, [[0.0, 0.0, 0.0]] * 40, "../../etc/passwd", "a\0b"),
)
_INTEGERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFFFFFFFFFF, 2**64 - 1)
_NUMBER = re.compile(rb"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> tuple[str, bytes]:
    """One to four damages.

    Args:
        data: a good file.
        others: good files of any format, to splice from.
        rng: decides everything.

    Returns:
        What was done, and the damaged bytes.
    """
    kinds = list(_BYTES.items())
    if _looks_like_text(data):
        kinds += list(_TEXT.items()) * 2
    if data[:1] in (b"{", b"["):
        kinds += [("json", _json)] * 12
    if data[:2] == b"PK":
        kinds += [("zip", _zip)] * 12
    if data[:1] == b"\x80":
        kinds += [("pickle", _pickle)] * 12
    if data[:10] == b"MATLAB 5.0":
        kinds += [("matlab", _matlab)] * 12
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        name, change = rng.choice(kinds)
        data = change(data, others, rng)
        done.append(name)
    return " + ".join(done), data


def _looks_like_text(data: bytes) -> bool:
    return b"\0" not in data[:2000]


def _cut(data: bytes, rng: random.Random) -> tuple[int, int]:
    """Start and end of a slice, mostly short."""
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 8, 64, 1024, len(data))))


def _truncate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _flip(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 50))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _drop(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    start, end = _cut(data, rng)
    return data[:start] + data[end:]


def _repeat(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    start, end = _cut(data, rng)
    times = rng.choice((2, 2, 3, 100))
    return data[:start] + data[start:end] * min(times, 1 + 300_000 // max(1, end - start)) + data[end:]


def _insert(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.choice((1, 4, 100))) + data[start:]


def _splice(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    other = rng.choice(others)
    start, end = _cut(other, rng)
    place, _ = _cut(data, rng)
    return data[:place] + other[start:end] + data[place:]


def _integer(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A binary number set to an extreme: counts, sizes and offsets of headers."""
    width = rng.choice((1, 2, 4, 8))
    if len(data) < width:
        return data
    place = rng.randrange(min(len(data) - width + 1, rng.choice((64, 1024, 1 << 30))))
    value = rng.choice(_INTEGERS) & ((1 << 8 * width) - 1)
    return data[:place] + value.to_bytes(width, rng.choice(("little", "big"))) + data[place + width :]


def _float(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A binary float set to NaN, infinity or an extreme."""
    code = rng.choice(("<f", "<d", ">f", ">d"))
    value = rng.choice((float("nan"), float("inf"), -float("inf"), 3e38, -1e-40, 0.0))
    packed = struct.pack(code, value)
    if len(data) < len(packed):
        return data
    place = rng.randrange(len(data) - len(packed) + 1) // 4 * 4
    return data[:place] + packed + data[place + len(packed) :]


def _number(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Numbers in text replaced: near the start (counts) or anywhere."""
    found = list(_NUMBER.finditer(data[:200_000]))
    if not found:
        return data
    for _ in range(rng.choice((1, 1, 3))):
        match = rng.choice(found[: rng.choice((3, 30, len(found)))])
        text = rng.choice(NUMBERS).encode()
        data = data[: match.start()] + text + data[match.end() :]
        found = list(_NUMBER.finditer(data[:200_000])) or found
    return data


def _lines(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A line lost, doubled, moved, emptied or repeated."""
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, lines[place])
    elif kind == 2:
        lines.insert(rng.randrange(len(lines)), lines.pop(place))
    elif kind == 3:
        lines[place] = b""
    else:
        lines[place:place] = [lines[place]] * min(2000, 1 + 200_000 // max(1, len(lines[place])))
    return b"\n".join(lines)


def _words(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Separators exchanged in one line."""
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    old, new = rng.choice(((b" ", b","), (b",", b";"), (b" ", b""), (b" ", b"\t \r"), (b".", b","), (b"-", b"+")))
    lines[place] = lines[place].replace(old, new)
    return b"\n".join(lines)


def _json(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One value of a JSON tree replaced, dropped, renamed or nested deeply."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return data
    tree = _change_tree(tree, rng)
    text = json.dumps(tree)
    if rng.random() < 0.03:
        depth = 50_000
        text = text.replace("0", "[" * depth + "]" * depth, 1)
    return text.encode("utf-8", "surrogatepass")


def _change_tree(tree: object, rng: random.Random) -> object:
    """Walks down at random and changes what it comes to."""
    if isinstance(tree, list | tuple) and tree and rng.random() < 0.8:
        items = list(tree)
        place = rng.randrange(len(items))
        kind = rng.random()
        if kind < 0.1:
            del items[place]
        elif kind < 0.2:
            items[place:place] = [items[place]] * rng.choice((1, 100))
        else:
            items[place] = _change_tree(items[place], rng)
        return type(tree)(items)
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        changed = dict(tree)
        key = rng.choice(list(changed))
        kind = rng.random()
        if kind < 0.1:
            del changed[key]
        elif kind < 0.2:
            changed[str(rng.choice(VALUES))[:50]] = changed.pop(key)
        else:
            changed[key] = _change_tree(changed[key], rng)
        return changed
    return rng.choice(VALUES)


def _zip(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One member damaged, renamed or lost; the archive itself stays whole."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info)[:1_000_000] for info in archive.infolist()[:50]}
    except Exception:  # noqa: BLE001 - an archive that an earlier damage broke
        return data
    if not members:
        return data
    name = rng.choice(list(members))
    kind = rng.random()
    if kind < 0.1:
        del members[name]
    elif kind < 0.2:
        other = rng.choice(list(members))
        members[other] = members.pop(name)
    elif kind < 0.45:
        members[name] = _npy_header(members[name], rng)
    else:
        members[name] = rng.choice(list(_BYTES.values()))(members[name], others, rng)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for key, content in members.items():
            archive.writestr(key, content)
    return stream.getvalue()


def _npy_header(member: bytes, rng: random.Random) -> bytes:
    """Shape or type of a .npy member exchanged."""
    shape = rng.choice(
        (b"(1099511627776, 22, 3)", b"(-1,)", b"()", b"(0, 0, 0)", b"(2, 3)", b"(3,)", b"('a',)", b"None")
    )
    kind = rng.choice((b"<f8", b"<f4", b"|O", b">i8", b"<c16", b"|S8", b"<U4", b"<M8[s]", b"|b1", b"|V16", b"<f2"))
    if rng.random() < 0.5:
        return re.sub(rb"'shape': \([^)]*\)", b"'shape': " + shape, member, count=1)
    return re.sub(rb"'descr': '[^']*'", b"'descr': '" + kind + b"'", member, count=1)


def _pickle(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One plain value of a pickled tree replaced; arrays keep their bytes. Unpickles our own seeds only."""
    if data not in others:
        return data
    tree = pickle.loads(data, encoding="latin1")
    try:
        return pickle.dumps(_change_tree(tree, rng), rng.choice((0, 2, 4, 5)))
    except Exception:  # noqa: BLE001 - half a surrogate pair cannot be pickled
        return data


def _matlab(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Damage inside a compressed element, packed again."""
    if data[128:132] != struct.pack("<I", 15):
        return _integer(data, others, rng)
    try:
        body = zlib.decompress(data[136:])
    except zlib.error:
        return data
    packed = zlib.compress(rng.choice((_integer, _flip, _truncate, _drop))(body, others, rng))
    return data[:128] + struct.pack("<II", 15, len(packed)) + packed


_Change = Callable[[bytes, list[bytes], random.Random], bytes]
_BYTES: dict[str, _Change] = {
    "truncate": _truncate,
    "flip": _flip,
    "drop": _drop,
    "repeat": _repeat,
    "insert": _insert,
    "splice": _splice,
    "integer": _integer,
    "float": _float,
}
_TEXT: dict[str, _Change] = {"number": _number, "lines": _lines, "words": _words}
