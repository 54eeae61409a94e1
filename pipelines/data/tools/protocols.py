"""Shard sets and published files -> tables of protocols with counts; and a zero-shot split of any set's classes.

Reads metadata only. Rules and files are `skeleton_io.protocols.protocol` and `skeleton_io.protocols.files`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.data.clip_store import ClipStore
from pipelines.runtime.errors import UserError
from skeleton_io.protocols.files import published_protocols
from skeleton_io.protocols.protocol import HASHED, Protocol, assign, find_protocol
from skeleton_io.protocols.zero_shot import zero_shot

Row = Mapping[str, Any]


def published_rows() -> list[dict[str, Any]]:
    """A row per published protocol; train and test count the values that the rule names ("rest": all others)."""
    return [
        {**_row(held.source, rule, None), "train": _values(rule, rule.train), "test": _values(rule, rule.test)}
        for held in published_protocols().values()
        for rule in (*held.protocols, *held.zero_shot)
    ]


def shard_rows(uri: str) -> list[dict[str, Any]]:
    """A row per protocol that applies to a set of these shards; train and test count labelled clips.

    Published zero-shot protocols are listed for a set whose labels hold all that they hide.

    Raises:
        UserError: no finished shard set.
    """
    store = ClipStore(uri)
    rows = labelled_rows(store)
    table = []
    for name in store.sets:
        labels = {row["label"] for row in rows[name]}
        own = store.protocols[name]
        known = [
            rule for held in published_protocols().values() for rule in held.zero_shot if set(rule.unseen) <= labels
        ]
        if name in published_protocols():  # shards may be older than a rule
            known += [rule for rule in published_protocols()[name].protocols if rule not in own]
        for rule in (*own, *known):
            train, test = count_sides(rule, rows[name])
            if rule in known and not (train and test):
                continue
            table.append({**_row(name, rule, labels), "train": train, "test": test})
    return table


def labelled_rows(store: ClipStore) -> dict[str, list[Row]]:
    """Set -> metadata rows of its labelled clips."""
    rows: dict[str, list[Row]] = {name: [] for name in store.sets}
    columns = ["id", "dataset", "label", "subject", "view", "setup", "repetition"]
    for row in store.meta().select(columns).to_pylist():
        if row["label"] is not None:
            rows[row["dataset"]].append(row)
    return rows


def count_sides(protocol: Protocol, rows: Iterable[Row]) -> tuple[int, int]:
    """Training and test clips."""
    sides = Counter(assign(protocol, rows).values())
    return sides["train"], sides["test"]


def draw_protocol(uri: str, name: str, unseen: int, seed: int, within: str) -> tuple[Protocol, str, Sequence[Row]]:
    """A zero-shot protocol for a set of a shard set.

    Args:
        uri: shard set.
        name: set; empty: the only one.
        unseen: number of classes to hide.
        seed: of the draw.
        within: name of the set's rule; empty: its default, or all clips where that is no published one.

    Returns:
        The protocol, the set's name, the rows of its labelled clips.

    Raises:
        UserError: no such set or rule, or too few classes.
    """
    store = ClipStore(uri)
    if not name and len(store.sets) != 1:
        raise UserError(f"say which set with --set; the shards hold {', '.join(store.sets)}")
    name = name or store.sets[0]
    if name not in store.sets:
        raise UserError(f"no set {name!r}; the shards hold {', '.join(store.sets)}")
    rows = labelled_rows(store)[name]
    try:
        base = find_protocol(store.protocols[name], within or None)
        if not within and base.hash == HASHED.hash:
            base = None
        return zero_shot(name, rows, base, unseen, seed), name, rows
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None


def _row(name: str, rule: Protocol, labels: set[str] | None) -> dict[str, Any]:
    classes = set(rule.labels) or labels
    seen = len(classes - set(rule.hidden)) if rule.hidden and classes else ""
    return {
        "set": name,
        "protocol": rule.name,
        "splits by": f"{rule.field} and class" if rule.unseen else rule.field,
        "seen": seen,
        "unseen": len(rule.hidden) or "",
        "hash": rule.hash,
        "source": rule.source,
    }


def _values(rule: Protocol, values: Sequence[str]) -> str:
    return "rest" if values == ("*",) else f"{len(values)} {rule.field}{'s' if len(values) > 1 else ''}"
