"""How long a training step waits for data, and what two workers gain over one: the demo's model and renderer.

    python benchmarks/train.py --work runs/train-benchmark --rounds 5 --out benchmarks/results/train.md

Each round trains the same stage of the demo configuration (InternVL architecture, 8 frames of 96 x 96) with one worker
and with two, one torch thread each, through Ray Train; the first steps of each run are left out. Wall-clock efficiency
is clips/s of two workers over twice that of one, from the same round. On a machine with other work that says little, so
the CPU time per clip is given too: what the second worker costs in work, apart from waiting. Rounds are added to those
of earlier calls in WORK/rounds.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.soak_runs import environment  # noqa: E402
from pipelines.cluster.connect import connected  # noqa: E402
from pipelines.config.faults import MetricsConfig  # noqa: E402
from pipelines.config.loading import load_config  # noqa: E402
from pipelines.config.stages import StageConfig  # noqa: E402
from pipelines.config.tree import FullConfig  # noqa: E402
from pipelines.data.clip_store import ClipStore  # noqa: E402
from pipelines.data.selection import select  # noqa: E402
from pipelines.ingest.stage import ingest  # noqa: E402
from pipelines.runtime.paths import RunPaths  # noqa: E402
from pipelines.trainer.telemetry.metrics_log import SHARE_PREFIX, read_rows  # noqa: E402
from pipelines.training import stage as training  # noqa: E402
from pipelines.training import tiny_mllm  # noqa: E402
from skeleton_io.demo.dataset import DemoConfig, write_demo  # noqa: E402

DEMO = DemoConfig(subjects=5, test_subjects=1, repetitions=1, broken=False)
WARM = 4
"""Steps at the start of each run that are left out."""
RATES = {"renderer": 3e-3, "vision": 3e-4, "projector": 3e-4, "llm": 3e-4}


def prepare(work: Path, steps: int) -> tuple[FullConfig, RunPaths]:
    """Configuration, and a run with shards and the tiny LLM."""
    paths, cfg = RunPaths(str(work / "run")), load_config(str(ROOT / "tune_configs" / "full_demo.yaml"))
    stage = StageConfig(name="1", tasks={"mqa": 1, "yesno": 1}, trains=(*RATES,), learning_rate=RATES, steps=steps)
    settings = dataclasses.replace(cfg.train, stages=(stage,), validate_clips=0, metrics=MetricsConfig(profile_every=2))
    cfg = dataclasses.replace(cfg, train=settings, mllm=dataclasses.replace(cfg.mllm, path=paths.mllm))
    if not (work / "done").exists():
        write_demo(work / "demo", DEMO)
        inputs = {f"demo_{name}:{name}": str(work / "demo" / f"demo_{name}") for name in ("ntu", "coco17")}
        ingest(inputs, paths.shards, "ipc", 64)
        texts = tiny_mllm.corpus(select(cfg, ClipStore(paths.shards)), {})
        tiny_mllm.write(paths.mllm, cfg.mllm.family, cfg.mllm, texts, cfg.renderer.image_size, 0)
        (work / "done").write_text("")
    return cfg, paths


def measure(cfg: FullConfig, paths: RunPaths, workers: int, work: Path) -> dict[str, Any]:
    """One run with so many workers: medians over its steps."""
    cfg = dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, workers=workers))
    with tempfile.TemporaryDirectory(dir=work) as folder:
        training.train_stage(cfg, paths, cfg.train.stages[0], None, f"{folder}/out")
        rows = read_rows(f"{folder}/out")[WARM:]
    measured = [row for row in rows if f"{SHARE_PREFIX}llm" in row]
    seconds, clips = sum(row["seconds"] for row in rows), sum(row["clips"] for row in rows)
    shares = {
        key.removeprefix(SHARE_PREFIX): statistics.median(row[key] for row in measured)
        for key in measured[0]
        if key.startswith(SHARE_PREFIX)
    }
    return {
        "workers": workers,
        "clips_per_second": clips / seconds,
        "wait": sum(row["data_wait_share"] * row["seconds"] for row in rows) / seconds,
        "worst_wait": max(row["data_wait_share"] for row in rows),
        "cpu_ms_per_clip": 1000 * sum(row["cpu_seconds"] for row in rows) / clips,
        "cores": sum(row["cpu_seconds"] for row in rows) / seconds,
        "mfu": statistics.median(row["mfu"] for row in rows),
        "shares": shares,
        "load": os.getloadavg()[0],
    }


def median(rounds: list[dict[str, Any]], workers: int, key: str) -> float:
    """Over the rounds."""
    return statistics.median(row[key] for row in rounds if row["workers"] == workers)


def page(rounds: list[dict[str, Any]], steps: int) -> str:
    """The result as Markdown."""
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    pairs = [rounds[i : i + 2] for i in range(0, len(rounds) - 1, 2)]
    gains = [two["clips_per_second"] / (2 * one["clips_per_second"]) for one, two in pairs]
    work = [one["cpu_ms_per_clip"] / two["cpu_ms_per_clip"] for one, two in pairs]
    load = statistics.median(row["load"] for row in rounds)
    lines = [
        "# Training: waiting for data, one worker and two",
        "",
        f"`python benchmarks/train.py` on {datetime.date.today()}, revision {revision.strip()}: 2 CPU cores, no GPU, "
        f"{len(pairs)} rounds of {steps} steps of 8 clips, medians. Load of the machine in the meantime: {load:.0f} "
        "processes on 2 cores (other work), so clips/s are no measure of what the machine can do.",
        "",
        "| workers | clips/s | waits for data | worst step | CPU ms per clip | cores used | MFU |",
        "|---|---|---|---|---|---|---|",
    ]
    for workers in (1, 2):
        cells = [
            f"{median(rounds, workers, 'clips_per_second'):.1f}",
            f"{100 * median(rounds, workers, 'wait'):.2f} %",
            f"{100 * median(rounds, workers, 'worst_wait'):.1f} %",
            f"{median(rounds, workers, 'cpu_ms_per_clip'):.1f}",
            f"{median(rounds, workers, 'cores'):.2f}",
            f"{100 * median(rounds, workers, 'mfu'):.1f} %",
        ]
        lines.append(f"| {workers} | " + " | ".join(cells) + " |")
    lines += ["", "Time of rank 0 by part, forward and backward:", ""]
    names = list(rounds[0]["shares"])
    lines += ["| workers | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for workers in (1, 2):
        own = [row["shares"] for row in rounds if row["workers"] == workers]
        cells = [f"{100 * statistics.median(s[n] for s in own):.1f} %" for n in names]
        lines.append(f"| {workers} | " + " | ".join(cells) + " |")
    spread = f"{min(gains):.2f} to {max(gains):.2f}"
    lines += [
        "",
        f"Efficiency 1 -> 2 workers: {statistics.median(gains):.2f} in wall time ({spread}), "
        f"{statistics.median(work):.2f} in CPU time per clip.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for shards and the rounds so far")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    environment()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    kept = work / "rounds.json"
    rounds = json.loads(kept.read_text()) if kept.exists() else []
    with connected():
        cfg, paths = prepare(work, args.steps)
        for _ in range(args.rounds):
            rounds += [measure(cfg, paths, workers, work) for workers in (1, 2)]
            kept.write_text(json.dumps(rounds, indent=1))
            print(json.dumps(rounds[-2:]), flush=True)
    text = page(rounds, args.steps)
    print(text)
    if args.out:
        args.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
