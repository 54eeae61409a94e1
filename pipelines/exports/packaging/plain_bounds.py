"""What stands in a package's one file for the classes of `annotated_types`, which its reader need not have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ge:
    """At least."""

    ge: float


@dataclass(frozen=True)
class Gt:
    """Above."""

    gt: float


@dataclass(frozen=True)
class Le:
    """At most."""

    le: float


@dataclass(frozen=True)
class Lt:
    """Below."""

    lt: float
