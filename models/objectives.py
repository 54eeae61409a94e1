"""Training objective: LMOutput of a batch with mixed tasks -> one scalar.

All tasks (multiple choice, yes/no, rationale, caption) share the language-modelling loss of their answers; what
differs is their weight. Does not run the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from models.mllm.base import LMOutput


def smoothed_token_loss(out: LMOutput, label_smoothing: float) -> Tensor:
    """(N,) loss against a target that gives `label_smoothing` to the uniform distribution (arXiv 1512.00567)."""
    if label_smoothing == 0:
        return out.token_loss
    logits = out.logits.float()
    uniform = logits.logsumexp(-1) - logits.mean(-1)
    return (1 - label_smoothing) * out.token_loss + label_smoothing * uniform


def task_weights(tasks: Sequence[str], weights: Mapping[str, float]) -> Tensor:
    """(B,) weight of each row from its task's name. Raises KeyError for a task without a weight."""
    return torch.tensor([weights[task] for task in tasks], dtype=torch.float32)


def lm_objective(
    out: LMOutput,
    label_smoothing: float = 0.0,
    row_weights: Tensor | None = None,
    reduction: Literal["token", "example"] = "token",
) -> Tensor:
    """Weighted mean loss of a batch, float32 scalar.

    row_weights (B,), default 1. reduction token: mean over answer tokens, so that long rationales weigh more;
    example: mean over rows of their own token means, which does not change with how a batch is cut into equal parts.

    Raises:
        ValueError: label_smoothing outside [0, 1).
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing: expected a number in [0, 1), found {label_smoothing}")
    token_loss = smoothed_token_loss(out, label_smoothing)
    rows = token_loss.new_ones(len(out.token_counts)) if row_weights is None else row_weights.to(token_loss)
    weights = rows[out.token_row]
    if reduction == "example":
        weights = weights / out.token_counts[out.token_row]
        return (weights * token_loss).sum() / rows.sum()
    return (weights * token_loss).sum() / weights.sum()
