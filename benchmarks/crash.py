"""SIGKILL at random moments of an ingest, then ingest again: are the shards the same, byte for byte?

    python benchmarks/crash.py --where local --kills 20 --kept runs/crash.json --out benchmarks/results/crash.md
    python benchmarks/crash.py --where s3 --kills 5 --kept runs/crash.json --out benchmarks/results/crash.md

The ingest is `skel ingest` with a Ray of its own. What is killed: everything at once (a power cut), the driver alone
(the next run starts while Ray still ends what is left), or one worker (the run has to get over it by itself). After the
kill every file below shards/ must be whole, and without an index the set must not open; after the second run, in a Ray
that this script holds, every byte must be that of an undisturbed run. `s3` reads and writes through `faulty_s3.py`.
Trials are added to those of earlier calls in the `--kept` file. Ends only what it started.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from crash_runs import PER_SHARD, Run  # noqa: E402

from pipelines.cluster.connect import connected  # noqa: E402
from pipelines.ingest.stage import ingest  # noqa: E402
from skeleton_io import storage  # noqa: E402
from skeleton_io.demo.dataset import DemoConfig, write_demo  # noqa: E402
from skeleton_io.errors import SkeletonFormatError  # noqa: E402
from skeleton_io.shards.shard_set import ShardSet  # noqa: E402

DEMO = DemoConfig(subjects=3, test_subjects=1, repetitions=2, actions=("walk", "wave", "squat", "kick", "bow"))
CLIENT = {"config_kwargs": {"read_timeout": 2, "connect_timeout": 2}}
"""What s3fs gets in the runs on S3: a hang must not take its usual 15 s each."""


Keep = Callable[[str, "Trial | None"], None]
"""Takes a sentence or a trial as soon as there is one."""


@dataclass
class Trial:
    """One kill and what was found."""

    place: str
    kind: str
    after_s: float
    writing: bool
    """Counted from the first file that was written, else from the start of the work."""
    index: bool
    shards: int
    spool: int
    seconds: float
    wrong: str


def contents(uri: str) -> dict[str, bytes]:
    """Every visible file but the manifest, which holds times."""
    return {
        name: storage.read_bytes(storage.join(uri, name))
        for name in storage.list_files(uri)
        if name != "manifest.json" and ".spool/" not in name
    }


def hidden(uri: str) -> list[str]:
    """What a run left behind that no listing shows."""
    if not storage.is_local(uri):
        return [name for name in storage.list_files(uri) if name.startswith(".spool")]
    root = storage.local_path(uri)
    found = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    return sorted(name for name in found if any(part.startswith(".") for part in name.split("/")))


def look(out: str, reference: dict[str, bytes]) -> tuple[list[str], bool, int]:
    """After a kill: what is wrong, whether there is an index, and how many shards stand there."""
    found = contents(out)
    shards = [name for name in found if name.startswith("shards/")]
    wrong = [f"{name} is not whole" for name in shards if found[name] != reference.get(name)]
    if "index.json" in found:
        wrong += [f"{name} is missing beside an index" for name in reference if name not in found]
    else:
        try:
            ShardSet.open(out)
            wrong.append("opens without an index")
        except SkeletonFormatError:
            pass
    return wrong, "index.json" in found, len([name for name in shards if ".meta." not in name])


@dataclass(frozen=True)
class Case:
    """What is ingested, how, and what must come out."""

    place: str
    inputs: dict[str, str]
    environment: dict[str, str]
    reference: dict[str, bytes]

    def again(self, out: str) -> None:
        """The same ingest in the Ray that this process is connected to."""
        ingest(self.inputs, out, "ipc", PER_SHARD)


def trial(case: Case, kind: str, moment: float, writing: bool, out: str, rng: random.Random) -> Trial | None:
    """Starts, kills, looks, ingests again, looks again.

    Args:
        case: what.
        kind: one of `crash_runs.KINDS`.
        moment: seconds until the kill.
        writing: counted from the first file that is written, not from the start.
        out: a folder or URI of its own.
        rng: picks the worker.

    Returns:
        What was found; None if the run had ended before the kill.
    """
    first, problems, index, shards, spool, start = Run(case.inputs, out, case.environment), [], False, 0, 0, 0.0
    try:
        if not first.wait_for("[ingest] starts") or (writing and not _first_file(out, first)):
            problems.append(f"the first run ended: {first.text()[-300:]}")
        time.sleep(moment)
        if first.process.poll() is not None and not problems:
            return None
        first.kill(kind, rng)
        if kind == "everything":
            first.clean()
        if kind != "worker":
            problems, index, shards = look(out, case.reference)
        spool = len([name for name in hidden(out) if name.startswith(".spool")])
        start = time.monotonic()
        if kind == "worker":
            first.finish()
        else:
            case.again(out)
        problems += _compare(contents(out), case.reference) + [f"left behind: {name}" for name in hidden(out)]
        found = ShardSet.open(out)
        found.verify()
        problems += [] if len(set(found.keys)) == len(found) else ["a clip twice"]
    except (RuntimeError, OSError, ValueError, SkeletonFormatError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    finally:
        first.clean()
    seconds = time.monotonic() - start
    return Trial(case.place, kind, moment, writing, index, shards, spool, seconds, "; ".join(problems)[:300])


def _first_file(out: str, run: Run) -> bool:
    """Waits until something is written; False if the run ends before."""
    while run.process.poll() is None:
        if storage.exists(storage.join(out, ".spool")) and hidden(out):
            return True
        time.sleep(0.01)
    return False


def _compare(found: dict[str, bytes], reference: dict[str, bytes]) -> list[str]:
    names = sorted(set(found) | set(reference))
    return [f"{name} differs after the second run" for name in names if found.get(name) != reference.get(name)]


@contextmanager
def faulty_s3(seed: int, rate: float, target: str = "") -> Iterator[str]:
    """URL of an S3 server with faults; with `target`, a proxy with faults before that server."""
    command = [sys.executable, str(ROOT / "benchmarks" / "faulty_s3.py"), "--seed", str(seed), "--rate", str(rate)]
    with subprocess.Popen(
        [*command, "--target", target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = json.loads(process.stdout.readline())["port"]
        try:
            yield f"http://127.0.0.1:{port}"
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


def undisturbed(inputs: dict[str, str], out: str, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of a run that nobody kills, and of its part in which files are written."""
    run = Run(inputs, out, environment)
    try:
        _first_file(out, run)
        begun = time.monotonic()
        return run.finish(), time.monotonic() - begun
    finally:
        run.clean()


def kills(case: Case, limits: tuple[int, float], outs: str, seconds: tuple[float, float], keep: Keep) -> list[Trial]:
    """Trials at random moments: three of four in the time in which files are written, one in that of the whole run.

    Args:
        case: what is ingested.
        limits: how many trials, and the moment after which none is started.
        outs: where the outputs go.
        seconds: from `undisturbed`.
        keep: takes each trial.
    """
    rng, done, at = random.Random(f"{case.place} {time.time_ns()}"), list[Trial](), 0
    while len(done) < limits[0] and time.monotonic() < limits[1]:
        at += 1
        kind = ("everything", "driver", "everything", "worker", "everything")[len(done) % 5]
        writing = rng.random() < 0.75
        out = storage.join(outs, f"out-{os.getpid()}-{at}")
        found = trial(case, kind, rng.uniform(0, seconds[1 if writing else 0]), writing, out, rng)
        storage.remove(out)
        if found is None:  # the machine is faster than it was
            seconds = 0.8 * seconds[0], 0.8 * seconds[1]
            continue
        keep("", found)
        done.append(found)
    return done


def local(limits: tuple[int, float], folder: Path, keep: Keep) -> list[Trial]:
    """Kills of ingests from and to this machine's disk."""
    inputs = native(folder / "in")
    seconds = undisturbed(inputs, str(folder / "reference"), {})
    case = Case("local", inputs, {}, contents(str(folder / "reference")))
    keep(_said(case, seconds), None)
    with connected():
        return kills(case, limits, str(folder), seconds, keep)


def remote(limits: tuple[int, float], folder: Path, keep: Keep, rate: float) -> list[Trial]:
    """The same from and to S3 with faults; the reference is a local run's."""
    written = native(folder / "in")
    undisturbed(written, str(folder / "reference"), {})
    reference = contents(str(folder / "reference"))
    with faulty_s3(time.time_ns(), rate) as endpoint:
        os.environ.update(client(endpoint))
        storage.filesystem("s3://crash")[0].mkdir("crash")
        inputs = {}
        for name, path in written.items():
            inputs[name] = f"s3://crash/in/{name.split(':')[0]}"
            storage.upload(path, inputs[name])
        seconds = undisturbed(inputs, "s3://crash/first", client(endpoint))
        wrong = _compare(contents("s3://crash/first"), reference)
        done = [Trial("s3", "nothing", 0.0, False, True, 0, 0, seconds[0], "; ".join(wrong))]
        case = Case("s3", inputs, client(endpoint), reference)
        keep(_said(case, seconds), done[0])
        with connected():
            done += kills(case, limits, "s3://crash", seconds, keep)
        with urllib.request.urlopen(f"{endpoint}/-/counts", timeout=30) as answer:
            counts = json.load(answer)
    met = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()) if name != "none")
    keep(f"s3: of {sum(counts.values())} requests met a fault: {met}.", None)
    return done


def _said(case: Case, seconds: tuple[float, float]) -> str:
    """What is told of the runs beside the table."""
    return (
        f"{case.place}: {len(case.reference)} files; an undisturbed run works {seconds[0]:.1f} s and writes during "
        f"the last {seconds[1]:.1f} s."
    )


def table(trials: list[Trial]) -> list[str]:
    """Markdown."""
    lines = [
        "| where | killed | after | index stood | whole shards | spool files kept | until done again, s | wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for t in trials:
        after = f"{t.after_s:.2f} s of {'writing' if t.writing else 'work'}"
        lines.append(
            f"| {t.place} | {t.kind} | {after} | {'yes' if t.index else 'no'} | {t.shards} | {t.spool} "
            f"| {t.seconds:.1f} | {t.wrong or 'nothing'} |"
        )
    return lines


HEAD = """# Kills during an ingest

`python benchmarks/crash.py`, {date}, revision {revision}. Three native formats, broken files among them. Each row:
SIGKILL at a random moment, a look at what is visible, ingest again, every byte compared with that of an undisturbed
local run. "wrong" counts a shard that is not whole, a set that opens without its index, a clip twice or missing, and
anything left behind. The machine was shared, so seconds say little.

"""


def main() -> int:
    """Runs; exit code 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3600, help="after which no other run is killed")
    parser.add_argument("--where", choices=["local", "s3"], default="local")
    parser.add_argument("--rate", type=float, default=0.08, help="share of S3 requests that meet a fault")
    parser.add_argument("--kept", type=Path, required=True, help="trials so far, added to")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    kept = json.loads(args.kept.read_text()) if args.kept.exists() else {"said": [], "trials": []}
    limits = args.kills, time.monotonic() + args.seconds

    def keep(said: str, found: Trial | None) -> None:
        print(said or found, flush=True)
        kept["said"] += [said] if said else []
        kept["trials"] += [asdict(found)] if found else []
        args.kept.write_text(json.dumps(kept))

    with tempfile.TemporaryDirectory() as folder:
        if args.where == "local":
            found = local(limits, Path(folder), keep)
        else:
            found = remote(limits, Path(folder), keep, args.rate)
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    head = HEAD.format(date=datetime.date.today(), revision=revision.strip())
    text = head + "\n".join([*kept["said"], "", *table([Trial(**t) for t in kept["trials"]])]) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)
    return int(any(t.wrong for t in found))


if __name__ == "__main__":
    sys.exit(main())
