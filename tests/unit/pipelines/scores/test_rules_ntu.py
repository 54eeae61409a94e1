"""NTU-120 labels that stand inside of others ("throw"): ours tells them apart, the official substring rule does not."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.scores import rules
from pipelines.scores.metrics import ClipScore, Scoreboard
from skeleton_io.sources.depth.ntu_labels import NTU_LABELS

KIN = [(a, b) for a in NTU_LABELS for b in NTU_LABELS if a != b and a in b]
"""(label, longer label that contains it)."""


def test_throw_and_its_kin_are_found():
    assert KIN == [("throw", "throw up cap or hat"), ("kicking", "kicking something")]


@pytest.mark.parametrize(("label", "longer"), KIN)
def test_an_answer_that_names_the_longer_label_is_no_answer_for_the_shorter(label, longer):
    """The clip shows `label`, the model says `longer`: wrong. The official rule counts it as right."""
    assert rules.substring_match(longer, label)
    assert rules.exact_match(longer, NTU_LABELS) == NTU_LABELS.index(longer)
    assert rules.nearest_match(longer, NTU_LABELS) == NTU_LABELS.index(longer)
    # The other way round both are right.
    assert rules.exact_match(label, NTU_LABELS) == NTU_LABELS.index(label)
    assert rules.substring_match(label, label)


@pytest.mark.parametrize("label", NTU_LABELS)
def test_every_label_names_itself(label):
    assert rules.exact_match(f"{label.capitalize()}.", NTU_LABELS) == NTU_LABELS.index(label)
    assert rules.exact_match(f"The arm moves.\nLabel: {label}", NTU_LABELS) == NTU_LABELS.index(label)


@pytest.mark.parametrize(("label", "longer"), KIN)
def test_closed_set_likelihood_has_no_such_trouble(label, longer):
    """The whole answer counts with its end of turn: the shorter label wins only where the model would stop there."""
    names = (label, longer)
    says_longer = ClipScore("ntu/1", "ntu", label, (-6.0, -1.0), (2, 4), (0.0, 0.0), longer)
    says_label = ClipScore("ntu/2", "ntu", label, (-1.0, -6.0), (2, 4), (0.0, 0.0), label)
    found = Scoreboard({"ntu": names}, 50, 0).summary([says_longer, says_label])
    assert found["accuracy"]["value"] == 0.5
    assert found["generated"]["exact"]["value"] == 0.5
    assert found["generated"]["substring"]["value"] == 1.0
    assert np.isfinite(found["calibration"]["nll"])
