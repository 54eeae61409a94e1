"""Storage for `soak.py`: an S3 server that fails requests, a full disk; and the whole demo on a server that is well."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks import crash
from benchmarks.soak_faults import Fault, planted
from benchmarks.soak_runs import ROOT, Case, Trial, compare
from pipelines.cluster.connect import connected
from pipelines.config.loading import load_config
from pipelines.config.stages import StageConfig
from pipelines.runtime.errors import StageFailed
from pipelines.trainer.telemetry.metrics_log import read_rows
from skeleton_io import storage

Keep = Callable[[Trial], None]
RATES = (0.05, 0.15)
"""Shares of requests that meet a fault."""
DISK = "48m"


def s3(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """Everything that the stage writes goes to a server that fails some of the requests."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    direct = f"http://{host}:{port}"
    try:
        for rate in RATES:
            out, begun = f"s3://soak/{rate}", time.monotonic()
            with crash.faulty_s3(rng.randrange(1000), rate, direct) as endpoint:
                os.environ.update(crash.client(endpoint))
                bucket = storage.filesystem("s3://soak")[0]
                with suppress(FileExistsError):
                    bucket.mkdir("soak")
                with connected():  # after the environment, which the workers take over
                    case.run(out)
            os.environ.update(crash.client(direct))
            storage.filesystem("s3://soak")[0].clear_instance_cache()
            what = f"S3: {100 * rate:.0f} % of requests fail, are lost, cut or hang"
            keep(compare(case, out, what, "all", time.monotonic() - begun, 0.0))
    finally:
        server.stop()


def pipeline(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """The demo pipeline whole, from generated data to the report, with everything on a local S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ.update(crash.client(f"http://{host}:{port}"))
    try:
        bucket = storage.filesystem("s3://demo")[0]
        bucket.clear_instance_cache()
        bucket.mkdir("demo")
        begun, out = time.monotonic(), "s3://demo/run"
        command = [sys.executable, "pipelines/full.py", "--config", "tune_configs/full_demo.yaml", "--out", out]
        command += ["--demo.subjects", "4", "--demo.test-subjects", "1", "--demo.repetitions", "1"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        files = storage.list_files(out) if storage.exists(out) else []
        wanted = ["report.json", "report.html", *(f"train/{s.name}/export/config.yaml" for s in demo_stages())]
        missing = [name for name in wanted if name not in files]
        wrong = (f"ended with {code}; " if code else "") + (f"not there: {missing}" if missing else "")
        loss = read_rows(storage.join(out, "train", demo_stages()[-1].name))[-1]["loss"] if not wrong else 0.0
        keep(Trial("the demo pipeline whole on S3, undisturbed", "", time.monotonic() - begun, loss, 0.0, wrong))
    finally:
        server.stop()


def demo_stages() -> tuple[StageConfig, ...]:
    """Of the demo's configuration."""
    return load_config(str(ROOT / "tune_configs" / "full_demo.yaml")).train.stages


@contextmanager
def small_disk(work: Path) -> Iterator[Path]:
    """A file system in memory of few megabytes. Needs the right to mount."""
    folder = Path(tempfile.mkdtemp(dir=work))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def full(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """The disk fills up while training, and is freed after a while, or when the run has failed."""
    for freed in ("while it trains", "after the run failed"):
        with small_disk(work) as disk, tempfile.TemporaryDirectory(dir=work) as folder:
            step, begun, out = rng.randrange(4, len(case.reference) // 2), time.monotonic(), str(disk / "out")
            fault = Fault("full", 0, step, f"{folder}/marker", str(disk))

            def free(disk: Path = disk, marker: str = fault.marker) -> None:
                while not Path(marker).exists():
                    time.sleep(0.05)
                time.sleep(3)
                (disk / "ballast").unlink()

            if freed == "while it trains":
                threading.Thread(target=free, daemon=True).start()
                with planted(fault):
                    case.run(out)
                failed = True
            else:
                failed = False
                try:
                    with planted(fault):
                        case.with_train(max_failures=0).run(out)
                except (StageFailed, OSError) as error:
                    failed = True
                    print(f"as it should: {error}", flush=True)
                (disk / "ballast").unlink()
                case.run(out)
            trial = compare(case, out, f"disk full, freed {freed}", str(step), time.monotonic() - begun, 0.0)
            if not failed:
                trial.wrong += " the run did not notice"
            keep(trial)
