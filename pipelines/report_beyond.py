"""Transfer, robustness, captions and questions -> the sections beyond the label. Lays out, computes no score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipelines import figures_scores

_FEW = 3
"""Pairs up to which the table alone is clearer than a matrix."""


def transfer_chart(pairs: Sequence[Mapping[str, Any]]) -> Markup:
    """Accuracy of every pair as a matrix, row = trained on; empty for a few pairs."""
    if len(pairs) <= _FEW:
        return Markup("")
    values = {(pair["train"], pair["test"]): pair["accuracy"]["value"] for pair in pairs}
    rows, columns = sorted({train for train, _ in values}), sorted({test for _, test in values})
    return figures_scores.matrix_chart(rows, columns, values, "Accuracy by training set and test set")
