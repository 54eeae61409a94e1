"""Bounds that stand beside a field, `frames: Annotated[int, Ge(1)]` -> words, and the check of an instance.

Knows no particular configuration, and the classes of `annotated_types` by their shape only: one attribute that is named
like the comparison.
"""

from __future__ import annotations

import dataclasses
import operator
from typing import Any, get_type_hints

WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
"""Comparison, as `operator` and `annotated_types` name it -> how a bound is told."""


def bounds_of(hint: Any) -> list[tuple[str, float]]:
    """(comparison, limit) for each bound of an annotated type; none for any other type."""
    parts = [part for part in getattr(hint, "__metadata__", ()) if dataclasses.is_dataclass(part)]
    pairs = [(field.name, getattr(part, field.name)) for part in parts for field in dataclasses.fields(part)]
    return [(comparison, limit) for comparison, limit in pairs if comparison in WORDS and limit is not None]


def check_bounds(config: object, section: str) -> None:
    """Every field of a dataclass instance within its bounds: for instances made in Python, not decoded from a file.

    Raises:
        ValueError: names `section` and the field, the bound and what was found.
    """
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        for comparison, limit in bounds_of(hint):
            value = getattr(config, name)
            if not getattr(operator, comparison)(value, limit):
                raise ValueError(f"{section}.{name} must be {WORDS[comparison]} {limit}, found {value}")
