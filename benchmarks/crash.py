"""SIGKILL at random moments of an ingest, then the same command again: are the shards the same, byte for byte?

    python benchmarks/crash.py --kills 20 --out benchmarks/results/crash.md
    python benchmarks/crash.py --where s3 --kills 5                  one place only

The ingest is `skel ingest` with a Ray of its own. What is killed: everything at once (a power cut), the driver alone
(the next run starts while Ray still ends what is left), or one worker (the run has to get over it by itself). After the
kill every file below shards/ must be whole, and without an index the set must not open; after the second run every
byte must be that of an undisturbed run. `s3` reads and writes through `faulty_s3.py`. Ends only what it started.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from skeleton_io import storage  # noqa: E402
from skeleton_io.demo import DemoConfig, write_demo  # noqa: E402
from skeleton_io.errors import SkeletonFormatError  # noqa: E402
from skeleton_io.shards import ShardSet  # noqa: E402

DEMO = DemoConfig(subjects=3, test_subjects=1, repetitions=2, actions=("walk", "wave", "squat", "kick", "bow"))
PER_SHARD = 8
LIMIT = 300.0  # seconds after which a run counts as hung
KINDS = ("everything", "driver", "worker")
CLIENT = {"config_kwargs": {"read_timeout": 2, "connect_timeout": 2}}
"""What s3fs gets in the runs on S3: a hang must not take its usual 15 s each."""


@dataclass
class Trial:
    """One kill and what was found."""

    place: str
    kind: str
    after_s: float
    index: bool
    shards: int
    spool: int
    seconds: float
    wrong: str


class Run:
    """`skel ingest` in a process of its own, with a temp folder that names all its processes."""

    def __init__(self, inputs: dict[str, str], out: str, environment: dict[str, str]) -> None:
        # Unix sockets allow about 100 characters, and Ray's folder lies in this one.
        self.folder = tempfile.mkdtemp(prefix="c-", dir="/tmp")
        command = [sys.executable, "-m", "pipelines.cli", "ingest", "--out", out, "--clips-per-shard", str(PER_SHARD)]
        for name, path in inputs.items():
            command += ["--input", f"{name}={path}"]
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


def contents(uri: str) -> dict[str, bytes]:
    """Every visible file but the manifest, which holds times."""
    return {
        name: storage.read_bytes(storage.join(uri, name))
        for name in storage.list_files(uri)
        if name != "manifest.json" and ".spool/" not in name
    }


def hidden(uri: str) -> list[str]:
    """What a run left behind that no listing shows."""
    if storage.is_local(uri):
        root = storage.local_path(uri)
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.name.startswith("."))
    return [name for name in storage.list_files(uri) if ".spool" in name]


def look(out: str, reference: dict[str, bytes]) -> tuple[str, bool, int]:
    """After a kill: what is wrong, whether there is an index, and how many shards stand there."""
    found = contents(out)
    shards = [name for name in found if name.startswith("shards/")]
    wrong = [f"{name} differs" for name in shards if found[name] != reference.get(name)]
    if "index.json" in found:
        wrong += [f"{name} is missing" for name in reference if name not in found]
    else:
        try:
            ShardSet.open(out)
            wrong.append("opens without an index")
        except SkeletonFormatError:
            pass
    return "; ".join(wrong), "index.json" in found, len(shards) // 2


def trial(place: str, kind: str, moment: float, inputs: dict[str, str], out: str,
          reference: dict[str, bytes], environment: dict[str, str], rng: random.Random) -> Trial:  # fmt: skip
    """Starts, kills after `moment` seconds of work, looks, starts again, looks again."""
    first = Run(inputs, out, environment)
    again: Run | None = None
    try:
        begun = first.wait_for("[ingest] starts")
        time.sleep(moment)
        first.kill(kind, rng)
        wrong, index, shards = ("", False, 0) if kind == "worker" else look(out, reference)
        spool = len([name for name in hidden(out) if ".spool/" in name])
        if kind == "everything":
            first.clean()
        start = time.monotonic()
        if kind == "worker":
            first.finish()
        else:
            again = Run(inputs, out, environment)
            again.wait_for("[ingest] done") or again.wait_for("nothing to do")
            again.process.wait(LIMIT)
        seconds = time.monotonic() - start
        problems = [wrong] if wrong else []
        problems += [] if begun else ["the first run did not start"]
        problems += _compare(contents(out), reference) + [f"left behind: {name}" for name in hidden(out)]
        shards_set = ShardSet.open(out)
        shards_set.verify()
        if len(set(shards_set.keys)) != len(shards_set):
            problems.append("a clip twice")
    except (RuntimeError, OSError, SkeletonFormatError) as error:
        problems, index, shards, spool, seconds = [f"{type(error).__name__}: {error}"], False, 0, 0, 0.0
    finally:
        if again is not None:
            again.clean()
        first.clean()
    return Trial(place, kind, moment, index, shards, spool, seconds, "; ".join(problems)[:300])


def _compare(found: dict[str, bytes], reference: dict[str, bytes]) -> list[str]:
    names = sorted(set(found) | set(reference))
    return [f"{name} differs after the second run" for name in names if found.get(name) != reference.get(name)]


@contextmanager
def faulty_s3(seed: int, rate: float) -> Iterator[tuple[str, str]]:
    """An S3 server with faults; yields the URL with them and the URL without."""
    command = [sys.executable, str(ROOT / "benchmarks" / "faulty_s3.py"), "--seed", str(seed), "--rate", str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        ports = json.loads(process.stdout.readline())
        try:
            yield f"http://127.0.0.1:{ports['port']}", f"http://127.0.0.1:{ports['plain']}"
        finally:
            process.stdin.close()
            process.wait(20)


def client(endpoint: str) -> dict[str, str]:
    """Environment that points s3fs to a server of this machine."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return keys | {"AWS_ENDPOINT_URL": endpoint, "FSSPEC_S3": json.dumps(CLIENT)}


def native(folder: Path) -> dict[str, str]:
    """A motion set in three formats with some broken files; NAME:FORMAT -> folder."""
    written = write_demo(folder, DEMO)
    return {f"{name}:{name.removeprefix('demo_')}": str(folder / name) for name in written["formats"]}


def undisturbed(inputs: dict[str, str], out: str) -> tuple[dict[str, bytes], float]:
    """Content and seconds of a run that nobody kills."""
    run = Run(inputs, out, {})
    try:
        seconds = run.finish()
    finally:
        run.clean()
    return contents(out), seconds


def plan(kills: int, seconds: float, rng: random.Random) -> list[tuple[str, float]]:
    """Which kill and when: moments spread at random over the work of a whole run."""
    kinds = [("everything", "everything", "driver", "everything", "worker")[i % 5] for i in range(kills)]
    return [(kind, rng.uniform(0, seconds)) for kind in kinds]


def local(kills: int, folder: Path, rng: random.Random) -> tuple[list[Trial], dict[str, Any]]:
    """Kills of ingests from and to this machine's disk."""
    inputs = native(folder / "in")
    reference, seconds = undisturbed(inputs, str(folder / "reference"))
    done = []
    for number, (kind, moment) in enumerate(plan(kills, seconds, rng)):
        out = folder / f"out{number}"
        done.append(trial("local", kind, moment, inputs, str(out), reference, {}, rng))
        print(done[-1], flush=True)
        shutil.rmtree(out)
    return done, {"seconds": seconds, "files": len(reference)}


def remote(kills: int, folder: Path, rng: random.Random, rate: float) -> tuple[list[Trial], dict[str, Any]]:
    """The same from and to S3 with faults."""
    written = native(folder / "in3")
    reference, _ = undisturbed(written, str(folder / "reference3"))
    with faulty_s3(rng.randrange(1000), rate) as (endpoint, plain):
        # This process looks past the proxy: what it checks is what lies there.
        os.environ.update(client(plain))
        storage.filesystem("s3://crash")[0].mkdir("crash")
        for name, path in written.items():
            storage.upload(path, f"s3://crash/in/{name.split(':')[0]}")
        inputs = {name: f"s3://crash/in/{name.split(':')[0]}" for name in written}
        run = Run(inputs, "s3://crash/first", client(endpoint))
        try:
            seconds = run.finish()
        finally:
            run.clean()
        wrong = _compare(contents("s3://crash/first"), reference)
        done = [Trial("s3", "nothing", 0.0, True, 0, 0, seconds, "; ".join(wrong))]
        for number, (kind, moment) in enumerate(plan(kills, seconds, rng)):
            out = f"s3://crash/out{number}"
            done.append(trial("s3", kind, moment, inputs, out, reference, client(endpoint), rng))
            print(done[-1], flush=True)
        with urllib.request.urlopen(f"{endpoint}/-/counts", timeout=30) as answer:
            counts = json.load(answer)
    return done, {"seconds": seconds, "files": len(reference), "requests": counts}


def table(trials: list[Trial]) -> list[str]:
    """Markdown."""
    lines = [
        "| where | killed | after s of work | index stood | whole shards | spool files kept | second run s | wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for t in trials:
        lines.append(
            f"| {t.place} | {t.kind} | {t.after_s:.2f} | {'yes' if t.index else 'no'} | {t.shards} | {t.spool} "
            f"| {t.seconds:.1f} | {t.wrong or 'nothing'} |"
        )
    return lines


HEAD = """# Kills during an ingest

`python benchmarks/crash.py`, {date}, revision {revision}: {files} files of a shard set from {inputs} native files in
three formats (broken ones among them). Each row: SIGKILL at a random moment of the work, a look at what is visible,
the same command again, every byte compared with that of an undisturbed run. "wrong" counts a shard that is not whole,
a set that opens without its index, a clip twice or missing, and anything left behind.

"""


def main() -> int:
    """Runs; exit code 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--where", default="local,s3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.08, help="share of S3 requests that meet a fault")
    parser.add_argument("--out", default="")
    args = parser.parse_args()
    rng, found, said = random.Random(args.seed), [], []
    with tempfile.TemporaryDirectory() as folder:
        if "local" in args.where:
            trials, facts = local(args.kills, Path(folder), rng)
            found += trials
            said += [f"Local: the work of a whole run takes {facts['seconds']:.1f} s."]
        if "s3" in args.where:
            trials, facts = remote(args.kills, Path(folder), rng, args.rate)
            found += trials
            met = ", ".join(f"{name} {n}" for name, n in sorted(facts["requests"].items()) if name != "none")
            said += [f"S3: {facts['seconds']:.1f} s; of {sum(facts['requests'].values())} requests met a fault: {met}."]
        inputs = len(storage.list_files(str(Path(folder) / ("in" if "local" in args.where else "in3"))))
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    head = HEAD.format(date=datetime.date.today(), revision=revision.strip(), files=facts["files"], inputs=inputs)
    text = head + "\n".join([*said, "", *table(found)]) + "\n"
    print(text)
    if args.out:
        Path(args.out).write_text(text)
    return int(any(t.wrong for t in found))


if __name__ == "__main__":
    sys.exit(main())
