"""Fields of a configuration as options of a command line: types and defaults by tyro, bounds shown in the help.

Checks no bounds: whoever decodes the result does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar, get_args

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from models.bounds import WORDS, bounds_of

T = TypeVar("T")


def parse_fields(section: type[T], default: T, arguments: Sequence[str], prog: str | None = None) -> T:
    """`default` with the fields that `arguments` name; `--help` and wrong ones end the process, as in argparse.

    Args:
        section: a dataclass; options bear its fields' names, `--train.zero-stage` those of a section inside it.
        default: what holds where no option is given.
        arguments: of the command line.
        prog: the command in the help; None: as it was started.
    """
    rules = _BoundsInHelp()
    registry = ConstructorRegistry()
    registry.struct_rule(rules.spec)
    return tyro.cli(section, default=default, args=arguments, prog=prog, registry=registry)


def bounds_text(hint: Any) -> str:
    """The bounds of a field's type for its help, "at least 0, below 1"; those of a mapping's values with "each"."""
    words = ", ".join(f"{WORDS[comparison]} {limit:g}" for comparison, limit in bounds_of(hint))
    if words:
        return words
    of_values = [text for part in get_args(hint) if (text := bounds_text(part))]
    return f"each {of_values[-1]}" if of_values else ""


class _BoundsInHelp:
    """A rule of tyro: its own one for a dataclass, and then the bounds before each default."""

    def __init__(self) -> None:
        self.inside = False

    def spec(self, info: StructTypeInfo) -> StructConstructorSpec | None:
        """Called by tyro for each section, and by ourselves once more for tyro's own rule."""
        if self.inside or not dataclasses.is_dataclass(info.type):
            return None
        self.inside = True
        try:
            spec = ConstructorRegistry.get_struct_spec(info)
        finally:
            self.inside = False
        if not isinstance(spec, StructConstructorSpec):
            return None
        return dataclasses.replace(spec, fields=tuple(_with_bounds(field) for field in spec.fields))


def _with_bounds(field: StructFieldSpec) -> StructFieldSpec:
    text = bounds_text(field.type)
    if not text:
        return field
    shown = tyro.conf.arg(help_behavior_hint=lambda default: f"({text}; default: {default})")
    annotated: Any = Annotated[field.type, shown]
    return dataclasses.replace(field, type=annotated)
