"""Stage 1: writes the synthetic motion set in three native formats. No Ray: it takes seconds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pipelines.config.tree import FullConfig
from pipelines.runtime.digest import digest
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from skeleton_io import storage
from skeleton_io.demo.dataset import VERSION, DemoConfig, write_demo


def write(out: str, cfg: DemoConfig) -> dict[str, Any]:
    """Native files below `out`, a folder or a URI."""
    if storage.is_local(out):
        return write_demo(storage.local_path(out), cfg)
    with tempfile.TemporaryDirectory() as folder:
        summary = write_demo(Path(folder), cfg)
        storage.upload(folder, out)
    return summary


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Writes the set into the run; does nothing where it is already there."""
    key = digest("demo-data", VERSION, cfg.demo)
    return run_once("demo-data", paths.demo, key, lambda: write(paths.demo, cfg.demo))
