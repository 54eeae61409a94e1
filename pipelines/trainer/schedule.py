"""Learning rate as a function of the step: linear warm-up, then half a cosine. No state, so a resume is exact."""

from __future__ import annotations

import math


def rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """What the peak rate is multiplied by.

    Rises over the first round(warmup_share * steps) steps, reaches 1 on the last of them, then falls to 0 as half a
    cosine that would end one step after the last (arXiv 1608.03983 without restarts).

    Args:
        step: counted from 0.
        steps: of the whole stage.
        warmup_share: in [0, 1).

    Returns:
        In (0, 1].

    Raises:
        ValueError: step outside [0, steps).
    """
    if not 0 <= step < steps:
        raise ValueError(f"schedule: expected a step in [0, {steps}), found {step}")
    warmup = round(warmup_share * steps)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
