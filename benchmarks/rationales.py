"""The teacher stage against a local server that answers after 200 ms: throughput, cost of drawing, memory.

    python benchmarks/rationales.py speed  [--clips 4000] [--latency 0.2]
    python benchmarks/rationales.py memory [--clips 100000] [--until 1.0]

speed: requests per second of a serial loop with the official client, then of one and of two actors, all with the same
frames drawn beforehand (2 of 32 x 32 pixels, as PNG in the questions); drawing and encoding alone; the CPU time that
client and server take for a request, which bounds it on one machine, since both share its cores.
memory: resident memory of every process of the stage while that many clips wait to be asked (one frame each);
--until stops early, after that share of them.
"""

from __future__ import annotations

import _thread
import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import psutil
from openai import OpenAI
from teacher_run import KEY, Server, config, make_clips, server

from pipelines.cluster.connect import connected
from pipelines.cluster.spread import quiet
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.rationales.actors import TeacherJob, ask_teacher, question_of, shared_limits
from pipelines.rationales.frames import CLIPS_PER_BATCH, draw_frames
from pipelines.rationales.stage import ask_all, list_tasks
from pipelines.rationales.teachers import registry
from pipelines.rationales.teachers.ledger import Ledger
from pipelines.rationales.teachers.openai_api import chat_body

SERIAL = 40


def serial(cfg: FullConfig, uri: str, rows: list[dict[str, Any]]) -> float:
    """Requests per second, one at a time, connection kept."""
    store = ClipStore(uri)
    bodies = [
        chat_body(cfg.rationales.api, question_of(row, store).request, structured=True) for row in rows[: SERIAL + 1]
    ]
    with OpenAI(base_url=cfg.rationales.api.base_url, api_key=KEY) as client:
        client.chat.completions.create(**bodies[0])
        start = time.perf_counter()
        for body in bodies[1:]:
            client.chat.completions.create(**body)
        return SERIAL / (time.perf_counter() - start)


def parallel(cfg: FullConfig, uri: str, folder: Path, rows: Any, count: int, at: Server) -> dict[str, float]:
    """Asks all; the time runs from the first request to the last answer, without the start of the actors."""
    blocks = -(-count // CLIPS_PER_BATCH)
    entry = registry.entry_of(cfg.rationales)
    secret, account = entry.secret(cfg.rationales), shared_limits(cfg.rationales, (0.0, 0))
    at.control(reset=True)
    at.control(latency_s=cfg_latency)
    watch = _Watch(at, count)
    ledger = str(folder / f"ledger{cfg.rationales.actors}")
    job = TeacherJob(entry=entry, cfg=cfg.rationales, shards_uri=uri, ledger_uri=ledger, secret=secret, account=account)
    with watch:
        for _ in ask_teacher(job, rows, blocks).iter_rows():
            pass
    assert len(Ledger(ledger).settled(False)) == count
    counts = at.control()
    return {"per_s": count / watch.seconds, "server_ms": 1e3 * watch.server / count,
            "client_ms": 1e3 * watch.client / count, "peak": counts["peak"]}  # fmt: skip


cfg_latency = 0.2


class _Watch:
    """When the server saw the first and the last request, and CPU seconds of server and askers between."""

    def __init__(self, at: Server, count: int) -> None:
        self._at, self._count = at, count
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.seconds = self.server = self.client = 0.0

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join(600)

    def _look(self) -> None:
        start, before = 0.0, (0.0, 0.0)
        while True:
            counts = self._at.control()
            if not start and counts["requests"]:
                start, before = time.perf_counter(), self._cpu()
            if counts["distinct"] >= self._count:
                self.seconds = time.perf_counter() - start
                after = self._cpu()
                self.server, self.client = after[0] - before[0], after[1] - before[1]
                return
            time.sleep(0.05)

    def _cpu(self) -> tuple[float, float]:
        askers = [p for p in psutil.Process().children(recursive=True) if _is(p, "TeacherActor")]
        return _cpu_of(psutil.Process(self._at.pid)), sum(map(_cpu_of, askers))


def _cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _is(process: psutil.Process, word: str) -> bool:
    try:
        return any(word in part for part in process.cmdline())
    except psutil.Error:
        return False


def speed(clips: int) -> None:
    """The table."""
    folder = Path(tempfile.mkdtemp(prefix="skel-bench-"))
    uri = str(folder / "shards")
    make_clips(uri, clips)
    with server() as at, connected():
        quiet()
        cfg = config(at.url, in_flight=384)
        todo = list_tasks(cfg, ClipStore(uri))
        assert len(todo) == clips
        start, spent = time.perf_counter(), time.process_time()
        rows = draw_frames(cfg, uri, todo).materialize()
        drawing = time.perf_counter() - start
        at.control(latency_s=cfg_latency)
        one = serial(cfg, uri, rows.take(SERIAL + 1))
        print(f"drawing and encoding {clips} x 2 frames: {clips / drawing:.0f} clips/s with the start of one actor "
              f"(driver {time.process_time() - spent:.1f} s of CPU)")  # fmt: skip
        print(f"\n| how | answers/s | times serial | in flight, most | client ms | server ms |\n{6 * '|---'}|"
              f"\n| serial loop | {one:.2f} | 1 | 1 | | |", flush=True)  # fmt: skip
        for actors in (1, 2, 1, 2):
            made = config(at.url, in_flight=384, actors=actors)
            found = parallel(made, uri, Path(tempfile.mkdtemp(dir=folder)), rows, clips, at)
            print(f"| {actors} actor{'s' * (actors > 1)} | {found['per_s']:.0f} | {found['per_s'] / one:.0f} | "
                  f"{found['peak']} | {found['client_ms']:.2f} | {found['server_ms']:.2f} |", flush=True)  # fmt: skip
    shutil.rmtree(folder)


def memory(clips: int, until: float) -> None:
    """Resident memory while the stage runs, at tenths of its way."""
    folder = Path(tempfile.mkdtemp(prefix="skel-bench-"))
    uri = str(folder / "shards")
    make_clips(uri, clips, frames=4)
    seen: list[tuple[float, dict[str, float]]] = []
    with server() as at, connected():
        cfg = config(at.url, in_flight=384, actors=1, frames=1)
        todo = list_tasks(cfg, ClipStore(uri))
        done = threading.Event()

        def look() -> None:
            while not done.wait(1.0):
                seen.append((at.control()["distinct"] / clips, resident()))
                if until <= seen[-1][0] < 1:
                    _thread.interrupt_main()
                    return

        thread = threading.Thread(target=look)
        thread.start()
        start = time.perf_counter()
        try:
            ask_all(cfg, uri, str(folder / "out"), todo)
        except KeyboardInterrupt:
            print(f"stopped at {until:.0%}")
        took = time.perf_counter() - start
        done.set()
        thread.join()
        print(f"{at.control()['distinct']} of {clips} answered in {took:.0f} s\n")
    print("| asked | driver MiB | askers MiB | drawers MiB |\n|---|---|---|---|")
    for part in range(50):
        # The highest of each fiftieth of the way.
        mine = [now for share, now in seen if part / 50 < share <= (part + 1) / 50]
        if mine:
            highest = {name: max(now[name] for now in mine) for name in mine[0]}
            print(f"| {2 * part + 2} % | " + " | ".join(f"{highest[name]:.0f}" for name in highest) + " |")
    shutil.rmtree(folder)


def resident() -> dict[str, float]:
    """MiB of this process and of Ray's workers by kind, without what they share."""
    me = psutil.Process()
    out = {"driver": _private(me), "asker": 0.0, "drawer": 0.0}
    for child in me.children(recursive=True):
        for kind, word in (("asker", "TeacherActor"), ("drawer", "FrameActor")):
            if _is(child, word):
                out[kind] += _private(child)
    return out


def _private(process: psutil.Process) -> float:
    try:
        info = process.memory_info()
        return (info.rss - info.shared) / 2**20
    except psutil.Error:
        return 0.0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory"])
    parser.add_argument("--clips", type=int, default=0)
    parser.add_argument("--until", type=float, default=1.0)
    parser.add_argument("--latency", type=float, default=0.2)
    args = parser.parse_args()
    global cfg_latency
    cfg_latency = args.latency
    os.environ["TEACHER_KEY"] = KEY
    if args.what == "speed":
        speed(args.clips or 4000)
    else:
        memory(args.clips or 100_000, args.until)


if __name__ == "__main__":
    main()
