"""A local server for the teachers. Ray and S3 are those of `tests/conftest.py`."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class TeacherServer:
    """A local server that speaks the OpenAI protocol; `control` changes how it behaves and returns its counts."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def control(self, **changes: object) -> dict[str, int]:
        body = json.dumps(changes).encode() if changes else None
        request = urllib.request.Request(
            f"{self.url}/control", body, {"Content-Type": "application/json"}, method="POST" if changes else "GET"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def teacher_process() -> Iterator[TeacherServer]:
    """The server as a process of its own, ended with the session."""
    command = [sys.executable, str(ROOT / "benchmarks" / "openai_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield TeacherServer(json.loads(process.stdout.readline())["port"])
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


@pytest.fixture
def teacher_server(teacher_process: TeacherServer) -> TeacherServer:
    """The server with its first behaviour and counts at zero."""
    teacher_process.control(reset=True)
    return teacher_process
