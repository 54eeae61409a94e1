"""Skeleton files of any format in, one validated record out. numpy and pyarrow only: no torch, no Ray, no models.

from skeleton_io import read, read_all, open_shards, formats
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skeleton_io.errors import SkeletonFormatError
    from skeleton_io.reading import formats, open_shards, read, read_all
    from skeleton_io.record.sequence import SkeletonSequence
    from skeleton_io.record.topology import Topology

__all__ = ["SkeletonFormatError", "SkeletonSequence", "Topology", "formats", "open_shards", "read", "read_all"]

_HOMES = {
    "SkeletonFormatError": "skeleton_io.errors",
    "SkeletonSequence": "skeleton_io.record.sequence",
    "Topology": "skeleton_io.record.topology",
    "formats": "skeleton_io.reading",
    "open_shards": "skeleton_io.reading",
    "read": "skeleton_io.reading",
    "read_all": "skeleton_io.reading",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use (PEP 562): a module below this package loads no more than it needs.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
