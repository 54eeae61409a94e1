"""Parts of numpy objects as pickles hold them -> arrays and scalars. The half of `pickles` that knows numpy.

Only names on the list of `NAMES` mean anything; they are never imported or called. Reads no opcodes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAMES = {
    "numpy.core.multiarray _reconstruct": "reconstruct",
    "numpy._core.multiarray _reconstruct": "reconstruct",
    "numpy.core.multiarray scalar": "scalar",
    "numpy._core.multiarray scalar": "scalar",
    "numpy.core.numeric _frombuffer": "frombuffer",
    "numpy._core.numeric _frombuffer": "frombuffer",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    "collections OrderedDict": "dict",
    "__builtin__ bytes": "bytes",
    "builtins bytes": "bytes",
}
_TYPE = re.compile(r"[?]|[biuf](?:1|2|4|8)|O[48]?|[SU][1-9]\d{0,5}")
_MOST_DIMENSIONS = 16  # skeleton arrays have five at most
_POINTER = 8  # bytes

SCALARS = (str, bytes, int, float, type(None))
Charge = Callable[[int], None]
"""Told how many bytes a value takes; refuses when they become too many."""


class Refused(Exception):
    """(expected, found), to become a SkeletonFormatError with the opcode's place."""


class Name:
    """One of `NAMES`, as a value on the stack. It can do nothing."""

    def __init__(self, role: str) -> None:
        self.role = role


class Dtype:
    """A numpy type whose byte order may still come."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "="

    def make(self) -> np.dtype[Any]:
        return np.dtype(self.code if self.code in "?O" else self.order + self.code)


class Hollow:
    """An array whose state is still to come, and where the memo holds it meanwhile."""

    def __init__(self) -> None:
        self.keys: list[int] = []


def make_array(charge: Charge, shape: Any, kind: Any, order: Any, content: Any) -> NDArray[Any]:
    """An array of its content, which has to be of the size that shape and type ask for."""
    if type(shape) is not tuple or len(shape) > _MOST_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise Refused(f"a shape of at most {_MOST_DIMENSIONS} numbers from 0", type(shape).__name__)
    if not isinstance(kind, Dtype) or order not in ("C", "F"):
        raise Refused("a dtype and an order", type(kind).__name__)
    dtype, count = kind.make(), math.prod(shape)
    if dtype.hasobject:
        if type(content) is not list or len(content) != count:
            raise Refused(f"a list of {count} values", type(content).__name__)
        charge(_POINTER * count)
        objects = np.empty(count, object)
        for place, value in enumerate(content):
            objects[place] = value
        return objects.reshape(shape, order=order)
    if isinstance(content, str):
        charge(len(content))
        content = content.encode("latin-1")  # bytes of Python 2
    if not isinstance(content, bytes) or count * dtype.itemsize != len(content):
        there = f"{len(content)} bytes" if isinstance(content, bytes) else type(content).__name__
        raise Refused(f"{count} values of {dtype.str}", there)
    charge(len(content))
    values = np.frombuffer(content, dtype).reshape(shape, order=order)
    return np.asarray(values, dtype.newbyteorder("="))


def _reconstruct(charge: Charge, arguments: tuple[Any, ...]) -> Hollow:
    if len(arguments) != 3 or not isinstance(arguments[0], Name) or arguments[0].role != "ndarray":
        raise Refused("an array of numpy", "another class")
    return Hollow()


def _dtype(charge: Charge, arguments: tuple[Any, ...]) -> Dtype:
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or not _TYPE.fullmatch(code):
        raise Refused("a dtype of numbers, text or objects", repr(code)[:40] if isinstance(code, str) else "another")
    return Dtype("O" if code[0] == "O" else code)


def _scalar(charge: Charge, arguments: tuple[Any, ...]) -> Any:
    if len(arguments) != 2:
        raise Refused("a numpy scalar", f"{len(arguments)} arguments")
    value = make_array(charge, (), arguments[0], "C", arguments[1]).item()
    if not isinstance(value, SCALARS):
        raise Refused("a number or text", type(value).__name__)
    return value


def _frombuffer(charge: Charge, arguments: tuple[Any, ...]) -> NDArray[Any]:
    if len(arguments) != 4:
        raise Refused("buffer, dtype, shape and order", f"{len(arguments)} arguments")
    content, kind, shape, order = arguments
    return make_array(charge, shape, kind, order, content)


def _encode(charge: Charge, arguments: tuple[Any, ...]) -> bytes:
    """Python 3 writes bytes this way in protocol 2."""
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] not in ("latin1", "latin-1"):
        raise Refused("bytes as latin-1 text", "another encoding")
    charge(len(arguments[0]))
    return arguments[0].encode("latin-1")


def _dict(charge: Charge, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise Refused("an empty ordered dict", f"{len(arguments)} arguments")
    return {}


def _bytes(charge: Charge, arguments: tuple[Any, ...]) -> bytes:
    """How protocols 0 to 2 write bytes that are empty. With a number it would ask for that much memory."""
    if arguments:
        raise Refused("empty bytes", f"{len(arguments)} arguments")
    return b""


CALLS: dict[str, Callable[[Charge, tuple[Any, ...]], Any]] = {
    "reconstruct": _reconstruct,
    "dtype": _dtype,
    "scalar": _scalar,
    "frombuffer": _frombuffer,
    "encode": _encode,
    "dict": _dict,
    "bytes": _bytes,
}
