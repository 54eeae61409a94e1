"""Where a run keeps what, and which stages are finished. One `manifest.json` beside each stage's output, written last.

A stage is recognised by the hash of all that decides its result (its part of the configuration, the hashes of its
inputs, code version). The same key again: the stage returns its stored summary and does nothing. Another key: it
runs anew.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pipelines.runtime.progress import say
from skeleton_io import storage

PACKAGES = ("skeleton-ray", "ray", "torch", "transformers", "deepspeed", "peft", "pyarrow", "numpy")


def revision(root: Path) -> str:
    """Git revision of the working copy at `root`, with "-dirty" where files differ; "unknown" outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return "unknown"
    return run.stdout.strip() or "unknown"


@cache
def provenance() -> dict[str, Any]:
    """Versions, machine and git revision (from SKELETON_RAY_REVISION: a job runs in a copy without .git)."""
    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed (run from a working copy)"
    return {
        "versions": versions,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "git_revision": os.environ.get("SKELETON_RAY_REVISION") or revision(Path(__file__).resolve().parents[2]),
    }


def read_manifest(folder: str) -> dict[str, Any] | None:
    """The manifest of a finished stage, or None."""
    uri = storage.join(folder, "manifest.json")
    return json.loads(storage.read_text(uri)) if storage.exists(uri) else None


def run_once(name: str, folder: str, key: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Runs `work` unless `folder` holds a manifest with this key, then writes the manifest.

    Args:
        name: what is printed.
        folder: URI where the stage writes; its `manifest.json` marks it finished.
        key: hash of everything that decides the result.
        work: does the stage and returns its summary, plain JSON data.

    Returns:
        The summary, with `seconds` added.
    """
    earlier = read_manifest(folder)
    if earlier is not None and earlier["key"] == key:
        say(f"[{name}] already done ({earlier['summary']['seconds']:.0f} s at {earlier['finished']}), nothing to do")
        return earlier["summary"]
    if earlier is not None:
        # Its outputs are about to be overwritten; broken off half-way, they must not pass for the old result.
        storage.remove(storage.join(folder, "manifest.json"))
    say(f"[{name}] starts")
    start = time.monotonic()
    summary = work()
    summary["seconds"] = round(time.monotonic() - start, 2)
    manifest = {
        "stage": name,
        "key": key,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance(),
        "summary": summary,
    }
    storage.write_atomic(storage.join(folder, "manifest.json"), json.dumps(manifest, indent=1))
    say(f"[{name}] done in {summary['seconds']:.0f} s")
    return summary
