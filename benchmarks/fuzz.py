"""Damaged and hostile files -> every reader, in a process with bounded memory and time per input. Prints a table.

    python benchmarks/fuzz.py --inputs 10000 --out benchmarks/results/fuzz.md
    python benchmarks/fuzz.py --readers bvh --replay 1234 --save /tmp/bad      one input again, kept as files

Each input must end in records that a shard can hold, or in `SkeletonFormatError`s with place and reason. Anything else
is a failure: another exception, MemoryError below the limit, more than `SECONDS` of CPU time, the process's death, a
file written, a process started. Seeds are the files below tests/assets; input i of a reader depends on (reader, i).
"""

from __future__ import annotations

import argparse
import gc
import json
import mmap
import os
import random
import re
import resource
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import hostile  # noqa: E402
from mutators import mutate  # noqa: E402

from skeleton_io.errors import SkeletonFormatError  # noqa: E402
from skeleton_io.shards.schema import to_row, to_table  # noqa: E402
from skeleton_io.sources.registry import SOURCES  # noqa: E402
from skeleton_io.sources.shared.files import Item  # noqa: E402
from skeleton_io.sources.shared.side_files import SideInfo, side_info  # noqa: E402

ASSETS = ROOT / "tests" / "assets"
SECONDS = 10.0
"""CPU seconds one input may take."""
MEMORY = 1 << 30
"""Bytes of address space above what the process has before the first input."""
_STUCK = 60.0  # seconds without progress after which the parent ends a child that does not listen
_SAVED = 400  # characters of a failure's description
OUTCOMES = ("none", "records", "errors", "both", "failed", "slow", "died")
NONE, RECORDS, ERRORS, BOTH, FAILED, SLOW, DIED = range(len(OUTCOMES))
_RESULT = np.dtype([("outcome", "u1"), ("cpu", "f4"), ("peak", "i8"), ("why", f"S{_SAVED}")])
_BANNED = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect"}
_BANNED |= {"os.remove", "os.rename", "os.mkdir", "os.chmod", "shutil.rmtree", "ctypes.dlopen", "pty.spawn"}


class TooSlow(BaseException):
    """Raised by the timer. Not an Exception, so that no reader can catch it."""


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A good item: its files, the companions it may ask for, its set's side files."""

    item: Item
    parts: tuple[tuple[str, bytes], ...]
    companions: dict[str, bytes] = field(default_factory=dict)
    side: SideInfo


def seeds(name: str) -> list[Seed]:
    """Good items of one reader: those of the asset folders that carry its name, else of any folder with its files."""
    source = SOURCES[name]
    folders = sorted(path for path in ASSETS.iterdir() if path.is_dir())
    own = [path for path in folders if path.name == name or path.name.startswith(f"{name}_")]
    found: list[Seed] = []
    for folder in [path for path in own if source.list_items(str(path))] or folders:
        companions = {path: (folder / path).read_bytes() for path in source.list_companions(str(folder))}
        for item in source.list_items(str(folder))[:8]:
            parts = tuple((path, (folder / path).read_bytes()) for path in item.parts or (item.path,))
            found.append(Seed(item=item, parts=parts, companions=companions, side=side_info(str(folder))))
    if not found:
        raise SystemExit(f"no file below {ASSETS} is of the format {name}")
    return found


def damaged(name: str, number: int, good: list[Seed], pool: list[bytes]) -> tuple[str, Seed]:
    """Input `number` of a reader: what was done, and the item. The first inputs are the hostile files, one by one."""
    rng = random.Random(f"{name}:{number}")
    seed = rng.choice(good)
    whole = list(hostile.files().items())
    places: list[tuple[str, int | str]] = [("file", place) for place in range(len(seed.parts))]
    places += [("companion", path) for path in sorted(seed.companions)]
    kind, place = rng.choice(places[: max(1, len(seed.parts))] if rng.random() < 0.75 else places)
    old = seed.parts[int(place)][1] if kind == "file" else seed.companions[str(place)]
    if number < len(whole) or rng.random() < 0.03:
        said, maker = whole[number] if number < len(whole) else rng.choice(whole)
        new = maker()
        kind, place = ("file", 0) if number < len(whole) else (kind, place)
    elif len(places) > 1 and kind == "companion" and rng.random() < 0.1:
        said, left = "companion lost", {k: v for k, v in seed.companions.items() if k != place}
        return said, Seed(item=seed.item, parts=seed.parts, companions=left, side=seed.side)
    else:
        said, new = mutate(old, pool, rng)
    parts, companions = list(seed.parts), dict(seed.companions)
    if kind == "file":
        parts[int(place)] = (parts[int(place)][0], new)
    else:
        companions[str(place)] = new
    return f"{said} in {kind} {place}", Seed(item=seed.item, parts=tuple(parts), companions=companions, side=seed.side)


def read(name: str, seed: Seed) -> tuple[int, str]:
    """Runs the reader on one input. Returns the outcome, and why where it failed."""
    records = errors = 0
    source: Any = SOURCES[name]
    for found in source.stream_bytes(seed.parts, seed.item, name, seed.side, seed.companions.get):
        if isinstance(found, SkeletonFormatError):
            errors += 1
            if not (found.place and found.expected and found.found):
                return FAILED, f"an error without place or reason: {found}"
            broke = re.match(r"(MemoryError|_ArrayMemoryError|ArrowMemoryError)\b", found.found)
            if broke:
                return FAILED, f"more than {MEMORY >> 20} MiB: {found}"
        else:
            to_table([to_row(found)])
            records += 1
    if not records and not errors:
        return FAILED, "neither a record nor an error"
    return (BOTH if records and errors else RECORDS if records else ERRORS), ""


class _Watch:
    """Notes what a reader does that no reader may. Installed once; active only while `on`."""

    def __init__(self) -> None:
        self.on, self.seen = False, ""
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and (event in _BANNED or (event == "open" and _writes(arguments))):
            self.seen = f"{event} {arguments!r}"[:_SAVED]


def _writes(arguments: tuple[Any, ...]) -> bool:
    mode, flags = arguments[1], arguments[2]
    return bool(isinstance(mode, str) and set(mode) & set("wax+")) or bool(
        isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
    )


def _peak() -> int:
    """Most resident bytes since the last reset."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) << 10


def child(name: str, rows: range, stride: int, results: np.ndarray, pool: list[bytes]) -> None:
    """Inputs `stride` times the rows in this process, results into the shared array."""
    good = seeds(name)
    for seed in good:  # loads what the reader imports late
        read(name, seed)
    os.chdir("/proc/self")  # nothing can be written here
    watch = _Watch()
    gc.collect()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))

    def late(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGPROF, late)
    clear = os.open("/proc/self/clear_refs", os.O_WRONLY)
    for place in rows:
        said, seed = damaged(name, stride * place, good, pool)
        results[place]["why"] = said.encode()[:_SAVED]  # stays if the process dies
        os.pwrite(clear, b"5", 0)  # resets the peak
        before, begun = _peak(), time.process_time()
        watch.seen, watch.on = "", True
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            outcome, why = read(name, seed)
        except TooSlow:
            outcome, why = SLOW, ""
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            outcome, why = FAILED, f"{type(error).__name__}: {error}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        watch.on = False
        if watch.seen or hostile.CANARY in os.environ:
            outcome, why = FAILED, f"did {watch.seen or 'run foreign code'}"
        row = results[place]
        row["cpu"], row["peak"] = time.process_time() - begun, _peak() - before
        row["why"], row["outcome"] = f"{said}: {why}".encode()[:_SAVED] if why else said.encode()[:_SAVED], outcome


def fuzz(name: str, inputs: int, stride: int, pool: list[bytes]) -> np.ndarray:
    """(inputs,) results of one reader. A child that dies or hangs is replaced, and its input is the culprit."""
    shared = mmap.mmap(-1, max(1, inputs * _RESULT.itemsize))
    results = np.frombuffer(shared, _RESULT, inputs)
    while (left := np.flatnonzero(results["outcome"] == NONE)).size:
        start = int(left[0])
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                sys.stderr.flush()
                child(name, range(start, inputs), stride, results, pool)
                code = 0
            finally:
                os._exit(code)
        code = _wait(pid, results)
        at = np.flatnonzero(results["outcome"] == NONE)
        if at.size:
            row = results[at[0]]
            row["outcome"] = SLOW if code == "stuck" else DIED
            row["why"] = f"{row['why'].decode(errors='replace')}: {code}".encode()[:_SAVED]
    return results.copy()


def _wait(pid: int, results: np.ndarray) -> str:
    """How the child ended; one that makes no progress is ended."""
    done, since = -1, time.monotonic()
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
            return f"process ended with {how}"
        now = int((results["outcome"] != NONE).sum())
        if now != done:
            done, since = now, time.monotonic()
        if time.monotonic() - since > _STUCK:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "stuck"
        time.sleep(0.05)


def summary(name: str, results: np.ndarray, stride: int) -> dict[str, Any]:
    """Plain data of one reader's run."""
    counts = {what: int((results["outcome"] == code).sum()) for code, what in enumerate(OUTCOMES)}
    slowest, largest = int(results["cpu"].argmax()), int(results["peak"].argmax())
    bad = [
        {
            "input": stride * int(i),
            "outcome": OUTCOMES[results[i]["outcome"]],
            "why": results[i]["why"].decode(errors="replace"),
        }
        for i in np.flatnonzero(results["outcome"] >= FAILED)
    ]
    return {
        "reader": name,
        "inputs": len(results),
        **counts,
        "slowest_s": round(float(results["cpu"][slowest]), 2),
        "slowest": results["why"][slowest].decode(errors="replace")[:60],
        "peak_mib": round(float(results["peak"][largest]) / 2**20, 1),
        "largest": results["why"][largest].decode(errors="replace")[:60],
        "mean_ms": round(1000 * float(results["cpu"].mean()), 2),
        "bad": bad,
    }


def table(found: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| reader | inputs | records | format errors | both | failures | slowest input (CPU s) | most memory (MiB) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        lines.append(
            f"| {row['reader']} | {row['inputs']} | {row['records']} | {row['errors']} | {row['both']} "
            f"| {len(row['bad'])} | {row['slowest_s']:.2f} ({row['slowest']}) "
            f"| {row['peak_mib']:.0f} ({row['largest']}) |"
        )
    return "\n".join(lines)


def replay(name: str, number: int, folder: str) -> None:
    """Writes the files of one input and reads them again with a traceback, in this process."""
    pool = [data for seed in seeds(name) for _, data in seed.parts]
    said, seed = damaged(name, number, seeds(name), everything())
    print(said, [len(data) for _, data in seed.parts], len(pool))
    for path, data in (*seed.parts, *seed.companions.items()) if folder else ():
        target = Path(folder) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    begun = time.process_time()
    outcome, why = read(name, seed)
    print(OUTCOMES[outcome], why, f"{time.process_time() - begun:.2f} s")


def everything() -> list[bytes]:
    """Good files of all readers, to splice from."""
    return [data for name in SOURCES for seed in seeds(name) for _, data in seed.parts]


def main() -> int:
    """Runs; exit code 1 where a reader failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readers", default="", help="comma-separated; all without it")
    parser.add_argument("--inputs", type=int, default=10_000, help="per reader")
    parser.add_argument("--stride", type=int, default=1, help="only every n-th input: some of each kind, soon")
    parser.add_argument("--replay", type=int, default=-1, help="this input only")
    parser.add_argument("--save", default="", help="with --replay: folder for its files")
    parser.add_argument("--json", default="", help="results of the readers are kept in this file, and added to")
    parser.add_argument("--out", default="", help="table")
    args = parser.parse_args()
    names = args.readers.split(",") if args.readers else list(SOURCES)
    if args.replay >= 0:
        replay(names[0], args.replay, args.save)
        return 0
    kept = json.loads(Path(args.json).read_text()) if args.json and Path(args.json).exists() else {}
    pool = everything()
    for name in names:
        begun = time.monotonic()
        kept[name] = summary(name, fuzz(name, args.inputs, args.stride, pool), args.stride)
        seconds = time.monotonic() - begun
        print(f"{name}: {kept[name]['records']} records, {kept[name]['errors']} errors, {kept[name]['both']} both, "
              f"{len(kept[name]['bad'])} failures, {seconds:.0f} s", flush=True)  # fmt: skip
        for bad in kept[name]["bad"][:10]:
            print(f"  input {bad['input']}: {bad['outcome']}: {bad['why']}", flush=True)
        if args.json:
            Path(args.json).write_text(json.dumps(kept))
    text = table([kept[name] for name in sorted(kept)])
    if args.out:
        Path(args.out).write_text(HEAD + text + "\n")
    else:
        print(text)
    return int(any(row["bad"] for row in kept.values()))


HEAD = f"""# Fuzz of every reader

`python benchmarks/fuzz.py`. Seeds: the files below tests/assets; damages: truncation, flipped bits, lost, doubled and
spliced pieces, numbers in text and in binary headers, NaN and infinity, JSON, zip, MATLAB and pickled trees changed in
place, and the hostile files of `hostile.py` (pickles that call something, zip and zlib bombs of 2 GiB, huge shapes,
deep nesting) one by one. Each input may take {SECONDS:g} s of CPU time and {MEMORY >> 20} MiB of address space; an
audit hook watches for processes, sockets and written files. A failure is whatever is neither a record that a shard can
hold nor a `SkeletonFormatError` with place and reason.

"""

if __name__ == "__main__":
    sys.exit(main())
