"""Ingest measured: parsing against a token loop, stages against the floor, two workers against one, memory.

    python benchmarks/ingest.py --part parse,stages --kept runs/ingest.json --out benchmarks/results/ingest.md
    python benchmarks/ingest.py --part workers,memory --kept runs/ingest.json --out benchmarks/results/ingest.md

Ratios are of pairs that alternate in one run, medians of five; CPU time where one process is enough, wall-clock time
for the workers, which need a quiet machine. Figures of earlier calls are kept in the `--kept` file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import psutil  # noqa: E402
from baselines import token_loop  # noqa: E402
from ingest_data import ntu_file, ntu_folder  # noqa: E402
from ingest_page import page  # noqa: E402

from pipelines.cluster.connect import connected  # noqa: E402
from pipelines.cluster.spread import spread  # noqa: E402
from pipelines.ingest import stage as ingest  # noqa: E402
from pipelines.ingest.jobs import ChunkReport  # noqa: E402
from pipelines.ingest.tasks import read_chunk, write_block  # noqa: E402
from skeleton_io import storage  # noqa: E402
from skeleton_io.record import quality  # noqa: E402
from skeleton_io.record.sequence import SkeletonSequence, Source  # noqa: E402
from skeleton_io.shards.schema import to_row, to_table  # noqa: E402
from skeleton_io.sources.depth import ntu  # noqa: E402
from skeleton_io.sources.depth.ntu_plain import decode  # noqa: E402
from skeleton_io.sources.registry import SOURCES  # noqa: E402
from skeleton_io.sources.shared.files import Item, SourceFile  # noqa: E402
from skeleton_io.sources.shared.side_files import SideInfo  # noqa: E402

RUNS = 5
SMALL, LARGE = 1000, 50_000


def cpu(work: Callable[[], object], times: int) -> float:
    """CPU seconds of one call, the mean of several."""
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times


def skeleton_file(data: bytes) -> SourceFile:
    """What the reader gets."""
    item = Item(id="S001C001P001R001A001", path="S001C001P001R001A001.skeleton")
    source = Source(uri=item.path, sha256="", reader="ntu", reader_version=1)
    return SourceFile(item=item, dataset="set", data=data, source=source, licence=None, side=SideInfo())


def parsing() -> list[dict[str, Any]]:
    """The token loop against the reader, for clips of one and of two persons."""
    rows = []
    for frames, bodies in ((75, 1), (75, 2), (150, 2)):
        data = ntu_file(frames, bodies, 0)
        file = skeleton_file(data)
        work: dict[str, Callable[[], object]] = {
            "loop": lambda data=data: token_loop.parse(data),
            "numbers": lambda data=data: decode(data),
            "record": lambda file=file: ntu.parse(file),
        }
        took: dict[str, list[float]] = {name: [] for name in work}
        for name in work:
            work[name]()
        for _ in range(RUNS):
            for name, call in work.items():
                took[name].append(cpu(call, 5 if name == "loop" else 25))
        ratio = {n: statistics.median(a / b for a, b in zip(took["loop"], took[n], strict=True)) for n in work}
        median = {name: 1e3 * statistics.median(values) for name, values in took.items()}
        rows.append({"frames": frames, "bodies": bodies, "bytes": len(data), "ms": median, "ratio": ratio})
    return rows


def stages() -> dict[str, Any]:
    """CPU time of each step of one clip, in one process, and of only reading the bytes."""
    with tempfile.TemporaryDirectory() as folder:
        size = ntu_folder(Path(folder) / "in", 200, 75)
        root = str(Path(folder) / "in")
        items = SOURCES["ntu"].list_items(root)
        data = [storage.read_bytes(storage.join(root, item.path)) for item in items]
        files = [skeleton_file(content) for content in data]
        clips = [clip for file in files for clip in ntu.parse(file) if isinstance(clip, SkeletonSequence)]
        rows = [to_row(clip) for clip in clips]
        jobs = {"number": 0, "root": root, "source": "ntu", "dataset": "set"}
        listing = [[item.id, item.path, []] for item in items]

        def task() -> object:
            shutil.rmtree(Path(folder) / "spool", ignore_errors=True)
            return read_chunk({**jobs, "spool": str(Path(folder) / "spool"), "items": listing})

        def shard() -> object:
            for path in Path(folder).glob("spool/shard*"):
                path.unlink()
            block = {"spool": str(Path(folder) / "spool"), "out": str(Path(folder) / "out"), "kind": "ipc"}
            return write_block({**block, "dataset": "set", "number": 0, "rows": [[0, i] for i in range(len(items))]})

        work: dict[str, Callable[[], object]] = {
            "read the bytes (floor)": lambda: [storage.read_bytes(storage.join(root, item.path)) for item in items],
            "hash them": lambda: [storage.sha256(content) for content in data],
            "text -> numbers": lambda: [decode(content) for content in data],
            "text -> record, numbers included": lambda: [ntu.parse(file) for file in files],
            "measure quality": lambda: [quality.measure(clip) for clip in clips],
            "record -> Arrow": lambda: to_table([to_row(clip) for clip in clips]),
            "rows -> table": lambda: to_table(rows),
            "pass 1 as a whole": task,
            "pass 2 as a whole": shard,
        }
        found = {}
        for name, call in work.items():
            call()
            found[name] = 1e3 * statistics.median(cpu(call, 1) for _ in range(RUNS)) / len(items)
    return {"ms": found, "clips": len(items), "bytes": size}


def workers() -> dict[str, Any]:
    """One worker against two over the same files: wall-clock seconds of both passes, and of `ingest` as a whole.

    Two is what a cluster of two CPUs does when nothing is asked; asked for by number, Ray Data waits between tasks.
    """
    passes: dict[int, list[float]] = {1: [], 2: []}
    whole: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder, connected():
        inputs = {"set:ntu": str(Path(folder) / "in")}
        size = ntu_folder(Path(folder) / "in", 6000, 75)
        opened = [ingest.open_input(spec, root) for spec, root in inputs.items()]
        for run in range(RUNS + 1):
            for number in (1, 2) if run % 2 else (2, 1):
                limit = 1 if number == 1 else 0
                out = str(Path(folder) / f"out{run}{number}")
                chunks = ingest._chunks(opened, storage.join(out, "spool"))
                begun = time.monotonic()
                reports = [ChunkReport(**data) for data in spread(read_chunk, [vars(job) for job in chunks], limit)]
                clips, _ = ingest._unique(reports)
                shards = ingest._blocks(clips, storage.join(out, "spool"), out, "ipc", 256)
                list(spread(write_block, [vars(job) for job in shards], limit))
                passes[number].append(time.monotonic() - begun)
                begun = time.monotonic()
                ingest.ingest(inputs, out + "w", "ipc", 256, workers=limit)
                whole[number].append(time.monotonic() - begun)
                shutil.rmtree(out)
                shutil.rmtree(out + "w")
    for kept in (*passes.values(), *whole.values()):
        del kept[0]  # the first round starts Ray's workers
    return {"passes": passes, "whole": whole, "bytes": size, "clips": 6000, "load": os.getloadavg()[0]}


class Watch(threading.Thread):
    """Largest resident memory of the driver and of any of its workers, sampled."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.done = process, False
        self.peak = {"driver": 0, "worker": 0}

    def run(self) -> None:
        while not self.done:
            try:
                for process in (self.process, *self.process.children(recursive=True)):
                    self.note(process)
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.1)

    def note(self, process: psutil.Process) -> None:
        try:
            kind = "driver" if process.pid == self.process.pid else "worker"
            if kind == "driver" or "Map" in process.cmdline()[0] or "map" in process.cmdline()[0]:
                self.peak[kind] = max(self.peak[kind], process.memory_info().rss)
        except (psutil.Error, IndexError):
            pass


def memory() -> list[dict[str, Any]]:
    """Resident memory of `skel ingest`, driver and workers, for few clips and for many."""
    rows = []
    for clips in (SMALL, LARGE):
        with tempfile.TemporaryDirectory() as folder:
            ntu_folder(Path(folder) / "in", clips, 5)
            command = [sys.executable, "-m", "pipelines.cli", "ingest", "--input", f"set:ntu={folder}/in"]
            env = os.environ | {"OMP_NUM_THREADS": "1"}
            begun = time.monotonic()
            with subprocess.Popen(
                [*command, "--out", f"{folder}/out"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
            ) as process:
                watch = Watch(psutil.Process(process.pid))
                watch.start()
                text, _ = process.communicate()
                watch.done = True
                watch.join()
            if process.returncode:
                raise SystemExit(f"ingest failed: {text[-500:]}")
            rows.append({"clips": clips, "seconds": time.monotonic() - begun, "peak": watch.peak})
            print(rows[-1], flush=True)
    return rows


PARTS: dict[str, Callable[[], Any]] = {"parse": parsing, "stages": stages, "workers": workers, "memory": memory}


def main() -> None:
    """Runs the parts asked for and writes the page with all figures so far."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", default=",".join(PARTS))
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    kept = json.loads(args.kept.read_text()) if args.kept.exists() else {}
    for name in args.part.split(","):
        kept[name] = json.loads(json.dumps(PARTS[name]()))
        args.kept.write_text(json.dumps(kept))
    text = page(kept, f"{platform.machine()}, {os.cpu_count()} cores")
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
