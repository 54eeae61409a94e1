"""Where optional inputs are found, and the only place where tests are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with `data/` (real sets) and `golden/` (the authors' frames): $SKELETON_SHARED or ../shared."""
    folder = Path(os.environ.get("SKELETON_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder}; point SKELETON_SHARED at a folder that holds data/ and golden/")
    return folder
