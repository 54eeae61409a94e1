"""A stage that another key broke off half-way is not taken for the finished one that it overwrote."""

from __future__ import annotations

import pytest

from pipelines.runtime.manifest import read_manifest, run_once


def test_a_broken_off_stage_leaves_no_old_manifest(tmp_path):
    folder = str(tmp_path)
    run_once("s", folder, "old", lambda: {"value": 1})

    def broken():
        raise RuntimeError("stopped")

    assert run_once("s", folder, "old", broken)["value"] == 1
    with pytest.raises(RuntimeError, match="stopped"):
        run_once("s", folder, "new", broken)
    assert read_manifest(folder) is None
    assert run_once("s", folder, "old", lambda: {"value": 2})["value"] == 2
