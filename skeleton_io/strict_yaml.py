"""YAML text -> plain data, strictly, and back. The one YAML loader of the project.

No key may be given twice, and aliases are read only where a caller wants them and while they stand for little. YAML
drops the first of two equal keys in silence, lets aliases multiply a small file into gigabytes, and reads 1e-4 as a
string. Knows no meaning of what it reads and opens no file.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

# No hash is a number: 016e09451012 and its like stay text.
_FLOAT = re.compile(
    r"^[-+]?(\d+\.\d*|\.\d+|[1-9]\d{0,8})([eE][-+]?\d{1,3})$|^[-+]?(\d+\.\d*|\.\d+)$|^[-+]?\.(inf|nan)$", re.IGNORECASE
)
_BREAKS = "\x85\u2028\u2029"
_LONGEST = 300
"""Characters of the parser's own message that are passed on."""
_LARGEST = 100_000
"""Values that a file with aliases may stand for."""


class _UniqueKeys(yaml.constructor.SafeConstructor):
    """Refuses keys given twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for number, key in enumerate(keys):
                if key in keys[:number]:
                    raise yaml.MarkedYAMLError(problem=f"key {key[1]!r} is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


class _Loader(_UniqueKeys, yaml.SafeLoader):
    """In Python, so that nesting without end is an exception and no crash."""


class _NoAliases(_Loader):
    """For files that may come from strangers."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not supported", problem_mark=mark)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Writes a list that occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> Any:
    """In double quotes where YAML would take a character of it for a line break, which it changes on the way."""
    style = '"' if any(character in _BREAKS for character in text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
_LibYaml: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PackagedLoader(_UniqueKeys, _LibYaml):
    """For files of this package: libyaml, several times as fast."""


for _class in (_Loader, _NoAliases, _PackagedLoader, _Dumper):
    # YAML 1.1 wants a dot in a number with an exponent; the dumper quotes the text "1e4" by the same rule.
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def parse(text: str | bytes, aliases: bool = False, packaged: bool = False) -> Any:
    """The data of one YAML document; None for an empty one.

    Args:
        text: the document; bytes are UTF-8.
        aliases: whether `*name` may repeat what `&name` marked, as long as the whole stays small.
        packaged: a file of this package: read by the faster parser, aliases and all.

    Raises:
        ValueError: not YAML, not UTF-8, a key given twice, an alias where none may be, or nested too deep; one line
            that says where.
    """
    loader = _PackagedLoader if packaged else _Loader if aliases else _NoAliases
    try:
        data = yaml.load(text, Loader=loader)
        if aliases and _size(data, {}) > _LARGEST:
            raise ValueError(f"its aliases stand for more than {_LARGEST} values")
        return data
    except yaml.reader.ReaderError as error:
        if error.encoding.startswith("utf"):  # else the bytes are text, of characters that YAML refuses
            raise ValueError(f"not UTF-8 text: byte {error.position}") from None
        raise ValueError(_one_line(error)[:_LONGEST]) from None
    except yaml.YAMLError as error:
        raise ValueError(_one_line(error)[:_LONGEST]) from None
    except RecursionError:
        raise ValueError("nested too deep") from None


def _size(data: object, sizes: dict[int, int]) -> int:
    """How many values `data` stands for once every alias is written out; shared parts are counted once and kept."""
    if not isinstance(data, dict | list):
        return 1
    if id(data) not in sizes:
        sizes[id(data)] = _LARGEST  # of a value that holds itself
        parts = [*data, *data.values()] if isinstance(data, dict) else data
        sizes[id(data)] = 1 + sum(_size(part, sizes) for part in parts)
    return sizes[id(data)]


def dump(data: object, width: float = 80) -> str:
    """Plain data as YAML that `parse` reads back: in the given order, without aliases."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)


def _one_line(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the parser's picture of the place."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = " ".join(part for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part)
    if mark is None or not problem:
        return " ".join(str(error).split())
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})"
