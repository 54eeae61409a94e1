"""Bounds beside the fields of a configuration -> the help that tyro makes of them. Checks none: who decodes does."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, get_args

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from models.bounds import WORDS, bounds_of


def help_registry() -> ConstructorRegistry:
    """What tyro.cli takes as `registry`, so that its help says the bounds of fields before their defaults."""
    rules = _BoundsInHelp()
    registry = ConstructorRegistry()
    registry.struct_rule(rules.spec)
    return registry


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
