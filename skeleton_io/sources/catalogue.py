"""The formats as a list for people: which files, how many joints, dimensions and persons, and the page about it.

Only text: what each reader says of itself (`FileSource.listing`) beside its page.
"""

from __future__ import annotations

import re

from skeleton_io.sources.registry import SOURCES
from skeleton_io.sources.shared.files import Listing

COLUMNS = ("name", "files", "joints", "dims", "persons", "page")
_OURS = frozenset(SOURCES)
"""The formats of this package: each has a page."""
_ARRAYS = Listing(files="npy, npz, csv, txt, json, mat, parquet by a YAML", joints="any", dims="2 or 3", persons="any")


def rows() -> list[tuple[str, str, str, str, str, str]]:
    """A row of COLUMNS for each format of the table, then `arrays`."""
    sources = [(name, getattr(source, "listing", Listing())) for name, source in SOURCES.items()]
    listings = [*sources, ("my.yaml", _ARRAYS)]
    return [(name, text.files, text.joints, text.dims, text.persons, page(name)) for name, text in listings]


def title(name: str) -> str:
    """What a format of the table is, in a few words."""
    return getattr(SOURCES[name], "listing", Listing()).title


def suffixes(files: str) -> tuple[str, ...]:
    """The file suffixes in a row's text, such as ".bvh" in "*.bvh", in lower case and sorted."""
    return tuple(sorted({suffix.lower() for suffix in re.findall(r"\.[A-Za-z]\w+", files)}))


def page(name: str) -> str:
    """Path of a format's page within the repository; the index of formats for one that a program put into the table."""
    if name == "my.yaml":
        return "docs/own-data.md"
    return f"docs/formats/{name}.md" if name in _OURS else "docs/formats.md"
