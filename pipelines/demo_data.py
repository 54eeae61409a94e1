"""Stage 1: writes the synthetic motion set in three native formats. No Ray: it takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines import manifest
from pipelines.config import FullConfig, digest
from pipelines.errors import UserError
from pipelines.manifest import RunPaths
from skeleton_io.demo import VERSION, DemoConfig, write_demo


def write(out: str, cfg: DemoConfig) -> dict[str, Any]:
    """Native files below `out`, a local folder.

    Raises:
        UserError: `out` is a remote URI; native files are read from a disk.
    """
    if "://" in out:
        raise UserError(f"the demo data are native files for a local folder, found {out}")
    Path(out).mkdir(parents=True, exist_ok=True)
    return write_demo(Path(out), cfg)


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Writes the set into the run; does nothing where it is already there."""
    key = digest("demo-data", VERSION, cfg.demo)
    return manifest.run_stage("demo-data", paths.demo, key, lambda: write(paths.demo, cfg.demo))
