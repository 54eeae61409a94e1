"""Rows of answers.parquet -> review.html: accepted and rejected rationales beside the frames that the teacher saw.

A page to read before training on what a teacher wrote: counts per rule, then examples, chosen by the hash of the clip's
key and not by how good they look. Self-contained: no scripts, nothing from elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.config.tree import FullConfig
from pipelines.figures.charts import filmstrip
from pipelines.figures.pages import render_page
from pipelines.rationales.frames import FrameActor, frames_config
from pipelines.rationales.verdicts import AnswerRow
from skeleton_io import storage

ACCEPTED_PER_SET, REJECTED_PER_RULE, LETTERS = 2, 3, 6
FRAME_SIDE = 96
RULES = {
    "label_equal": "ends in another label",
    "no_leakage": "names the label before the last line, or says that it was given",
    "min_grounding": "too few of its claims are borne out by the motion",
    "min_score": "its worst claims fall too short",
    "max_contradicted": "the motion contradicts it",
    "min_words": "too short",
    "max_words": "too long",
    "max_similarity": "says nearly the same as another clip's",
    "blind_equal": "the blind pass names another label",
    "min_consistency": "the blind answers do not agree",
}
"""Rules of `rationales.accept` -> what breaking one means."""


@dataclass(frozen=True)
class ExampleGroup:
    """Examples under one heading of the page."""

    title: str
    rows: list[dict[str, Any]]


def write(
    cfg: FullConfig, shards_uri: str, out: str, rows: Sequence[AnswerRow], letters: Sequence[Mapping[str, Any]]
) -> None:
    """Writes review.html.

    Args:
        cfg: how the teacher's frames are drawn.
        shards_uri: the clips.
        out: folder of the stage.
        rows: of answers.parquet.
        letters: of dead_letters.parquet.
    """
    groups = group_examples(rows)
    drawer = FrameActor(shards_uri, cfg.rationales, frames_config(cfg))
    for group in groups:
        for row in group.rows:
            # Drawn anew: the pictures that the teacher got are not kept.
            frames = drawer.draw(row["clip"]).astype(np.float32).transpose(0, 3, 1, 2) / 255
            row["strip"] = filmstrip(frames, FRAME_SIDE)
    broken = [rule for row in rows for rule in row["rejected_for"]]
    page = {
        "teacher": cfg.rationales.teacher,
        "answered": len(rows),
        "accepted": sum(row["accepted"] for row in rows),
        "failed": len(letters),
        "rules": [(RULES[rule], rule, broken.count(rule)) for rule in RULES if rule in broken],
        "groups": groups,
        "letters": sample_rows(letters, LETTERS),
    }
    storage.write_atomic(storage.join(out, "review.html"), render_page("review.html.j2", page))


def group_examples(rows: Sequence[AnswerRow]) -> list[ExampleGroup]:
    """By rule the rejected ones, then by set the accepted ones. Copies of the rows."""
    groups = []
    for rule, meaning in RULES.items():
        # A rationale that breaks several rules is shown under the first.
        examples = sample_rows([row for row in rows if row["rejected_for"][:1] == [rule]], REJECTED_PER_RULE)
        if examples:
            groups.append(ExampleGroup(f"Rejected: {meaning}", examples))
    for name in sorted({row["dataset"] for row in rows}):
        mine = [row for row in rows if row["accepted"] and row["dataset"] == name]
        if examples := sample_rows(mine, ACCEPTED_PER_SET):
            groups.append(ExampleGroup(f"Accepted: {name}", examples))
    return groups


def sample_rows(rows: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, Any]]:
    """Copies of at most so many rows, by the hash of the clip's key."""
    # Not the first by name: those are of one person or one recording.
    ordered = sorted(rows, key=lambda row: hashlib.sha256(row["clip"].encode()).hexdigest())
    return [dict(row) for row in ordered[:most]]
