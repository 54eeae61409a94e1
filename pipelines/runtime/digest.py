"""The hash under which a finished piece of work is recognised."""

from __future__ import annotations

import dataclasses
import hashlib
import json


def digest(*parts: object) -> str:
    """Hash (16 hex digits) of configurations and plain data: the key under which a finished stage is recognised."""

    def plain(part: object) -> object:
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            return dataclasses.asdict(part)
        return part

    text = json.dumps([plain(part) for part in parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
