"""Checkpoints on S3 through a server that refuses, loses and cuts answers, and through the end of the writer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
import torch

from benchmarks.checkpoint_s3 import State
from pipelines.trainer import checkpoint_files

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = 300_000
BUCKET = "skel-checkpoints"


@pytest.fixture(scope="module")
def faulty(s3_endpoint: str) -> Iterator[dict[str, str]]:
    """Environment of a client whose every fifth request meets a fault."""
    s3fs.S3FileSystem().mkdir(BUCKET)
    command = [sys.executable, str(ROOT / "benchmarks" / "faulty_s3.py"), "--target", s3_endpoint, "--rate", "0.2"]
    command += ["--kinds", "500", "503", "lost", "cut"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        yield os.environ | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "OMP_NUM_THREADS": "1"}
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


def writer(root: str, environment: dict[str, str], steps: int, step_ms: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.checkpoint_s3", "--root", root, "--steps", str(steps)]
    command += ["--numbers", str(NUMBERS), "--step-ms", str(step_ms)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def newest(root: str) -> int:
    """Step of the checkpoint that would be taken, which is whole; 0 where there is none."""
    found = checkpoint_files.list_complete(root)
    if not found:
        return 0
    state, expected = State(NUMBERS, 0), State(NUMBERS, found[-1].step)
    checkpoint_files.read_into(found[-1], state.pieces())
    for own, other in zip(state.pieces(), expected.pieces(), strict=True):
        assert torch.equal(own.weight, other.weight)
        assert torch.equal(own.square, other.square)
    return found[-1].step


@pytest.mark.slow
def test_faults_of_the_store_cost_nothing(faulty: dict[str, str]) -> None:
    root = f"s3://{BUCKET}/faults"
    process = writer(root, faulty, 10, 0)
    told = json.loads(process.communicate(timeout=240)[0].splitlines()[-1])
    assert len(told["written"]) >= 8
    assert newest(root) == told["written"][-1]
    assert len(checkpoint_files.list_complete(root)) == 3


def test_a_writer_that_is_killed_leaves_its_last_whole_checkpoint(faulty: dict[str, str]) -> None:
    root, before = f"s3://{BUCKET}/killed", 0
    for wait in (0.05, 0.3):
        process = writer(root, faulty, 10_000, 5)
        deadline = time.monotonic() + 120
        while newest(root) <= before and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(wait)
        process.kill()
        process.communicate()
        reached = newest(root)
        assert reached > before
        before = reached
