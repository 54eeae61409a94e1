"""Where optional inputs are found, and the only place where tests are skipped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[1]

# No test is timed: a busy machine would fail it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def denormal_numbers() -> Iterator[None]:
    """Training in this process switches denormal numbers off for good; the next test must have them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


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


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    """A CUDA device."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: nothing is checked on a GPU here")
    return torch.device("cuda")


@pytest.fixture(scope="session")
def triton() -> ModuleType:
    """The Triton compiler; part of the dev extra on Linux."""
    return pytest.importorskip("triton", reason="triton is not installed: its kernels are not checked here")
