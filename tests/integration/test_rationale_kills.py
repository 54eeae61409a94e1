"""SIGKILL in the middle of the teacher stage; `benchmarks/rationale_crash.py` does the same thirty times."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from rationale_crash import torture
from teacher_run import server

pytestmark = pytest.mark.slow


def test_no_answer_is_lost_and_few_are_sent_again(tmp_path: Path) -> None:
    with server() as at:
        found = torture(tmp_path, at, clips=160, kills=2, in_flight=16, seed=3)
    assert (found.whole, found.single) == (1, 1)
    assert (found.lost, found.rows) == (0, 160)
    assert found.again <= 2 * found.in_flight
