"""Faults of drivers and nodes for `soak.py`: what happens to a run from outside of its workers."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.soak_faults import Fault, planted
from benchmarks.soak_runs import ROOT, Case, Trial, compare, history
from pipelines.cluster import launch
from pipelines.cluster.connect import private_head, set_offline
from pipelines.runtime.stop import EXIT_STOPPED, Stopped

Keep = Callable[[Trial], None]
LIMIT_S = 600.0


def until_stopped(case: Case, out: str, faults: list[Fault]) -> None:
    """A run in the connected Ray that may be asked to end by one of the faults."""
    with planted(*faults), suppress(Stopped):
        case.run(out)


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Returns once the condition holds.

    Raises:
        TimeoutError: it never did.
    """
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {LIMIT_S:.0f} s for {what}")
        time.sleep(0.05)


def _drivers(
    case: Case, work: Path, keep: Keep, rng: random.Random, what: str, end: int, code: int, times: int
) -> None:
    """`skel train` on a cluster of its own, its driver ended by a signal some times, then given again to the end."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        shutil.copytree(case.paths.root, f"{folder}/run")
        out, begun = f"{folder}/run/train/1", time.monotonic()
        set_offline()
        port = launch.pick_port(0, "")
        head = launch.Head(port, launch.pick_port(0, ""), None)
        command = [sys.executable, "-m", "pipelines.cli", "train", "--config", str(case.write_config(Path(folder)))]
        command += ["--out", f"{folder}/run"]
        seen = []
        try:
            head.wait()
            env = head.env | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
            for number in range(times + 1):
                driver = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True)
                if number < times:
                    wanted = len(history(out)) + rng.randrange(3, len(case.reference) // (times + 1))
                    wait_for(lambda w=wanted, d=driver: len(history(out)) >= w or d.poll() is not None, "steps")
                    driver.send_signal(end)
                found = driver.wait(LIMIT_S)
                seen.append(len(history(out)))
                if found != (code if number < times else 0):
                    keep(Trial(what, str(seen), 0, 0, 1, f"the driver ended with {found}"))
                    return
        finally:
            head.stop()
        keep(compare(case, out, what, ", ".join(map(str, seen[:-1])), time.monotonic() - begun, 0.0))


def driver(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """SIGKILL of the driver, twice; its cluster stays."""
    _drivers(case, work, keep, rng, "SIGKILL of the driver, twice, re-submitted", signal.SIGKILL, -9, 2)


def asked(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """SIGTERM to the driver, once."""
    what = f"SIGTERM to the driver (exit code {EXIT_STOPPED}), re-submitted"
    _drivers(case, work, keep, rng, what, signal.SIGTERM, EXIT_STOPPED, 1)


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """A simulated cluster: a head without CPUs and nodes with one each; this process is connected to it."""
    set_offline()
    os.environ.update(private_head())
    os.environ.update({"RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "1000"})
    os.environ.update({"RAY_health_check_timeout_ms": "2000", "RAY_health_check_failure_threshold": "5"})
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=1)
        ray.init(address=made.address, log_to_driver=True)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        shutil.rmtree(os.environ.pop("RAY_TMPDIR"), ignore_errors=True)


def raylet(node: Any) -> int:
    """Process id of a node's raylet."""
    return node.all_processes["raylet"][0].process.pid


def busy(made: Any) -> list[Any]:
    """Nodes, but for the head, on which a training worker runs."""
    found = []
    for node in made.worker_nodes:
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(raylet(node)).children(recursive=True)
            if any("RayTrainWorker" in " ".join(child.cmdline()[:1]) for child in children):
                found.append(node)
    return found


@contextmanager
def running(case: Case, out: str) -> Iterator[threading.Thread]:
    """A slow run in a thread: nodes can be added and removed from the main thread only."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with planted(Fault("slow", 0, -1, "")):
                case.run(out)
        except BaseException as error:  # noqa: BLE001 - handed on below
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield thread
    thread.join(LIMIT_S)
    if errors or thread.is_alive():
        raise RuntimeError(f"the run did not end: {errors}")


def nodes(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """One of three nodes is lost with the worker on it."""
    case = case.with_train(cpus_per_worker=1.0)
    with cluster(3) as made, tempfile.TemporaryDirectory(dir=work) as folder:
        out, begun = f"{folder}/out", time.monotonic()
        wanted = rng.randrange(6, len(case.reference) // 2)
        with running(case, out):
            wait_for(lambda: len(history(out)) >= wanted and busy(made), "steps")
            made.remove_node(rng.choice(busy(made)), allow_graceful=False)
        what = "one node of three lost"
        keep(compare(case, out, what, f"after {wanted}", time.monotonic() - begun, 0.0))


def elastic(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """Two nodes, one is lost, training goes on with one worker; a new node comes, and it goes on with two."""
    case = case.with_train(cpus_per_worker=1.0, min_workers=1, resize_check_s=5.0)
    with cluster(2) as made, tempfile.TemporaryDirectory(dir=work) as folder:
        out, begun = f"{folder}/out", time.monotonic()
        from pipelines.trainer.telemetry.metrics_log import read_rows

        with running(case, out):
            wait_for(lambda: len(history(out)) >= rng.randrange(6, 12) and busy(made), "steps")
            made.remove_node(busy(made)[0], allow_graceful=False)
            wait_for(lambda: [row for row in read_rows(out) if row["workers"] == 1], "one worker")
            made.add_node(num_cpus=1)
        counts = [row["workers"] for row in read_rows(out)]
        borders = [i for i in range(1, len(counts)) if counts[i] != counts[i - 1]]
        trial = compare(
            case, out, "elastic, 2 -> 1 -> 2 workers", ", ".join(map(str, borders)), time.monotonic() - begun, 2e-4
        )
        if [counts[0], *(counts[i] for i in borders)] != [2, 1, 2]:
            trial.wrong += f" workers {counts}"
        keep(trial)
