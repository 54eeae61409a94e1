"""The watchdog ends a process that hangs and leaves its stacks; requests to stop are seen, and weigh what they must."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.runtime import stop
from pipelines.runtime.stop import EXIT_STOPPED, RUN_WEIGHT, Stopped, StopWatch, on_sigterm
from pipelines.trainer.telemetry.watchdog import Watchdog, collect, dump_folder
from skeleton_io import storage

HANGS = """
import sys, time
from pipelines.trainer.telemetry.watchdog import Watchdog
dog = Watchdog({seconds}, sys.argv[1], 3)
def here_it_hangs():
    time.sleep(60)
dog.beat()
{then}
"""


def run(out: Path, repo_root: Path, seconds: float, then: str) -> subprocess.CompletedProcess:
    code = HANGS.format(seconds=seconds, then=then)
    return subprocess.run([sys.executable, "-c", code, str(out)], cwd=repo_root, check=False, timeout=50)


def test_a_hanging_process_ends_with_its_stacks(tmp_path: Path, repo_root: Path) -> None:
    assert run(tmp_path, repo_root, 1.0, "here_it_hangs()").returncode != 0
    (name,) = collect(str(tmp_path))
    assert name == "hang-rank3-0.txt"
    assert "here_it_hangs" in (tmp_path / "faults" / name).read_text()


def test_a_process_that_goes_on_leaves_nothing(tmp_path: Path, repo_root: Path) -> None:
    then = "for _ in range(6):\n    time.sleep(0.5)\n    dog.beat()\ndog.close()"
    assert run(tmp_path, repo_root, 2.5, then).returncode == 0
    assert not (tmp_path / "faults").exists()


def test_stacks_of_a_remote_stage_are_uploaded_at_the_next_start() -> None:
    out = "memory://watching/stage"
    folder = dump_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hang-rank0-0.txt").write_text("Thread 0x1\n")
    (folder / "hang-rank1-0.txt").write_text("")  # of a rank that is well
    assert collect(out) == ["hang-rank0-0.txt"]
    assert storage.read_text(storage.join(out, "faults", "hang-rank0-0.txt")) == "Thread 0x1\n"
    assert collect(out) == []


def test_no_patience_means_no_watching(tmp_path: Path) -> None:
    dog = Watchdog(0, str(tmp_path), 0)
    dog.beat()
    assert not (tmp_path / "faults").exists()


def waited(watch: StopWatch) -> int:
    end = time.monotonic() + 60
    while not watch.weight() and time.monotonic() < end:
        time.sleep(0.02)
    return watch.weight()


@pytest.mark.parametrize("place", ["disk", "memory://watching/stop"])
def test_a_request_is_seen_by_rank_0(place: str, tmp_path: Path) -> None:
    out = str(tmp_path) if place == "disk" else place
    watch, other = StopWatch(out, 0, 0.02), StopWatch(out, 1, 0.02)
    watch.start()
    other.start()
    time.sleep(0.1)
    assert watch.weight() == 0
    stop.request(out)
    assert waited(watch) == RUN_WEIGHT
    assert other.weight() == 0
    assert not watch.leaving
    watch.close()
    stop.withdraw(out)
    stop.withdraw(out)
    assert not storage.exists(storage.join(out, stop.STOP_FILE))


def test_sigterm_asks_once_and_gives_the_signal_back(tmp_path: Path) -> None:
    out, before = str(tmp_path), signal.getsignal(signal.SIGTERM)
    with on_sigterm(lambda: stop.request(out)):
        os.kill(os.getpid(), signal.SIGTERM)
        end = time.monotonic() + 60
        while not (tmp_path / stop.STOP_FILE).exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert signal.getsignal(signal.SIGTERM) == before
    assert (tmp_path / stop.STOP_FILE).exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_requested_end_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.runtime.exits import guarded

    def work() -> None:
        raise Stopped("checkpoint of step 7 written")

    assert guarded(work) == EXIT_STOPPED == 75
    assert "checkpoint of step 7 written" in capsys.readouterr().err


def test_a_rank_that_stops_watching_disturbs_no_other(tmp_path: Path) -> None:
    def watch(rank: int) -> None:
        dog = Watchdog(60, str(tmp_path), rank)
        for _ in range(2000):
            dog.beat()
            dog.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(watch, (0, 1)))
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_its_folder_is_told(tmp_path: Path) -> None:
    dump_folder(str(tmp_path)).write_text("")
    with pytest.raises(OSError, match="found something in its way"):
        Watchdog(60, str(tmp_path), 0).beat()
