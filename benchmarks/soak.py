"""Training under faults, at length: does every disturbed run end at the losses of the undisturbed one?

    python benchmarks/soak.py --part kills --work runs/soak --out benchmarks/results/soak.md
    python benchmarks/soak.py --part all   --work runs/soak --out benchmarks/results/soak.md     (make soak)

Parts: kills (SIGKILL of rank 0 and of rank 1 at random steps), hang, term (SIGTERM to a worker), driver (the driver is
killed, the cluster stays, the command is given again), asked (SIGTERM to the driver, then again), workers (2 -> 1 -> 2,
by hand), nodes (a node of three is lost), elastic (2 -> 1 -> 2, as nodes go and come), s3 (a faulty S3 server), full
(the disk is full), pipeline (the demo whole on S3). Each part is a process of its own with a Ray of its own. After each
run every step must be there once, with the clips that the sampler gives it (by checksum), and with the undisturbed
run's loss: equal in every digit where the number of workers was the same, within 2e-4 where it changed. Trials are
added to those of earlier calls in WORK/trials.json; a run with kills that was broken off goes on. Ends only what it
started.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks import soak_cluster, soak_storage  # noqa: E402
from benchmarks.soak_faults import Fault, planted  # noqa: E402
from benchmarks.soak_runs import Case, Trial, compare, environment, prepare  # noqa: E402
from pipelines.cluster.connect import connected  # noqa: E402

EXACT, ROUNDED = 0.0, 2e-4
KILLS_PER_RUN = 5
Keep = Callable[[Trial], None]


def kills(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """Ten kills of each rank, in two runs each."""
    for rank in (0, 1, 0, 1):
        chosen = sorted(rng.sample(range(1, len(case.reference)), KILLS_PER_RUN))
        disturbed(case, work, keep, f"SIGKILL of rank {rank}, {KILLS_PER_RUN} times", "kill", rank, chosen)


def hang(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """Each rank hangs once."""
    case = case.with_train(faults=type(case.cfg.train.faults)(watchdog_s=20, stop_poll_s=0.2))
    for rank in (0, 1):
        disturbed(case, work, keep, f"rank {rank} hangs", "hang", rank, [rng.randrange(1, len(case.reference))])


def term(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """Each worker gets SIGTERM once."""
    for rank in (0, 1):
        disturbed(case, work, keep, f"SIGTERM to rank {rank}", "term", rank, [rng.randrange(1, len(case.reference))])


def disturbed(case: Case, work: Path, keep: Keep, what: str, kind: str, rank: int, steps: list[int]) -> None:
    """One run with one kind of fault at some steps; goes on where an earlier call was broken off."""
    name = f"{kind}-{rank}-" + "-".join(map(str, steps))
    if (work / f"{name}.done").exists():
        return
    folder = work / name
    folder.mkdir(exist_ok=True)
    faults = [Fault(kind, rank, step, f"{folder}/{step}") for step in steps]
    begun, out = time.monotonic(), f"{folder}/out"
    with planted(*faults):
        case.run(out)
    trial = compare(case, out, what, ", ".join(map(str, steps)), time.monotonic() - begun, EXACT)
    if missed := [fault.step for fault in faults if not Path(fault.marker).exists()]:
        trial.wrong += f" no fault at {missed}"
    keep(trial)
    (work / f"{name}.done").write_text("")
    shutil.rmtree(folder)


def workers(case: Case, work: Path, keep: Keep, rng: random.Random) -> None:
    """2 -> 1 -> 2 workers: the run is asked to end and given again with another number."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        out, begun = f"{folder}/out", time.monotonic()
        stops = sorted(rng.sample(range(3, len(case.reference) - 3), 2))
        for count, step in zip((2, 1, 2), (*stops, None), strict=True):
            faults = [Fault("stop", 0, step, f"{folder}/{step}", out)] if step is not None else []
            soak_cluster.until_stopped(case.with_train(workers=count), out, faults)
        what = "2 -> 1 -> 2 workers between starts"
        keep(compare(case, out, what, ", ".join(map(str, stops)), time.monotonic() - begun, ROUNDED))


IN_RAY = {"kills": kills, "hang": hang, "term": term, "workers": workers, "full": soak_storage.full}
APART = {
    "driver": soak_cluster.driver,
    "asked": soak_cluster.asked,
    "nodes": soak_cluster.nodes,
    "elastic": soak_cluster.elastic,
    "s3": soak_storage.s3,
    "pipeline": soak_storage.pipeline,
}
HEAD = """# Training under faults

`make soak` on {date}, revision {revision}: 2 CPU cores, no GPU, machine shared with other work (the seconds are no
measure of speed). One stage, {steps} steps of 8 clips in 8 epochs, ZeRO-2, 2 workers unless said otherwise, a
checkpoint every 3 steps, all groups of the tiny model trained, with augmentation. "Steps": the optimiser step before
which it happened, from 0. "Difference": the largest relative difference of any step's loss to the undisturbed run. In
every run each step stands once in the metrics, and the checksum of its clips is that of the sampler's: no clip lost,
none repeated.

"""


def page(trials: list[Trial], steps: int) -> str:
    """The table as Markdown."""
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    rows = ["| what | steps | last loss | difference | s | wrong |", "|---|---|---|---|---|---|"]
    for t in trials:
        off = "none" if t.difference == 0 else f"{t.difference:.1e}"
        rows.append(f"| {t.what} | {t.steps} | {t.last_loss:.5f} | {off} | {t.seconds:.0f} | {t.wrong or 'nothing'} |")
    head = HEAD.format(date=datetime.date.today(), revision=revision.strip(), steps=steps)
    return head + "\n".join(rows) + "\n"


def main() -> int:
    """Runs one part, or all, one process each; exit code 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["all", *IN_RAY, *APART], required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for shards, the undisturbed run and trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    environment()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if args.part == "all":
        again = [sys.executable, __file__, "--work", str(work), "--seed", str(args.seed)]
        again += ["--out", str(args.out)] if args.out else []
        codes = [subprocess.run([*again, "--part", part], check=False).returncode for part in (*IN_RAY, *APART)]
        return int(any(codes))
    kept = work / "trials.json"
    trials = [Trial(**row) for row in json.loads(kept.read_text())] if kept.exists() else []
    before = len(trials)

    def keep(trial: Trial) -> None:
        print(trial, flush=True)
        trials.append(trial)
        kept.write_text(json.dumps([asdict(t) for t in trials], indent=1))

    rng = random.Random(f"{args.part} {args.seed}")
    if args.part in IN_RAY or not (work / "reference.json").exists():
        with connected():
            case = prepare(work)
            if args.part in IN_RAY:
                IN_RAY[args.part](case, work, keep, rng)
    if args.part in APART:
        APART[args.part](prepare(work), work, keep, rng)
    if args.out:
        args.out.write_text(page(trials, len(prepare(work).reference)))
    return int(any(trial.wrong for trial in trials[before:]))


if __name__ == "__main__":
    sys.exit(main())
