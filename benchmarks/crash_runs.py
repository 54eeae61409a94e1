"""One `skel ingest` as a process of its own, with a Ray of its own, that can be killed in several ways.

Its processes are known by their temp folder, whoever their parent is by now: nothing else is ever ended.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
PER_SHARD = 8
LIMIT = 300.0  # seconds after which a run counts as hung
KINDS = ("everything", "driver", "worker")


class Run:
    """`skel ingest` in a process of its own, with a temp folder that names all its processes."""

    def __init__(self, inputs: dict[str, str], out: str, environment: dict[str, str]) -> None:
        # Unix sockets allow about 100 characters, and Ray's folder lies in this one.
        self.folder = tempfile.mkdtemp(prefix="c-", dir="/tmp")
        command = [sys.executable, "-m", "pipelines.cli", "ingest", "--out", out, "--clips-per-shard", str(PER_SHARD)]
        command += ["--input", *(f"{name}={path}" for name, path in inputs.items())]
        env = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "RAY_TMPDIR")} | environment
        env |= {"TMPDIR": self.folder, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self.log = open(Path(self.folder) / "log.txt", "w+")  # noqa: SIM115 - closed in clean()
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def text(self) -> str:
        """What it printed so far."""
        return Path(self.log.name).read_text()

    def wait_for(self, text: str) -> bool:
        """Whether the text was printed before the process ended."""
        begun = time.monotonic()
        while text not in self.text():
            if self.process.poll() is not None or time.monotonic() - begun > LIMIT:
                return False
            time.sleep(0.01)
        return True

    def finish(self) -> float:
        """Seconds of the stage itself, after it ended by itself.

        Raises:
            RuntimeError: it failed or hung; with what it printed last.
        """
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            code = -1
        if code != 0:
            raise RuntimeError(f"ingest ended with {code}: {' | '.join(self.text().splitlines()[-6:])}"[:800])
        return float(self.text().rsplit("[ingest] done in ", 1)[1].split()[0])

    def all(self) -> list[psutil.Process]:
        """Every process of this run, Ray's too, whoever their parent is by now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TMPDIR") == self.folder:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found

    def kill(self, kind: str, rng: random.Random) -> None:
        """SIGKILL to what `kind` says."""
        if kind == "worker":
            workers = [p for p in self.all() if "ray::" in " ".join(p.cmdline()[:1]) and "IDLE" not in p.cmdline()[0]]
            if workers:
                _kill(rng.choice(workers))
            return
        others = self.all() if kind == "everything" else []
        self.process.send_signal(signal.SIGKILL)
        for process in others:
            _kill(process)
        self.process.wait()

    def clean(self) -> None:
        """Ends what is left of this run and removes its folder."""
        for _ in range(50):
            left = self.all()
            if not left:
                break
            for process in left:
                _kill(process)
            psutil.wait_procs(left, 1)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()
