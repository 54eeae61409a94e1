"""Charts of scores as inline SVG: reliability diagram, shares with bands, matrices, intervals in a cell of a table.

Plain data -> Markup, in the manner of `charts`: colours are the page's CSS variables, 360 units wide. Reads and writes
nothing and computes no score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from pipelines.figures.charts import WIDTH, grid, number, path_of, svg, ticks

_LEFT, _RIGHT = 38.0, WIDTH - 8.0


@dataclass(frozen=True)
class Curve:
    """Shares in [0, 1] over x; low and high bound the interval of each point, where there is one."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def reliability_chart(bins: Sequence[Mapping[str, Any]], title: str) -> Markup:
    """Accuracy over stated probability, one bar per bin, the diagonal where both agree, and below how many clips.

    Args:
        bins: low, high, n, confidence and accuracy of each; the last two null where it is empty.
        title: read aloud.
    """
    filled = [b for b in bins if b["n"]]
    if not filled:
        return Markup("")
    # Two plots, one above the other: accuracy, and how many clips stand behind each bar.
    top, bottom, foot = 8.0, 208.0, 262.0
    scale, most = bottom - top, max(b["n"] for b in filled)

    def at(share: float) -> float:
        return _LEFT + share * (_RIGHT - _LEFT)

    body = [grid((0, 0.25, 0.5, 0.75, 1), scale, bottom, _LEFT, _RIGHT)]
    body.append(f'<path class="even" d="{path_of((at(0), at(1)), (bottom, top))}"/>')
    for b in filled:
        x, width = at(b["low"]) + 1, at(b["high"]) - at(b["low"]) - 2
        y, stated = bottom - b["accuracy"] * scale, bottom - b["confidence"] * scale
        note = f"{b['n']} clips: says {100 * b['confidence']:.0f} %, right {100 * b['accuracy']:.0f} %"
        body.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(bottom - y, 0.5):.1f}">'
            f"<title>{note}</title></rect>"
        )
        body.append(f'<line class="told" x1="{x:.1f}" x2="{x + width:.1f}" y1="{stated:.1f}" y2="{stated:.1f}"/>')
        tall = 30 * b["n"] / most
        body.append(
            f'<rect class="count" x="{x:.1f}" y="{foot - tall:.1f}" width="{width:.1f}" height="{max(tall, 0.6):.1f}">'
            f"<title>{note}</title></rect>"
        )
    for mark in (0, 0.25, 0.5, 0.75, 1):
        body.append(f'<text class="tick" text-anchor="middle" x="{at(mark):.1f}" y="{bottom + 14}">{mark:g}</text>')
    body.append(f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{foot - 22}">{number(most, 6)}</text>')
    body.append(f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{foot}" y2="{foot}"/>')
    body.append(f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{foot}">clips</text>')
    return svg(foot + 6, "".join(body), title)


def share_chart(curves: Sequence[Curve], x_label: str, title: str, chance: float | None = None) -> Markup:
    """Curves of shares with their intervals as bands; y is 0 to 1, chance a dashed line.

    x is drawn without its sign: what falls from the left to the right is given as negative numbers.
    """
    filled = [curve for curve in curves if len(curve.x)]
    if not filled:
        return Markup("")
    top, bottom = 8.0, 168.0
    low, high = min(min(c.x) for c in filled), max(max(c.x) for c in filled)
    span, scale = (high - low) or 1.0, bottom - top

    def across(values: Sequence[float]) -> list[float]:
        return [_LEFT + (v - low) / span * (_RIGHT - _LEFT - 6) + 3 for v in values]

    def up(values: Sequence[float]) -> list[float]:
        return [bottom - v * scale for v in values]

    body = [grid((0, 0.25, 0.5, 0.75, 1), scale, bottom, _LEFT, _RIGHT)]
    if chance is not None:
        body.append(f'<path class="even" d="{path_of((_LEFT, _RIGHT), up((chance, chance)))}"/>')
    for mark in ticks(low, high):
        body.append(
            f'<text class="tick" text-anchor="middle" x="{across([mark])[0]:.1f}" y="{bottom + 15}">'
            f"{number(abs(mark), 4)}</text>"
        )
    body.append(f'<text class="tick" text-anchor="end" x="{_RIGHT}" y="{bottom + 29}">{escape(x_label)}</text>')
    for curve in filled:
        xs = across(curve.x)
        if len(curve.low) == len(curve.high) == len(xs):
            # Along the upper ends and back along the lower ones.
            outline = path_of([*xs, *reversed(xs)], [*up(curve.high), *reversed(up(curve.low))])
            body.append(f'<path class="band f{curve.colour}" d="{outline}Z"/>')
        body.append(f'<path class="line s{curve.colour}" d="{path_of(xs, up(curve.y))}"/>')
        for x, y, place, share in zip(xs, up(curve.y), curve.x, curve.y, strict=True):
            note = escape(f"{curve.name}: {number(abs(place), 4)}, {100 * share:.1f} %")
            body.append(
                f'<circle class="f{curve.colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{note}</title></circle>'
            )
    return svg(200, "".join(body), title)


def matrix_chart(
    rows: Sequence[str], columns: Sequence[str], values: Mapping[tuple[str, str], float], title: str
) -> Markup:
    """Shares as a table of shades with their percent; (row, column) pairs without a value stay empty."""
    if not values:
        return Markup("")
    # System fonts average about 6.4 units a character at this size.
    gutter = 16 + 6.4 * max(len(name) for name in rows)
    wide, tall = 62.0, 30.0
    slant = 22 + 4.6 * max(len(name) for name in columns)  # column names at 45 degrees
    body = []
    for j, name in enumerate(columns):
        x, y = gutter + (j + 0.5) * wide, slant - 6
        body.append(f'<text class="tick" transform="translate({x:.1f} {y:.1f}) rotate(-40)">{escape(name)}</text>')
    for i, row in enumerate(rows):
        y = slant + i * tall
        body.append(f'<text class="tick" text-anchor="end" x="{gutter - 8:.1f}" y="{y + 19:.1f}">{escape(row)}</text>')
        for j, column in enumerate(columns):
            x = gutter + j * wide
            share = values.get((row, column))
            if share is None:
                body.append(f'<rect class="none" x="{x:.1f}" y="{y:.1f}" width="{wide - 2}" height="{tall - 2}"/>')
                continue
            note = escape(f"{row} → {column}: {100 * share:.1f} %")
            body.append(
                f'<rect class="hit" x="{x:.1f}" y="{y:.1f}" width="{wide - 2}" height="{tall - 2}" '
                f'fill-opacity="{0.08 + 0.6 * share:.2f}"><title>{note}</title></rect>'
                f'<text class="cell" text-anchor="middle" x="{x + wide / 2 - 1:.1f}" y="{y + 18.5:.1f}">'
                f"{100 * share:.0f}</text>"
            )
    width = gutter + len(columns) * wide + slant * 0.8
    return svg(slant + len(rows) * tall, "".join(body), title, width=width, least=min(width, 520))


def interval_mark(value: float, low: float | None, high: float | None, chance: float | None, main: bool) -> Markup:
    """A share with its interval for a cell of a table, 0 to 1 over 130 units; a grey tick at chance."""
    wide = 130.0
    body = [f'<line class="grid" x1="0" x2="{wide}" y1="8" y2="8"/>']
    if chance is not None:
        body.append(f'<line class="chance" x1="{chance * wide:.1f}" x2="{chance * wide:.1f}" y1="3" y2="13"/>')
    kind = "f1" if main else "fs"
    if low is not None and high is not None:
        body.append(
            f'<line class="span{"" if main else " other"}" x1="{low * wide:.1f}" x2="{high * wide:.1f}" y1="8" y2="8"/>'
        )
    body.append(f'<circle class="{kind}" cx="{value * wide:.1f}" cy="8" r="4"/>')
    return Markup(
        f'<svg class="mark" viewBox="-5 0 {wide + 10:g} 16" role="img" aria-label="{100 * value:.1f} %">'
        f"{''.join(body)}</svg>"
    )
