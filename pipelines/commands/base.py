"""What a command module and `cli` agree on."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Protocol

Work = Callable[[argparse.Namespace, list[str]], None]
"""Takes the parsed arguments and those that the parser did not know."""


class Add(Protocol):
    """Adds a command and returns its parser."""

    def __call__(self, name: str, text: str, work: Work) -> argparse.ArgumentParser:
        """`text` is one sentence without capital and full stop."""
        ...
