"""Curves of a finished `skel robustness` -> a Markdown table on the terminal and a picture. Scores nothing.

skel robustness --model RUN --shards URI --out DIR --clips 40 --seeds 2
python benchmarks/robustness.py DIR/robustness.json --picture docs/images/robustness.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont


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
    parser.add_argument("found", type=Path, help="robustness.json")
    parser.add_argument("--picture", type=Path, required=True)
    args = parser.parse_args()
    found = json.loads(args.found.read_text())
    picture(found, args.picture)
    print(table(found))


if __name__ == "__main__":
    main()
