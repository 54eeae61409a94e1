"""One Ray and one S3 server for all integration tests: own ports, own temp folder, gone at the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cluster.connect import OFFLINE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """URL of an S3 server in this process; the environment points every client, Ray's workers too, to it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def ray_session(s3_endpoint: str) -> Iterator[None]:
    """A local Ray with 4 logical CPUs. Starts its own whatever else runs on the machine.

    Started after the S3 server: workers take over the environment of this moment.
    """
    # Not pytest's folder: unix sockets allow about 100 characters.
    folder = tempfile.mkdtemp(prefix="skel-")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OFFLINE.items():
            patch.setenv(name, value)
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))
        patch.delenv("RAY_ADDRESS", raising=False)
        import ray

        ray.init(address="local", num_cpus=4, include_dashboard=True, dashboard_host="127.0.0.1", log_to_driver=False)
        yield
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


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
