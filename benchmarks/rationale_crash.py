"""SIGKILL at random moments of the teacher stage: what is lost, what is sent twice.

    python benchmarks/rationale_crash.py [--clips 2000] [--kills 30] [--in-flight 64] [--seed 0]

`skel rationales` runs against a local server (200 ms an answer). At a random moment either everything is killed (driver
and all of Ray, then the command is started again) or one asking process alone (then Ray starts a new one and the run
goes on). After every kill the ledger must still hold each line that it held before. At the end every clip has one
answer; the server says how many it gave twice. An answer that was on its way when its asker died cannot be known, so
per kill as many as were in flight may be sent again, and no more.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import psutil
from teacher_run import KEY, ROOT, Server, config, make_clips, server

from pipelines.config.loading import to_yaml
from pipelines.rationales.teachers.ledger import Ledger


@dataclass
class Outcome:
    """What the kills did.

    Attributes:
        whole, single: kills of everything, and of one asker.
        lost: lines that a ledger held before a kill and not after it.
        rows: clips with an answer in the end.
        again: answers that the server gave more than once.
        most_again: the most of them after one kill.
        in_flight: requests at a time.
    """

    in_flight: int
    whole: int = 0
    single: int = 0
    lost: int = 0
    rows: int = 0
    again: int = 0
    most_again: int = 0
    moments: list[float] = field(default_factory=list)


class Run:
    """The command, as a process group of its own.

    Args:
        preset: YAML.
        out: folder of the run.
    """

    def __init__(self, preset: Path, out: Path) -> None:
        self._command = [
            sys.executable,
            "-m",
            "pipelines.cli",
            "rationales",
            "--config",
            str(preset),
            "--out",
            str(out),
        ]
        self._log = out / "log.txt"
        # The run makes Ray's folder in here. What RAY_TMPDIR names in our own environment belongs to another Ray.
        self.folder = tempfile.mkdtemp(prefix="skel-")
        self._env = {**os.environ, "TEACHER_KEY": KEY, "OMP_NUM_THREADS": "1", "TMPDIR": self.folder}
        for name in ("RAY_ADDRESS", "RAY_TMPDIR"):
            self._env.pop(name, None)

    def start(self) -> None:
        """Starts the command."""
        os.makedirs(self.folder, exist_ok=True)
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=self._env, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL to the driver and to all that descends from it."""
        me = psutil.Process(self.process.pid)
        for process in [me, *me.children(recursive=True)]:
            _kill(process)
        self.process.wait()
        self.clean()

    def clean(self) -> None:
        """Removes the run's temp folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill_asker(self, rng: random.Random) -> bool:
        """SIGKILL to one process that asks; False where there is none."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        askers = [process for process in family if _asks(process)]
        if askers:
            _kill(rng.choice(askers))
        return bool(askers)


def _asks(process: psutil.Process) -> bool:
    try:
        return any("TeacherActor" in part for part in process.cmdline())
    except psutil.Error:
        return False


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def torture(folder: Path, at: Server, clips: int, kills: int, in_flight: int, seed: int, actors: int = 2) -> Outcome:
    """See the module; `folder` is empty."""
    rng, found = random.Random(seed), Outcome(in_flight=in_flight)
    out = folder / "run"
    make_clips(str(out / "shards"), clips)
    preset = folder / "preset.yaml"
    preset.write_text(to_yaml(config(at.url, in_flight=in_flight, actors=actors)))
    at.control(reset=True, latency_s=0.2)
    run, ledger = Run(preset, out), Ledger(str(out / "rationales" / "ledger"))
    run.start()
    for number in range(kills):
        # Somewhere in the next part of the answers, so that the kills fall all over the run.
        target = round(clips * (number + rng.random()) / (kills + 1))
        while at.control()["distinct"] < target and run.process.poll() is None:
            time.sleep(0.02)
        if run.process.poll() is not None:
            break
        time.sleep(rng.uniform(0, 0.3))
        before, twice = ledger.settled(False), at.control()["again"]
        if number % 2 and run.kill_asker(rng):
            found.single += 1
        else:
            run.kill()
            found.whole += 1
            run.start()
        found.lost += len(before - ledger.settled(False))
        found.moments.append(len(before) / clips)
        found.most_again = max(found.most_again, at.control()["again"] - twice)
    code = run.process.wait(600)
    run.clean()
    if code:
        raise RuntimeError(f"the last run ended with {code}, see {out / 'log.txt'}")
    found.rows = len(ledger.settled(False))
    found.again = at.control()["again"]
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="skel-crash-"))
    start = time.perf_counter()
    with server() as at:
        found = torture(folder, at, args.clips, args.kills, args.in_flight, args.seed)
    took = time.perf_counter() - start
    print(f"{args.clips} clips, {found.whole} kills of everything and {found.single} of one asker, {took:.0f} s\n")
    print("| lines lost | rows in the end | answered twice | of these allowed |\n|---|---|---|---|")
    allowed = (found.whole + found.single) * found.in_flight
    print(f"| {found.lost} | {found.rows} | {found.again} | {allowed} |")
    print("\nshare of the ledger at each kill: " + " ".join(f"{share:.2f}" for share in found.moments))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
