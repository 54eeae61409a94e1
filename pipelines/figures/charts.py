"""Charts of the report as inline SVG, frames as data URIs: plain data -> Markup or str. Reads and writes nothing.

Colours come from CSS variables of the page, so one SVG serves light and dark. Charts are drawn 360 units wide: the
page lays them out in columns of about that width, so text keeps its size on a phone.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

WIDTH = 360
POINTS = 240
"""Most points of a drawn line; longer series are averaged into this many."""


@dataclass(frozen=True)
class Line:
    """One series of a line chart; colour is the number of a page colour, 1 to 5."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int


@dataclass(frozen=True)
class Estimate:
    """A share with its interval and what to hold against it, all in [0, 1]."""

    label: str
    value: float
    low: float
    high: float
    chance: float | None
    floor: float | None


def number(value: float, digits: int = 3) -> str:
    """A short number without exponents where it can do without."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    if abs(value) >= 10**5 or abs(value) < 10**-4:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    text = f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round values that cover [low, high]."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    # A hair less: 0.3 / 3 is not quite 0.1.
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def thin(x: Sequence[float], y: Sequence[float], points: int = POINTS) -> tuple[list[float], list[float]]:
    """A series as means of at most `points` consecutive groups; missing (NaN) values are left out."""
    pairs = np.array([(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)])
    if len(pairs) == 0:
        return [], []
    # Means, not every n-th point: a spike must not decide by where it falls.
    groups = [group.mean(0) for group in np.array_split(pairs, min(points, len(pairs)))]
    return [float(g[0]) for g in groups], [float(g[1]) for g in groups]


def smooth(y: Sequence[float], window: int) -> list[float]:
    """Centred moving average over `window` points, fewer at the ends; an exponential one would lag behind."""
    sums = np.concatenate([[0.0], np.cumsum(y)])
    at = np.arange(len(y))
    # Symmetric at the ends too: a one-sided mean would bend the line.
    reach = np.minimum(window // 2, np.minimum(at, len(y) - 1 - at))
    return ((sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1)).tolist()


def svg(height: float, body: str, title: str, width: float = WIDTH, least: float = 0) -> Markup:
    """A chart; `least`: narrowest it may be drawn, units, below that its box scrolls; `title` is read aloud."""
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}" '
        f'style="max-width:{width * 1.25:g}px;min-width:{least:g}px">{body}</svg>'
    )


def path_of(xs: Sequence[float], ys: Sequence[float]) -> str:
    """Points as the `d` of a path."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))


def grid(marks: Sequence[float], top: float, place: float, left: float, right: float) -> str:
    """Horizontal grid lines with numbers; `place` and `top` turn a value v into y = place - v * top."""
    lines = []
    for mark in marks:
        y = place - mark * top
        lines.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick" text-anchor="end" x="{left - 6}" y="{y + 3.5:.1f}">{number(mark)}</text>')
    return "".join(lines)


def line_chart(lines: Sequence[Line], x_label: str, title: str) -> Markup:
    """Lines over a common x axis: the raw series faint, its moving average on top. y starts at 0.

    Returns an empty Markup where no series holds a finite point.
    """
    series = [(line, *thin(line.x, line.y)) for line in lines]
    series = [item for item in series if item[1]]
    if not series:
        return Markup("")
    left, right, top, bottom = 38.0, WIDTH - 8.0, 8.0, 168.0
    x_low, x_high = min(min(x) for _, x, _ in series), max(max(x) for _, x, _ in series)
    y_high = max(max(y) for _, _, y in series) or 1.0
    x_span = (x_high - x_low) or 1.0
    # A little room above, so that the highest point is not cut by the edge.
    scale = (bottom - top) / (y_high * 1.04)

    def place(xs: Sequence[float], ys: Sequence[float]) -> str:
        return path_of([left + (x - x_low) / x_span * (right - left) for x in xs], [bottom - y * scale for y in ys])

    body = [grid(ticks(0, y_high), scale, bottom, left, right)]
    for mark in ticks(x_low, x_high):
        at = left + (mark - x_low) / x_span * (right - left)
        body.append(f'<text class="tick" text-anchor="middle" x="{at:.1f}" y="{bottom + 15}">{number(mark, 5)}</text>')
    body.append(f'<text class="tick" text-anchor="end" x="{right}" y="{bottom + 29}">{escape(x_label)}</text>')
    for line, x, y in series:
        if len(x) > 20:
            body.append(f'<path class="line faint s{line.colour}" d="{place(x, y)}"/>')
            y = smooth(y, max(5, len(y) // 12))
        # A path of one point draws nothing.
        if len(x) == 1:
            body.append(
                f'<circle class="dot f{line.colour}" cx="{left:.1f}" cy="{bottom - y[0] * scale:.1f}" r="2.5"/>'
            )
        body.append(f'<path class="line s{line.colour}" d="{place(x, y)}"><title>{escape(line.name)}</title></path>')
    return svg(200, "".join(body), title)


def interval_chart(rows: Sequence[Estimate], title: str) -> Markup:
    """One line per share: dot with its 95 % interval, a grey tick at chance and a diamond at the floor."""
    if not rows:
        return Markup("")
    left, right, step = 4.0, WIDTH - 4.0, 40.0
    bottom = step * len(rows) + 6

    def at(share: float) -> float:
        return left + min(max(share, 0.0), 1.0) * (right - left)

    body = []
    for mark in (0, 0.25, 0.5, 0.75, 1):
        anchor = "start" if mark == 0 else "end" if mark == 1 else "middle"
        body.append(f'<line class="grid" x1="{at(mark):.1f}" x2="{at(mark):.1f}" y1="4" y2="{bottom}"/>')
        body.append(f'<text class="tick" text-anchor="{anchor}" x="{at(mark):.1f}" y="{bottom + 14}">{mark:.0%}</text>')
    for i, row in enumerate(rows):
        # The label stands above its line: long names keep the chart as wide as a phone.
        base = i * step + 29
        body.append(f'<text class="name halo" x="{left}" y="{base - 13}">{escape(row.label)}</text>')
        value = f"{100 * row.value:.1f} %"
        body.append(f'<text class="name num halo" text-anchor="end" x="{right}" y="{base - 13}">{value}</text>')
        if row.chance is not None:
            x = at(row.chance)
            body.append(f'<line class="chance" x1="{x:.1f}" x2="{x:.1f}" y1="{base - 7}" y2="{base + 7}"/>')
        body.append(f'<line class="span" x1="{at(row.low):.1f}" x2="{at(row.high):.1f}" y1="{base}" y2="{base}"/>')
        if row.floor is not None:
            x = at(row.floor)
            body.append(f'<path class="floor" d="M{x:.1f} {base - 6}l5 6l-5 6l-5 -6z"/>')
        body.append(f'<circle class="dot f1" cx="{at(row.value):.1f}" cy="{base}" r="4.5"/>')
    return svg(bottom + 20, "".join(body), title)


def confusion_chart(labels: Sequence[str], counts: Sequence[Sequence[int]], title: str) -> Markup:
    """Row = truth, column = prediction, in the same order; the shade is the share of the row."""
    n = len(labels)
    cell = max(9.0, min(22.0, 300.0 / max(n, 1)))
    size = min(10.5, cell)
    # System fonts average 0.5 to 0.6 em a character.
    gutter = min(230.0, 0.6 * size * max((len(label) for label in labels), default=0) + 28)
    body = [f'<rect class="plot" x="{gutter:g}" y="16" width="{n * cell:g}" height="{n * cell:g}"/>']
    for i, (label, row) in enumerate(zip(labels, counts, strict=True)):
        y = 16 + i * cell
        short = label if len(label) <= 32 else label[:31] + "…"
        body.append(
            f'<text class="tick" text-anchor="end" style="font-size:{size:.1f}px" x="{gutter - 5:g}" '
            f'y="{y + cell / 2 + size * 0.35:.1f}">{escape(short)} <tspan class="num">{i + 1}</tspan></text>'
        )
        # In a large matrix the numbers would run into each other.
        if n <= 20 or i == 0 or (i + 1) % 5 == 0:
            body.append(
                f'<text class="tick" text-anchor="middle" x="{gutter + (i + 0.5) * cell:.1f}" y="11">{i + 1}</text>'
            )
        total = sum(row)
        for j, count in enumerate(row):
            if count:
                kind = "hit" if i == j else "miss"
                note = escape(f"{label} → {labels[j]}: {count} of {total}")
                shade, side = 0.15 + 0.85 * count / total, cell - 1
                body.append(
                    f'<rect class="{kind}" x="{gutter + j * cell + 0.5:.1f}" y="{y + 0.5:.1f}" width="{side:.1f}" '
                    f'height="{side:.1f}" fill-opacity="{shade:.2f}"><title>{note}</title></rect>'
                )
    return svg(16 + n * cell + 2, "".join(body), title, width=gutter + n * cell + 2, least=440 if n > 20 else 0)


def scatter(x: Sequence[float | str], y: Sequence[float], best: int, log: bool, title: str) -> Markup:
    """Score of each trial over one searched field; the best trial is filled. Text values stand side by side."""
    left, right, top, bottom = 38.0, WIDTH - 14.0, 10.0, 128.0
    if not x:
        return Markup("")
    numeric = [v for v in x if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numeric) == len(x):
        places = [math.log10(v) if log else float(v) for v in numeric]
        edge = [numeric[int(np.argmin(places))], numeric[int(np.argmax(places))]]
        names = [(float(math.log10(v) if log else v), number(v)) for v in dict.fromkeys(edge)]
    else:
        kinds = sorted({str(v) for v in x})
        places = [float(kinds.index(str(v))) for v in x]
        names = [(float(i), kind) for i, kind in enumerate(kinds)]
    low, span = min(places), (max(places) - min(places)) or 1.0
    pad = 14.0

    def at(place: float) -> float:
        return left + pad + (place - low) / span * (right - left - 2 * pad)

    # All trials may have scored 0.
    y_high = max(max(y), 1e-9) * 1.08
    scale = (bottom - top) / y_high
    body = [grid(ticks(0, y_high, 3), scale, bottom, left, right)]
    body += [
        f'<text class="tick" text-anchor="middle" x="{at(p):.1f}" y="{bottom + 15}">{escape(t)}</text>'
        for p, t in names
    ]
    for i, (place, score) in enumerate(zip(places, y, strict=True)):
        kind = "dot f1" if i == best else "ring s1"
        note = escape(f"{x[i] if isinstance(x[i], str) else number(float(x[i]), 4)}: {score:.3f}")
        body.append(
            f'<circle class="{kind}" cx="{at(place):.1f}" cy="{bottom - score * scale:.1f}" r="4.5">'
            f"<title>{note}</title></circle>"
        )
    return svg(148, "".join(body), title)


def filmstrips(frames: NDArray[np.floating], side: int) -> list[str]:
    """(F, 3, H, W) in [0, 1] -> two strips of half the frames each: in one line on a wide page, stacked on a phone."""
    half = (len(frames) + 1) // 2
    return [filmstrip(part, side) for part in (frames[:half], frames[half:]) if len(part)]


def filmstrip(frames: NDArray[np.floating], side: int, quality: int = 80) -> str:
    """(F, 3, H, W) in [0, 1] -> one WebP data URI with the frames side by side, each at most `side` pixels high."""
    # An untrained renderer may draw NaN; the page shows it black.
    pixels = (np.clip(np.nan_to_num(frames), 0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    tiles = [Image.fromarray(frame) for frame in pixels]
    if tiles[0].height > side:
        tiles = [tile.resize((side * tile.width // tile.height, side), Image.Resampling.LANCZOS) for tile in tiles]
    strip = Image.new("RGB", (sum(t.width for t in tiles) + 2 * (len(tiles) - 1), tiles[0].height), (40, 40, 44))
    at = 0
    for tile in tiles:
        strip.paste(tile, (at, 0))
        at += tile.width + 2
    buffer = io.BytesIO()
    strip.save(buffer, "WEBP", quality=quality, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
