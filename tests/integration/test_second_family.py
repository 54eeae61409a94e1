"""A family that the trainer does not know, under Ray Train: two ranks, one of which dies on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.trainer import ray_run
from pipelines.trainer.telemetry.metrics_log import read_rows
from tests.second_family import LOOP, EncoderJob, EncoderSettings

pytestmark = pytest.mark.usefixtures("ray_session")


def test_a_second_family_trains_and_survives_a_lost_worker(tmp_path: Path) -> None:
    out, marker = tmp_path / "out", tmp_path / "marker"
    job = EncoderJob("toy", str(out), str(out / "checkpoints/key"), EncoderSettings(), breaks_at=(6, str(marker)))
    summary = ray_run.fit(LOOP, job, str(out / "checkpoints"), "key")
    assert marker.exists()
    assert summary["workers"] == 2
    assert summary["steps"] == 12
    assert (out / "export/encoder.safetensors").exists()
    rows = read_rows(str(out))
    assert [(row["step"], row["workers"]) for row in rows] == [(step, 2) for step in range(1, 13)]
    # Undisturbed, the same two ranks come to the same numbers.
    whole = tmp_path / "whole"
    ray_run.fit(LOOP, EncoderJob("toy", str(whole), ""), str(whole / "checkpoints"), "key")
    assert [row["loss"] for row in rows] == [row["loss"] for row in read_rows(str(whole))]
    assert rows[-1]["loss"] < rows[0]["loss"]
