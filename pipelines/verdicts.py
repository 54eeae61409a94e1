"""Answers of the ledger -> rows of answers.parquet: every verdict on every rationale, and whether it is accepted.

Grounding against the motion is `pipelines.grounding`; this module collects verdicts and applies `rationales.accept`.
"""

from __future__ import annotations

from typing import Any

from pipelines.config import FullConfig
from pipelines.datasource import ClipStore
from pipelines.ledger import Line
from pipelines.teachers.kinematic import leaks
from pipelines.teachers.structured import parse


def judged(cfg: FullConfig, store: ClipStore, lines: list[Line]) -> list[dict[str, Any]]:
    """One row per answered explanation.

    Args:
        cfg: `rationales.accept` is applied.
        store: the clips.
        lines: of the ledger, explanations and blind answers.
    """
    rows = []
    for line in lines:
        if line["status"] != "answered" or line["purpose"] != "explain":
            continue
        rationale = parse(line["raw"])
        body = "\n".join(rationale.text.splitlines()[:-1])
        verdicts = {
            "label_equal": rationale.label.strip().lower() == line["label"].strip().lower(),
            "no_leakage": not leaks(body, line["label"]),
        }
        rejected = [name for name, fine in verdicts.items() if not fine and getattr(cfg.rationales.accept, name)]
        rows.append(
            {
                "key": line["key"],
                "clip": line["clip"],
                "dataset": line["dataset"],
                "label": line["label"],
                "summary": rationale.summary,
                "steps": [vars(step) for step in rationale.steps],
                "evidence": rationale.evidence,
                "text": rationale.text,
                "model": line["model"],
                **verdicts,
                "accepted": not rejected,
                "rejected_for": rejected,
            }
        )
    return rows
