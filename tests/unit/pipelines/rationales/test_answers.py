"""Reading what the teacher's stage left."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.rationales.answers import load_rationales
from pipelines.runtime.errors import UserError


def test_a_stage_that_never_finished_has_none(tmp_path: Path) -> None:
    assert load_rationales(str(tmp_path)) == {}


def test_those_of_an_older_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(UserError, match="older version"):
        load_rationales(str(tmp_path))
