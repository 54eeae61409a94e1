"""The pictures of docs/gallery.md can be made again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.config import RendererConfig
from models.draction.renderer import DrAction
from models.draction.weights import save_renderer

pytestmark = pytest.mark.slow

SHEETS = {"gallery_formats": 6, "gallery_training": 4, "gallery_renderers": 4}
SIDE, LABEL = 160, 118


def test_three_sheets(repo_root: Path, tmp_path: Path):
    torch.manual_seed(1)
    save_renderer(DrAction(RendererConfig(frames=4, image_size=64, samples_per_bone=4)), tmp_path / "w.safetensors")
    command = [sys.executable, "benchmarks/gallery.py", "--weights", str(tmp_path / "w.safetensors")]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=repo_root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, rows in SHEETS.items():
        with Image.open(tmp_path / f"{name}.png") as image:
            page = np.asarray(image)
        assert page.shape == (rows * SIDE, LABEL + 6 * SIDE, 3)
        frames = page[:, LABEL:].reshape(rows, SIDE, 6, SIDE, 3)
        assert ((frames > 40).any(-1).sum((1, 3)) > 100).all()  # somebody in every frame of every row
        published = repo_root / "docs" / "images" / f"{name}.png"
        assert published.stat().st_size < 300 * 1024
