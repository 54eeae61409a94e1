"""What all tests share: one Ray and one S3 server, optional inputs, and the only place where tests are skipped."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from pipelines.cluster.connect import OFFLINE

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[1]
RAY = "tests that start Ray"

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: processes with a thread per core each would take the cores from each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test is timed: a busy machine would fail it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@cache
def process_of(file: str) -> str:
    """Name of what runs in one process, one after another: a file of tests, or all files that start Ray."""
    path = ROOT / file
    if path.is_relative_to(ROOT / "tests" / "unit") or path.is_relative_to(ROOT / "tests" / "parity"):
        return RAY if "ray_session" in path.read_text() else file
    return RAY


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Who runs what under `-n`: fixtures of a module are made once, and two Rays never fight for the cores.

    The plugin's own groups (`xdist_group`) do nothing under pytest 9: they rely on changing a test's id.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return process_of(nodeid.partition("::")[0])

    return ByFile(config, log)


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


def start_ray(tries: int = 3) -> None:
    """As the product starts it: Ray gives a head 30 s, which a machine under full load does not always keep."""
    import ray

    while not ray.is_initialized():
        tries -= 1
        try:
            ray.init(
                address="local", num_cpus=4, include_dashboard=True, dashboard_host="127.0.0.1", log_to_driver=False
            )
        except Exception as error:  # Ray raises the bare class here
            if not tries or "timed out during startup" not in str(error):
                raise


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

        start_ray()
        yield
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
