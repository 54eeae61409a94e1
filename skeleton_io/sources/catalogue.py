"""The formats as a list for people: which files, how many joints, dimensions and persons, and the page about it.

Only text: what each reader says of itself (`FileSource.listing`) beside its page.
"""

from __future__ import annotations

from pathlib import Path

from skeleton_io.sources.registry import SOURCES
from skeleton_io.sources.shared.files import Listing

COLUMNS = ("name", "files", "joints", "dims", "persons", "page")
_DOCS = Path(__file__).resolve().parents[2] / "docs"
_ARRAYS = Listing(files="npy, npz, csv, txt, json, mat, parquet by a YAML", joints="any", dims="2 or 3", persons="any")


def rows() -> list[tuple[str, str, str, str, str, str]]:
    """A row of COLUMNS for each format of the table, then `arrays`."""
    sources = [(name, getattr(source, "listing", Listing())) for name, source in SOURCES.items()]
    listings = [*sources, ("my.yaml", _ARRAYS)]
    return [(name, text.files, text.joints, text.dims, text.persons, page(name)) for name, text in listings]


def page(name: str) -> str:
    """Path of a format's page within the repository; the index of formats for one without a page."""
    if name == "my.yaml":
        return "docs/own-data.md"
    return f"docs/formats/{name}.md" if (_DOCS / "formats" / f"{name}.md").exists() else "docs/formats.md"
