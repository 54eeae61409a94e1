"""Metadata rows of a set + number and seed -> a zero-shot protocol: some classes train, the others only test.

Classes are drawn in strata of their clip counts, so that frequent and rare ones are on both sides. The draw depends on
labels, counts and seed only, not on the order of the rows or the machine. Reads no files.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from skeleton_io.protocols.protocol import Protocol, assign


def zero_shot(
    dataset: str, rows: Iterable[Mapping[str, Any]], base: Protocol | None, unseen: int, seed: int
) -> Protocol:
    """Hides `unseen` classes of a set.

    Args:
        dataset: name of the set, for the protocol's name.
        rows: metadata of the set's labelled clips.
        base: who trains and who tests; None: all clips of a seen class train, all of an unseen one test.
        unseen: number of classes to hide, at least 1; two or more stay seen.
        seed: another one draws other classes.

    Returns:
        A protocol whose hidden classes have test clips and whose seen ones have training clips.

    Raises:
        ValueError: too few classes, or a base that hides classes itself.
    """
    if base is not None and base.hidden:
        raise ValueError(f"protocol {base.name} hides classes already")
    rows = list(rows)
    sides = None if base is None else assign(base, rows)
    train, test = Counter[str](), Counter[str]()
    for row in rows:
        side = None if sides is None else sides[f"{row['dataset']}/{row['id']}"]
        if sides is None or side == "train":
            train[row["label"]] += 1
        if sides is None or side == "test":
            test[row["label"]] += 1
    usable = sorted(set(train) & set(test))
    if unseen < 1 or len(usable) - unseen < 2:
        raise ValueError(f"{unseen} of {len(usable)} classes unseen: at least 1 must be, and 2 must stay seen")
    hidden = tuple(sorted(_strata(usable, train + test, unseen, seed)))
    name = f"{dataset}-{len(usable) - unseen}-{unseen}-seed{seed}"
    source = f"skel protocol --unseen {unseen} --seed {seed}, classes drawn in strata of their clip counts"
    if base is None:
        seen = tuple(label for label in usable if label not in hidden)
        return Protocol(name=name, field="label", train=seen, test=hidden, source=source)
    source += f", within {base.name}"
    labels = tuple(usable) if base.labels or set(train) ^ set(test) else ()
    return replace(base, name=name, labels=labels, unseen=hidden, source=source)


def _strata(labels: list[str], clips: Mapping[str, int], count: int, seed: int) -> list[str]:
    """One label from each of `count` blocks of the labels ordered by clip count, the blocks as even as they can be.

    In each block the smallest hash of seed and label is taken, so classes of the same count are drawn by chance.
    """

    def chance(label: str) -> str:
        return hashlib.sha256(f"{seed}:{label}".encode()).hexdigest()

    ordered = sorted(labels, key=lambda label: (clips[label], chance(label)))
    edges = [round(block * len(ordered) / count) for block in range(count + 1)]
    blocks = [ordered[edges[block] : edges[block + 1]] for block in range(count)]
    return [min(block, key=lambda label: chance(f"drawn:{label}")) for block in blocks]
