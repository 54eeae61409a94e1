"""`skel inspect`: what `summary` found -> tables on the terminal, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.data.clip_store import ClipStore
from pipelines.data.tools.summary import Row, clip_facts, describe, draw, find_clip

_SHOWN_QUARANTINE = 20
_SHOWN_GROUPS = 80

_PIPE_WIDTH = 140


def _console() -> Console:
    """As wide as the terminal; in a file or a pipe wide enough for the tables."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def show(uri: str, as_json: bool) -> None:
    """Prints `describe(uri)`, as tables or as JSON.

    Raises:
        UserError: there is no finished shard set.
    """
    found = describe(uri)
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    console = _console()
    console.print(f"{escape(uri)}  (digest {found['digest']})", highlight=False)
    console.print(_counts_table(found["sets"]))
    console.print(_motion_table(found["sets"]))
    console.print(_protocols_table(found["protocols"]))
    for name, facts in found["sets"].items():
        console.print(_clips_table(name, facts))
    console.print(_quality_table(found["sets"], found["flag_above"]))
    if any(facts["flagged_clips"] for facts in found["sets"].values()):
        console.print(_worst_table(found["sets"]))
    bad = found["quarantine"]
    if bad:
        console.print(_quarantine_table(bad[:_SHOWN_QUARANTINE], len(bad)))


def _table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _counts_table(sets: dict[str, Any]) -> Table:
    counts = ["clips_in", "clips_out", "quarantined", "labelled", "classes", "subjects"]
    table = _table("sets", ["set"], ["in", "out", "quarantined", "labelled", "classes", "subjects"])
    for name, s in sets.items():
        table.add_row(escape(name), *(str(s[key]) for key in counts))
    return table


def _motion_table(sets: dict[str, Any]) -> Table:
    table = _table("motion", ["set", "topology", "scale"], ["persons", "frames", "fps", "minutes", "missing"])
    for name, s in sets.items():
        missing = s["quality"].get("missing_share", 0.0)
        fps = _rates(s["fps"])
        texts = [name, f"{s['topology']} {s['dimensions']}D", s["scale"]]
        numbers = [str(s["persons"]), str(s["frames"]), fps, f"{s['seconds'] / 60:.1f}", f"{missing:.1%}"]
        table.add_row(*map(escape, texts), *numbers)
    return table


def _rates(rates: list[float]) -> str:
    """Frames per second of a set; what time stamps make of one rate (29.999, 30.001) is one."""
    near = sorted({round(rate, 1) for rate in rates})
    return ", ".join(f"{rate:g}" for rate in near[:3]) + (", ..." if len(near) > 3 else "")


def _clips_table(name: str, facts: dict[str, Any]) -> Table:
    """Clips per class, subject, topology and number of persons, and the lengths, of one set."""
    table = _table(f"clips of {escape(name)}", ["by", "clips"], [])
    table.add_row("class", _counted(facts["labels"]))
    table.add_row("subject", _counted(facts["clips_of_subject"]))
    table.add_row("topology", _counted(facts["clips_of_topology"]))
    table.add_row("persons", _counted(facts["clips_of_persons"]))
    names = ("least", "a quarter below", "half below", "three quarters below", "most")
    lengths = zip(names, facts["length_quantiles"], strict=False)
    table.add_row("frames", ", ".join(f"{what} {frames}" for what, frames in lengths))
    return table


def _counted(counts: dict[str, int]) -> str:
    """The largest of a group come first where not all can be shown."""
    if not counts:
        return "none"
    items = list(counts.items())
    if len(items) > _SHOWN_GROUPS:
        items = sorted(items, key=lambda item: -item[1])[:_SHOWN_GROUPS]
    more = f", and {len(counts) - len(items)} more" if len(counts) > len(items) else ""
    return escape(", ".join(f"{key} {clips}" for key, clips in items) + more)


def _quality_table(sets: dict[str, Any], limits: dict[str, float]) -> Table:
    """Mean of each measure and, in brackets, how many clips are above its limit."""
    table = _table("quality: mean (clips above the limit)", ["set"], [])
    for measure, limit in limits.items():
        table.add_column(f"{measure.replace('_', ' ')} > {limit:g}", justify="right")
    for name, s in sets.items():
        cells = [
            f"{s['quality'][measure]:.3f} ({s['flagged'][measure]})" if measure in s["quality"] else ""
            for measure in limits
        ]
        table.add_row(escape(name), *cells)
    return table


def _worst_table(sets: dict[str, Any]) -> Table:
    """The worst clip of each measure that flags any."""
    table = _table("worst clips", ["set", "measure", "clip"], ["value", "flagged"])
    for name, s in sets.items():
        for measure, count in s["flagged"].items():
            worst, clip = s["quality_worst"][measure]
            if count:
                table.add_row(*map(escape, (name, measure, clip)), f"{worst:.3f}", str(count))
    return table


def _protocols_table(protocols: dict[str, Any]) -> Table:
    table = _table("protocols (the first of a set is its default)", ["set", "protocol", "by"], ["train", "test"])
    for name, rules in protocols.items():
        for rule in rules:
            table.add_row(*map(escape, (name, rule["name"], rule["field"])), str(rule["train"]), str(rule["test"]))
    return table


def _quarantine_table(items: Sequence[Row], total: int) -> Table:
    title = f"quarantine: {total}" + (f", the first {len(items)}" if total > len(items) else "")
    table = _table(title, ["set", "file", "place", "reason"], [])
    for item in items:
        table.add_row(*(escape(item[key]) for key in ("dataset", "path", "place", "reason")))
    return table


def show_clip(uri: str, clip: str, out: str, as_json: bool) -> None:
    """Prints one clip's record and draws it where `out` names a .gif or .png.

    Raises:
        UserError: no finished shard set, no such clip, or another suffix.
    """
    found = find_clip(ClipStore(uri), clip)
    if out:
        draw(found, out)
    facts = clip_facts(found)
    if as_json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    table = _table(escape(facts["key"]), ["field", "value"], [])
    for name, value in facts.items():
        plain = value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
        table.add_row(name, escape(str(plain)))
    console = _console()
    console.print(table)
    if out:
        console.print(f"drawn: {escape(out)}", highlight=False)
