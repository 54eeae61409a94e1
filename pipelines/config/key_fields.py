"""Which fields decide a result: the others are marked where they stand, and a stage's key is made of the rest.

Hashes nothing itself.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_MARK = "keyless"
_ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class _Keyless:
    """The mark of a field: what its key holds instead of the value, and the switch that lets the value in."""

    neutral: Any
    decides_under: str


def keyless(default: T, *, neutral: Any = _ABSENT, decides_under: str = "") -> T:
    """A field with this default that decides no result, so that a finished stage stays finished when it changes.

    Args:
        default: of the field.
        neutral: what the key holds in its place: keys of finished runs do. Without it the key does not have the field
            at all, which is right for every new field.
        decides_under: a boolean field of the same section; where that is true this one does decide, and is in the key.
    """
    mark = _Keyless(neutral=neutral, decides_under=decides_under)
    return dataclasses.field(default=default, metadata={_MARK: mark})


def is_keyless(field: dataclasses.Field[Any]) -> bool:
    """Whether a field of a section is marked."""
    return _MARK in field.metadata


def key_values(section: Any) -> dict[str, Any]:
    """The fields of a section as a key holds them, sections inside it too."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(section):
        value, mark = getattr(section, field.name), field.metadata.get(_MARK)
        if mark is not None and not (mark.decides_under and getattr(section, mark.decides_under)):
            value = mark.neutral
        if value is not _ABSENT:
            values[field.name] = key_values(value) if dataclasses.is_dataclass(value) else value
    return values
