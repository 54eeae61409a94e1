"""Pickle bytes -> plain Python data and numpy arrays, by an interpreter of its own that can execute nothing.

Takes what data pickles of Python 2 and 3 hold (protocols 0 to 5): dict, list, tuple, text, bytes, numbers, None, numpy
arrays and scalars. Names of classes and functions are only compared with a short list of numpy's constructors, never
imported or called; every other name, and each opcode that could make an instance, is refused. Arrays are made from
their bytes after shape and type have been checked against them. Memory is accounted for as it goes: small files that
ask for much (long runs of empty dicts, one payload behind many arrays) end in an error.

Opcodes: Python's `pickletools`. numpy's states: `ndarray.__reduce__`, `dtype.__reduce__`.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from skeleton_io.sources.decoders.pickle_arrays import CALLS, NAMES, SCALARS, Dtype, Hollow, Name, Refused, make_array
from skeleton_io.sources.shared.files import SourceFile

SPARE_BYTES = 384 << 20
"""What a pickle may take in memory beyond its own size, by a rough account of Python's object sizes."""
# A 64-bit number has 20 characters with its sign; int() of longer ones takes time that grows with the square.
_MOST_DIGITS = 20
_LONGEST_LINE = 4096
# Bytes of a slot in a container, of an object in a slot, of an array with its header: about those of CPython.
_SMALL, _OBJECT, _ARRAY = 8, 104, 256


def load_pickle(data: bytes, file: SourceFile, place: str = "pickle") -> Any:
    """The value of a pickle. Executes nothing, whatever the bytes are.

    Containers may be shared or contain themselves, as in any pickle: walk only the levels that the format defines.
    Arrays may be read-only. Object arrays hold values of the kinds above.

    Args:
        data: the pickle; what follows its end is ignored.
        file: named in errors.
        place: where these bytes stand, for errors.

    Raises:
        SkeletonFormatError: no pickle, or one that asks for more than plain data; says at which byte.
    """
    machine = _Machine(data)
    try:
        return machine.run()
    except Refused as error:
        raise file.error(f"{place}, byte {machine.at}", *error.args) from None
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        found = f"{type(error).__name__}: {error}"[:160]
        raise file.error(f"{place}, byte {machine.at}", "a sound pickle", found) from None


class _Machine:
    """Stack, memo and cursor. `at` is the place of the opcode under way."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = self.next = 0
        self.left = SPARE_BYTES + len(data)
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        data, end = self.data, len(self.data)
        while self.next < end:
            self.at = self.next
            code = data[self.at]
            self.next += 1
            if code == 0x2E:  # "."
                return self._result()
            action = _ACTIONS.get(code)
            if action is None:
                raise Refused("plain data", f"opcode {chr(code)!r}, which makes other objects or is unknown")
            action(self)
        raise Refused("the end of a pickle", "the end of the bytes")

    def _result(self) -> Any:
        value = self.pop()
        if isinstance(value, Name | Dtype | Hollow):
            raise Refused("plain data", "a bare type")
        return value

    def take(self, size: int) -> bytes:
        """The next bytes. Their number is checked first."""
        if size < 0 or size > len(self.data) - self.next:
            raise Refused(f"{size} bytes", f"{len(self.data) - self.next} left")
        self.next += size
        return self.data[self.next - size : self.next]

    def number(self, size: int) -> int:
        """An unsigned little-endian number."""
        return int.from_bytes(self.take(size), "little")

    def line(self, longest: int = _LONGEST_LINE) -> bytes:
        """Up to the end of the line, for the text opcodes."""
        end = self.data.find(b"\n", self.next, self.next + longest + 1)
        if end < 0:
            raise Refused(f"a line of at most {longest} bytes", "none")
        text = self.take(end - self.next)
        self.next = end + 1
        return text

    def charge(self, size: int) -> None:
        """Takes from what is left of the memory allowed."""
        self.left -= size
        if self.left < 0:
            raise Refused(f"at most {SPARE_BYTES >> 20} MiB beyond the file's own size", "a pickle that asks for more")

    def push(self, value: Any, size: int = _SMALL) -> None:
        self.charge(size)
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise Refused("a value", "an empty stack")
        return self.stack.pop()

    def drop(self) -> None:
        """Pops a value, or the mark where there is none above it."""
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def pop_mark(self) -> list[Any]:
        """What was pushed since the last mark."""
        if not self.marked:
            raise Refused("a mark", "none")
        values, self.stack = self.stack, self.marked.pop()
        return values

    def mark(self) -> None:
        self.charge(_OBJECT)
        self.marked.append(self.stack)
        self.stack = []

    def collect(self, count: int) -> None:
        """Tuple of the last values."""
        if len(self.stack) < count:
            raise Refused(f"{count} values", f"{len(self.stack)}")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.push(values, _OBJECT)

    def put(self, key: int) -> None:
        if not self.stack:
            raise Refused("a value", "an empty stack")
        self.charge(_OBJECT)
        self.memo[key] = self.stack[-1]
        if isinstance(self.stack[-1], Hollow):
            self.stack[-1].keys.append(key)

    def get(self, key: int) -> None:
        if key not in self.memo:
            raise Refused("something put in the memo", f"entry {key}")
        self.push(self.memo[key])

    def add_to_list(self, values: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if type(target) is not list:
            raise Refused("a list", type(target).__name__)
        self.charge(_SMALL * len(values))
        target.extend(values)

    def add_to_dict(self, values: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if type(target) is not dict or len(values) % 2:
            raise Refused("a dict and pairs", type(target).__name__)
        self.charge(_OBJECT * (len(values) // 2))
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Nested tuples that share parts take exponential time to hash.
            if not isinstance(key, SCALARS):
                raise Refused("text or a number as key", type(key).__name__)
            target[key] = value

    def name(self, module: str, attribute: str) -> None:
        """A class or function by name. Never looked up."""
        full_name = f"{module} {attribute}"
        if full_name not in NAMES:
            raise Refused("plain data or a numpy array", f"the name {full_name[:100]!r}; nothing was executed")
        self.push(Name(NAMES[full_name]))

    def reduce(self) -> None:
        arguments, constructor = self.pop(), self.pop()
        if not isinstance(constructor, Name) or constructor.role not in CALLS or type(arguments) is not tuple:
            raise Refused("one of numpy's constructors", type(constructor).__name__)
        self.push(CALLS[constructor.role](self.charge, arguments), _ARRAY)

    def build(self) -> None:
        """State of the value below: byte order of a dtype, content of an array."""
        state, target = self.pop(), self.pop()
        if type(state) is not tuple:
            raise Refused("the state of an array or a dtype", type(state).__name__)
        if isinstance(target, Dtype):
            if len(state) < 2 or state[1] not in ("<", ">", "=", "|") or any(s is not None for s in state[2:5]):
                raise Refused("a plain dtype", "one with fields or a shape")
            target.order = "=" if state[1] == "|" else state[1]
            self.push(target)
            return
        if not isinstance(target, Hollow) or len(state) != 5:
            raise Refused("an array of numpy", type(target).__name__)
        _, shape, kind, fortran, content = state
        value = make_array(self.charge, shape, kind, "F" if fortran else "C", content)
        for key in target.keys:
            self.memo[key] = value
        self.push(value, _ARRAY)


def _text(machine: _Machine, size: int) -> None:
    machine.push(machine.take(size).decode("utf-8", "surrogatepass"), _OBJECT)


def _old_text(machine: _Machine, data: bytes) -> None:
    """Text or bytes of Python 2; latin-1 keeps both."""
    machine.push(data.decode("latin-1"), _OBJECT)


def _payload(machine: _Machine, size: int) -> None:
    machine.push(machine.take(size), _OBJECT)


def _long(machine: _Machine, size: int) -> None:
    # 128 bits: nothing in a data set is larger.
    if size > 16:
        raise Refused("a number of at most 16 bytes", f"{size}")
    machine.push(int.from_bytes(machine.take(size), "little", signed=True), _OBJECT)


def _parse_int(machine: _Machine) -> None:
    line = machine.line().strip()
    if line in (b"00", b"01"):
        machine.push(line == b"01")
        return
    if len(line) > _MOST_DIGITS:
        raise Refused(f"at most {_MOST_DIGITS} digits", str(len(line)))
    machine.push(int(line.removesuffix(b"L")), _OBJECT)


def _parse_quoted(machine: _Machine) -> None:
    line = machine.line(len(machine.data)).strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Refused("quoted text", "another line")
    _old_text(machine, codecs.escape_decode(line[1:-1])[0])


def _stack_name(machine: _Machine) -> None:
    attribute, module = machine.pop(), machine.pop()
    if not isinstance(module, str) or not isinstance(attribute, str):
        raise Refused("a name", type(module).__name__)
    machine.name(module[:100], attribute[:100])


def _protocol(machine: _Machine) -> None:
    version = machine.number(1)
    if version > 5:
        raise Refused("protocol 0 to 5", str(version))


def _tuple(machine: _Machine) -> None:
    values = machine.pop_mark()
    machine.push(tuple(values), _OBJECT + _SMALL * len(values))


_ACTIONS: dict[int, Callable[[_Machine], None]] = {
    ord(code): action
    for code, action in {
        "\x80": _protocol,
        "\x95": lambda m: m.take(8) and None,  # FRAME: only a hint for reading ahead
        "(": _Machine.mark,
        "0": lambda m: m.drop(),
        "1": lambda m: m.pop_mark() and None,
        "2": lambda m: m.push(m.stack[-1]),
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "I": _parse_int,
        "L": _parse_int,
        "J": lambda m: m.push(struct.unpack("<i", m.take(4))[0], _OBJECT),
        "K": lambda m: m.push(m.number(1)),
        "M": lambda m: m.push(m.number(2), _OBJECT),
        "\x8a": lambda m: _long(m, m.number(1)),
        "\x8b": lambda m: _long(m, m.number(4)),
        "F": lambda m: m.push(float(m.line(64)), _OBJECT),
        "G": lambda m: m.push(struct.unpack(">d", m.take(8))[0], _OBJECT),
        "S": _parse_quoted,
        "T": lambda m: _old_text(m, m.take(m.number(4))),
        "U": lambda m: _old_text(m, m.take(m.number(1))),
        "V": lambda m: m.push(m.line(len(m.data)).decode("raw-unicode-escape"), _OBJECT),
        "X": lambda m: _text(m, m.number(4)),
        "\x8c": lambda m: _text(m, m.number(1)),
        "\x8d": lambda m: _text(m, m.number(8)),
        "B": lambda m: _payload(m, m.number(4)),
        "C": lambda m: _payload(m, m.number(1)),
        "\x8e": lambda m: _payload(m, m.number(8)),
        "\x96": lambda m: _payload(m, m.number(8)),
        "]": lambda m: m.push([], _OBJECT),
        "l": lambda m: m.push(m.pop_mark(), _OBJECT),
        "a": lambda m: m.add_to_list([m.pop()]),
        "e": lambda m: m.add_to_list(m.pop_mark()),
        ")": lambda m: m.push(()),
        "t": _tuple,
        "\x85": lambda m: m.collect(1),
        "\x86": lambda m: m.collect(2),
        "\x87": lambda m: m.collect(3),
        "}": lambda m: m.push({}, _OBJECT),
        "d": lambda m: _collect_dict(m),
        "s": lambda m: m.add_to_dict([m.pop(), m.pop()][::-1]),
        "u": lambda m: m.add_to_dict(m.pop_mark()),
        "p": lambda m: m.put(int(m.line(_MOST_DIGITS))),
        "q": lambda m: m.put(m.number(1)),
        "r": lambda m: m.put(m.number(4)),
        "\x94": lambda m: m.put(len(m.memo)),
        "g": lambda m: m.get(int(m.line(_MOST_DIGITS))),
        "h": lambda m: m.get(m.number(1)),
        "j": lambda m: m.get(m.number(4)),
        "c": lambda m: m.name(m.line().decode("latin-1"), m.line().decode("latin-1")),
        "\x93": _stack_name,
        "R": _Machine.reduce,
        "b": _Machine.build,
    }.items()
}


def _collect_dict(machine: _Machine) -> None:
    values = machine.pop_mark()
    machine.push({}, _OBJECT)
    machine.add_to_dict(values)
