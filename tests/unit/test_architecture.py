"""docs/architecture.md is true: every room of the packages is on the map, and every file that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGES = ("pipelines", "skeleton_io", "models")
MOST_FILES = 14
"""In one folder: about twelve, and `__init__` and one that is being split."""


@pytest.fixture(scope="module")
def page(repo_root: Path) -> str:
    return (repo_root / "docs" / "architecture.md").read_text()


def rooms(root: Path) -> list[Path]:
    return sorted(file.parent for name in PACKAGES for file in (root / name).rglob("__init__.py"))


def test_every_room_is_on_the_map(repo_root: Path, page: str) -> None:
    named = {name.rstrip("/") for name in re.findall(r"`((?:pipelines|skeleton_io|models)/[\w/]*)`", page)}
    missing = [room.relative_to(repo_root).as_posix() for room in rooms(repo_root)]
    assert [room for room in missing if "/" in room and room not in named] == []


def test_everything_that_it_names_is_there(repo_root: Path, page: str) -> None:
    paths = re.findall(r"`((?:pipelines|skeleton_io|models|tests)/[\w/.]+)`", page)
    assert len(paths) > 80
    assert [path for path in paths if not (repo_root / path).exists()] == []


def test_every_table_that_it_names_is_there(repo_root: Path, page: str) -> None:
    tables = re.findall(r"`([A-Z]+)` in `([\w/.]+)`", page)
    assert len(tables) >= 7
    for table, path in tables:
        assert re.search(rf"^{table}\b", (repo_root / path).read_text(), re.M), f"{table} in {path}"


def test_no_room_is_crowded(repo_root: Path) -> None:
    crowded = {room.relative_to(repo_root).as_posix(): len(list(room.glob("*.py"))) for room in rooms(repo_root)}
    assert {room: files for room, files in crowded.items() if files > MOST_FILES} == {}


def test_every_room_says_what_it_is(repo_root: Path) -> None:
    assert [room for room in rooms(repo_root) if not (room / "__init__.py").read_text().startswith('"""')] == []
