"""What a search leaves behind: rows of trials, the best configuration, and no result without a round."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from pipelines.config import loading
from pipelines.runtime.errors import StageFailed
from pipelines.tuning.outcome import BEST_FILE, TRIALS_FILE, choose_best, read_trials, write_outcome

SPACE = {"renderer.bone_radius": {"uniform": [0.01, 0.05]}}
CFG = loading.decode({"tune": {"space": SPACE, "epochs": 2, "validation_clips": 7}}, "test")
OWN = CFG.renderer.bone_radius


def result(radius: float, accuracy: list[float] | None, error: str | None = None) -> Any:
    """As Ray Tune gives one back."""
    frame = None if accuracy is None else pd.DataFrame({"accuracy": accuracy})
    failure = None if error is None else RuntimeError(error)
    return SimpleNamespace(config={"renderer.bone_radius": radius}, metrics_dataframe=frame, error=failure)


RESULTS = [
    result(OWN, [0.2, 0.5]),
    result(0.03, [0.9, float("nan")]),
    result(0.04, None, "Traceback\n  File\nout of memory"),
    result(0.05, [0.1, 0.9]),
]


def test_the_table_and_the_best_configuration(tmp_path: Path) -> None:
    summary = write_outcome(CFG, str(tmp_path), read_trials(RESULTS, 2))
    rows = json.loads((tmp_path / TRIALS_FILE).read_text())
    assert rows[0] == {
        "trial": 1,
        "values": {"renderer.bone_radius": OWN},
        "accuracy": [0.2, 0.5],
        "stopped": False,
        "error": None,
    }
    assert [row["stopped"] for row in rows] == [False, True, False, False]
    assert rows[2]["error"] == "out of memory"
    # A tie goes to the earlier trial.
    assert summary["best"] == {"renderer.bone_radius": 0.03}
    best = loading.load_config(str(tmp_path / BEST_FILE))
    assert best == loading.with_values(CFG, {"renderer.bone_radius": 0.03}, "test")
    numbers = ("trials", "finished", "stopped_early", "failed", "validation_clips", "best_accuracy", "accuracy_before")
    assert [summary[name] for name in numbers] == [4, 3, 1, 1, 7, 0.9, 0.5]


def test_a_search_that_starts_elsewhere_compares_with_nothing(tmp_path: Path) -> None:
    assert write_outcome(CFG, str(tmp_path), read_trials(RESULTS[1:], 2))["accuracy_before"] is None


def test_no_round_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="no trial finished a round; the first says: out of memory"):
        write_outcome(CFG, str(tmp_path), read_trials(RESULTS[2:3], 2))
    assert len(json.loads((tmp_path / TRIALS_FILE).read_text())) == 1
    with pytest.raises(StageFailed, match="nothing"):
        choose_best([])
