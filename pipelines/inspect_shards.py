"""`skel inspect URI`: a shard set's metadata -> tables on the terminal, or JSON. Reads no positions, starts no Ray."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.datasource import ClipStore
from skeleton_io.splits import Protocol, assign

_COLUMNS = ["id", "dataset", "topology", "fps", "scale", "T", "P", "J", "C", "label", "captions"]
_COLUMNS += ["subject", "view", "setup", "repetition", "quality"]
_SHOWN_QUARANTINE = 20

Row = dict[str, Any]


def describe(uri: str) -> dict[str, Any]:
    """What a shard set holds, as plain data.

    Returns:
        {"uri", "digest", "sets": {name: {clips_in, clips_out, quarantined, labelled, classes, labels {label: clips},
        subjects, views, frames, seconds, frames_per_clip [least, median, most], persons, topology, joints, dimensions,
        fps, scale, captions, quality {measure: mean}}}, "protocols": {name: [{name, field, train, test, left_out, hash,
        source}]}, "quarantine": [{dataset, path, place, reason, sha256}]}. Counts of protocols are of labelled clips.

    Raises:
        UserError: there is no finished shard set.
    """
    store = ClipStore(uri)
    rows: dict[str, list[Row]] = {name: [] for name in store.sets}
    for row in store.meta().select(_COLUMNS).to_pylist():
        rows[row["dataset"]].append(row)
    return {
        "uri": uri,
        "digest": store.digest,
        "sets": {name: store.shards.index["sets"][name] | _set(rows[name]) for name in store.sets},
        "protocols": {name: [_protocol(p, rows[name]) for p in store.protocols[name]] for name in store.sets},
        "quarantine": [asdict(item) for item in store.shards.quarantine()],
    }


def _set(rows: Sequence[Row]) -> dict[str, Any]:
    """Statistics of one set; everything is 0 or empty where all its clips are in quarantine."""
    labels = Counter(row["label"] for row in rows if row["label"] is not None)
    lengths = sorted(row["T"] for row in rows)
    measures: dict[str, list[float]] = {}
    for row in rows:
        for item in row["quality"]:
            measures.setdefault(item["name"], []).append(item["value"])
    return {
        "labelled": labels.total(),
        "classes": len(labels),
        "labels": dict(sorted(labels.items())),
        "subjects": _count(row["subject"] for row in rows),
        "views": _count(row["view"] for row in rows),
        "frames": sum(lengths),
        "seconds": round(sum(row["T"] / row["fps"] for row in rows), 1),
        "frames_per_clip": [lengths[0], lengths[len(lengths) // 2], lengths[-1]] if lengths else [],
        "persons": max((row["P"] for row in rows), default=0),
        "topology": _names(row["topology"] for row in rows),
        "joints": max((row["J"] for row in rows), default=0),
        "dimensions": max((row["C"] for row in rows), default=0),
        "fps": sorted({round(row["fps"], 3) for row in rows}),
        "scale": _names(row["scale"] for row in rows),
        "captions": sum(len(row["captions"]) for row in rows),
        "quality": {name: round(sum(found) / len(found), 5) for name, found in sorted(measures.items())},
    }


def _count(values: Iterable[str | None]) -> int:
    return len({value for value in values if value is not None})


def _names(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _protocol(protocol: Protocol, rows: Sequence[Row]) -> dict[str, Any]:
    labelled = [row for row in rows if row["label"] is not None]
    sides = Counter(assign(protocol, labelled).values())
    return {
        "name": protocol.name,
        "field": protocol.field,
        "train": sides["train"],
        "test": sides["test"],
        "left_out": sides[None],
        "hash": protocol.hash,
        "source": protocol.source,
    }


def show(uri: str, as_json: bool) -> None:
    """Prints `describe(uri)`, as tables or as JSON.

    Raises:
        UserError: there is no finished shard set.
    """
    found = describe(uri)
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    console = Console()
    console.print(f"{escape(uri)}  (digest {found['digest']})", highlight=False)
    console.print(_counts_table(found["sets"]))
    console.print(_motion_table(found["sets"]))
    console.print(_protocols_table(found["protocols"]))
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
        fps = ", ".join(f"{rate:g}" for rate in s["fps"][:3]) + (", ..." if len(s["fps"]) > 3 else "")
        texts = [name, f"{s['topology']} {s['dimensions']}D", s["scale"]]
        numbers = [str(s["persons"]), str(s["frames"]), fps, f"{s['seconds'] / 60:.1f}", f"{missing:.1%}"]
        table.add_row(*map(escape, texts), *numbers)
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
