"""The index of formats names every source, and every link in it and on the pages leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from skeleton_io.sources.registry import SOURCES


def test_every_source_is_in_the_index(repo_root: Path):
    rows = re.findall(r"^\| \[?`?(\w+)`?", (repo_root / "docs/formats.md").read_text(), re.MULTILINE)
    missing = sorted(set(SOURCES) - set(rows))
    assert not missing, f"add a row to docs/formats.md and a page in docs/formats for {missing}"


def test_pages_and_links_of_the_index(repo_root: Path):
    pages = [repo_root / "docs/formats.md", *sorted((repo_root / "docs/formats").glob("*.md"))]
    index = pages[0].read_text()
    for page in pages[1:]:
        assert f"(formats/{page.name})" in index, f"docs/formats.md has no link to {page.name}"
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)
