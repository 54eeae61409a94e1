"""Hostile and damaged files for every reader, the short version of `benchmarks/fuzz.py`: no crash, hang or bomb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skeleton_io.sources.registry import SOURCES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
INPUTS, STRIDE = 45, 3
"""A third of the hostile files, and some damaged ones."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    kept = tmp_path_factory.mktemp("fuzz") / "results.json"
    command = [sys.executable, "benchmarks/fuzz.py", "--json", str(kept)]
    command += ["--inputs", str(INPUTS), "--stride", str(STRIDE)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, check=False)
    return json.loads(kept.read_text())


@pytest.mark.parametrize("name", SOURCES)
def test_every_input_ends_in_a_record_or_an_error(name: str, results: dict[str, Any]) -> None:
    found = results[name]
    assert found["inputs"] == INPUTS
    assert found["bad"] == []
    assert found["records"] + found["errors"] + found["both"] == INPUTS
