"""Lines of numbers -> a table, with the line of the first mistake. Knows no format."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from skeleton_io.sources.shared.files import SourceFile

# What float() takes and capture software writes. float() alone would also take "1_000" and words in other scripts.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?nan(\(ind\))?|[-+]?inf", re.IGNORECASE)


def read_numbers(
    file: SourceFile, text: str, columns: int, separator: str | None = None, first_line: int = 1
) -> NDArray[np.float64]:
    """Non-empty lines of `columns` numbers each as (lines, columns).

    Args:
        file: for the error.
        text: the lines.
        columns: numbers per line.
        separator: between numbers; None: white space.
        first_line: number of the text's first line in the file.

    Raises:
        SkeletonFormatError: another count, or something that is no number; with the line.
    """
    rows = [(place, line.split(separator)) for place, line in enumerate(text.split("\n"), first_line) if line.strip()]
    for place, row in rows:
        if len(row) != columns:
            raise file.error(f"line {place}", f"{columns} numbers", f"{len(row)}")
    try:
        return np.array([row for _, row in rows], dtype=np.float64).reshape(len(rows), columns)
    except ValueError:
        for place, row in rows:
            for value in row:
                if not _NUMBER.fullmatch(value.strip()):
                    raise file.error(f"line {place}", "a number", repr(value.strip()[:40])) from None
        raise
