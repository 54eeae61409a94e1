"""Scores of training clips -> what a model takes each label for. No model runs."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.scores.metrics import ClipScore
from pipelines.training.confusions import candidate_chances, make_table

LABELS = ("walk", "wave", "squat")


def clip(key: str, label: str, log_prob: tuple[float, ...], tokens: tuple[int, ...] = (1, 1, 1)) -> ClipScore:
    return ClipScore(key, "a", label, log_prob, tokens, (0.0, 0.0, 0.0), None)


def test_chances_are_as_sharp_as_the_model() -> None:
    one = candidate_chances(clip("1", "walk", (np.log(0.5), np.log(0.3), np.log(0.2))))
    assert one == pytest.approx([0.5, 0.3, 0.2])
    # Twice the tokens at the same mean: no label gains by being short.
    even = candidate_chances(clip("2", "walk", (-2.0, -4.0, -2.0), (1, 2, 1)))
    assert even == pytest.approx([1 / 3] * 3)


def test_a_table_is_the_mean_over_a_labels_clips_without_the_label() -> None:
    scores = [
        clip("1", "walk", (np.log(0.6), np.log(0.3), np.log(0.1))),
        clip("2", "walk", (np.log(0.2), np.log(0.7), np.log(0.1))),
        clip("3", "squat", (np.log(0.1), np.log(0.1), np.log(0.8))),
    ]
    table = make_table(scores, {"a": LABELS, "b": ("sit",)})
    assert list(table["a"]) == ["squat", "walk"]
    assert table["a"]["walk"] == {"wave": pytest.approx(0.5), "squat": pytest.approx(0.1)}
    assert table["a"]["squat"] == {"walk": pytest.approx(0.1), "wave": pytest.approx(0.1)}
    assert table["b"] == {}
