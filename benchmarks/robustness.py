"""Curves of `skel robustness` measured in one process, in pieces, and drawn: robustness.json, a table, a picture.

One process and no Ray: for a machine that others use too. Stops after --seconds; called again, it goes on with the
clips that have no row yet. The rows are those that `skel robustness` writes.

    python benchmarks/robustness.py --checkpoint RUN --shards URI --out DIR --clips 12 --seeds 2 --seconds 600
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from pipelines.evaluate_checkpoint import Asked
from pipelines.robustness import PerturbedScorer, RobustnessAsked, Trial, prepare
from pipelines.score_rows import batches_of, clip_score, read_rows, write_part

BATCHES_PER_PART = 8


def fill(trial: Trial, seconds: float) -> int:
    """Scores until the time is up; returns how many batches are left."""
    done = set(read_rows(trial.rows)["key"].to_pylist())
    todo = [b for b in batches_of(trial.questions, trial.cfg.evaluate.batch) if any(q.key not in done for q in b)]
    # Cells of all curves in turn, so that a stopped run has some of everything.
    todo.sort(key=lambda batch: (not batch[0].key.startswith("clean"), batch[0].key))
    scorer = PerturbedScorer(trial.export, trial.asked.base.shards, trial.candidates, trial.cfg)
    start, waiting = time.monotonic(), []
    while todo and time.monotonic() - start < seconds:
        batch = json.dumps([dataclasses.asdict(question) for question in todo.pop(0)])
        waiting.append(scorer({"questions": [batch]}))
        if len(waiting) == BATCHES_PER_PART or not todo:
            write_part(trial.rows, pa.concat_tables(waiting))
            waiting = []
            print(f"{len(todo)} batches left, {time.monotonic() - start:.0f} s", flush=True)
    if waiting:
        write_part(trial.rows, pa.concat_tables(waiting))
    return len(todo)


def table(found: dict) -> str:
    """The curves as a Markdown table."""
    lines = ["| perturbation | clips | top-1 % by level (95 %) | area | kept of clean |", "|---|---|---|---|---|"]
    for curve in found["curves"]:
        points = [
            f"{p['level']:g}: {100 * p['value']:.1f} ({100 * p['ci95'][0]:.0f} to {100 * p['ci95'][1]:.0f})"
            for p in curve["points"]
        ]
        area, kept = curve["area"], curve["retained"]
        lines.append(
            f"| {curve['title']}, {curve['unit']} | {curve['clips']} | {'; '.join(points)} | {100 * area['value']:.1f} "
            f"({100 * area['ci95'][0]:.0f} to {100 * area['ci95'][1]:.0f}) | "
            + ("-" if kept["value"] is None else f"{100 * kept['value']:.0f} %")
            + " |"
        )
    return "\n".join(lines)


def picture(found: dict, path: Path) -> None:
    """One panel per curve: accuracy over level, bars for the intervals, a dotted line for chance."""
    wide, high, columns = 360, 260, 3
    rows = -(-len(found["curves"]) // columns)
    image = Image.new("RGB", (columns * wide, rows * high), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    top = max(p["ci95"][1] for c in found["curves"] for p in c["points"])
    top = min(1.0, max(0.1, -(-top * 10 // 1) / 10))
    for n, curve in enumerate(found["curves"]):
        x0, y0 = n % columns * wide + 52, n // columns * high + 34
        w, h = wide - 76, high - 92
        draw.text((x0, y0 - 26), f"{curve['title']} ({curve['clips']} clips)", "black", font)
        for mark in (0, top / 2, top):
            y = y0 + h - mark / top * h
            draw.line((x0, y, x0 + w, y), "#dddddd")
            draw.text((x0 - 40, y - 8), f"{100 * mark:.0f} %", "#555555", font)
        for x in range(x0, x0 + w, 8):
            y = y0 + h - curve["chance"] / top * h
            draw.line((x, y, x + 3, y), "#999999")
        levels = [p["level"] for p in curve["points"]]
        span = abs(levels[-1] - levels[0])
        at = [x0 + abs(level - levels[0]) / span * w for level in levels]
        ys = [y0 + h - p["value"] / top * h for p in curve["points"]]
        draw.line(list(zip(at, ys, strict=True)), "#1f6fb4", width=2)
        for x, y, p in zip(at, ys, curve["points"], strict=True):
            low, up = (y0 + h - v / top * h for v in p["ci95"])
            draw.line((x, low, x, up), "#1f6fb4")
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), "#1f6fb4")
            draw.text((x - 8, y0 + h + 6), f"{p['level']:g}", "#555555", font)
        draw.text((x0, y0 + h + 26), curve["unit"], "#555555", font)
    image.save(path)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "shards", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--sets", default="")
    parser.add_argument("--curves", default="")
    parser.add_argument("--clips", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600.0)
    args = parser.parse_args()
    fields = ("--evaluate.max-clips", str(args.clips)) if args.clips else ()
    sets = tuple(name for name in args.sets.split(",") if name)
    base = Asked(args.checkpoint, args.shards, (), sets, args.out, fields)
    curves = tuple(name for name in args.curves.split(",") if name)
    trial = prepare(RobustnessAsked(base, curves, args.seeds), 0.0)
    print(f"{len(trial.questions)} clips in all cells")
    left = fill(trial, args.seconds)
    if left:
        print(f"{left} batches left; call again")
        return
    wanted = {q.key for q in trial.questions}
    scored = [clip_score(row) for row in read_rows(trial.rows).to_pylist() if row["key"] in wanted]
    found = trial.write(trial.summary(sorted(scored, key=lambda c: c.key)))
    picture(found, Path(args.out) / "robustness.png")
    print(table(found))


if __name__ == "__main__":
    main()
