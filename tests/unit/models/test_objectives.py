"""The objective against torch's own cross entropy."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from models.mllm.base import LMOutput
from models.objectives import lm_objective, task_weights

ROWS = torch.tensor([0, 0, 0, 1, 2, 2])
TARGETS = torch.tensor([1, 4, 0, 2, 2, 3])


@pytest.fixture
def output() -> LMOutput:
    """Three rows with 3, 1 and 2 answer tokens over a vocabulary of 5."""
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = functional.cross_entropy(logits, TARGETS, reduction="none")
    counts = torch.bincount(ROWS)
    example = torch.zeros(3).index_add(0, ROWS, loss) / counts
    return LMOutput(loss.mean(), example, counts, loss, ROWS, logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_smoothing_equals_torch(output, smoothing):
    expected = functional.cross_entropy(output.logits, TARGETS, label_smoothing=smoothing)
    ours = lm_objective(output, smoothing)
    torch.testing.assert_close(ours, expected)
    (ours_grad,) = torch.autograd.grad(ours, output.logits, retain_graph=True)
    (grad,) = torch.autograd.grad(expected, output.logits)
    torch.testing.assert_close(ours_grad, grad)


def test_row_weights(output):
    weights = task_weights(["mqa", "rationale", "mqa"], {"mqa": 1.0, "rationale": 3.0})
    by_token = lm_objective(output, row_weights=weights)
    by_hand = (output.token_loss * torch.tensor([1.0, 1, 1, 3, 1, 1])).sum() / 8
    torch.testing.assert_close(by_token, by_hand)
    by_example = lm_objective(output, row_weights=weights, reduction="example")
    torch.testing.assert_close(by_example, (output.example_loss * weights).sum() / 5)


def test_example_reduction_weighs_rows_evenly(output):
    torch.testing.assert_close(lm_objective(output, reduction="example"), output.example_loss.mean())
    assert lm_objective(output, reduction="example") != lm_objective(output)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_out_of_range_is_refused(output, smoothing):
    with pytest.raises(ValueError, match="label_smoothing"):
        lm_objective(output, smoothing)


def test_unknown_task_is_refused():
    with pytest.raises(KeyError):
        task_weights(["caption"], {"mqa": 1.0})
