"""The loop of any family, with a family that is none of ours: exact resumes, stops, the best export, bad numbers."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from pipelines.runtime import stop
from pipelines.runtime.errors import StageFailed
from pipelines.runtime.stop import Stopped
from pipelines.trainer import checkpoint_files
from pipelines.trainer.checkpoints import ACCURACY
from pipelines.trainer.context import LocalContext
from pipelines.trainer.job import loop_class
from pipelines.trainer.local_run import fit_here
from pipelines.trainer.telemetry.metrics_log import read_rows
from tests.second_family import LOOP, EncoderJob, EncoderLoop, EncoderSettings

CPU = torch.device("cpu")


def make_job(folder: Path, **changes: object) -> EncoderJob:
    fields = {field.name for field in dataclasses.fields(EncoderSettings)}
    settings = EncoderSettings(**{name: value for name, value in changes.items() if name in fields})  # pyright: ignore[reportArgumentType]
    rest = {name: value for name, value in changes.items() if name not in fields}
    return EncoderJob("toy", str(folder), str(folder / "checkpoints"), settings, **rest)  # pyright: ignore[reportArgumentType]


def history(folder: Path) -> list[tuple]:
    return [(row["step"], row["loss"], row["grad_norm"], row["clips_checksum"]) for row in read_rows(str(folder))]


def exported(folder: Path) -> bytes:
    return (folder / "export/encoder.safetensors").read_bytes()


def test_a_job_broken_off_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    whole = EncoderLoop(make_job(tmp_path / "whole"), LocalContext(CPU))
    whole.run()
    summary = whole.finish()
    first = EncoderLoop(make_job(tmp_path / "broken"), LocalContext(CPU))
    first.run(6)  # the last checkpoint is that of step 4: what came after is done again
    del first
    torch.rand(100)  # whatever was drawn before a restart
    again = EncoderLoop(make_job(tmp_path / "broken"), LocalContext(CPU))
    assert again.done == 4
    again.run()
    assert again.finish()["loss_last"] == summary["loss_last"]
    assert history(tmp_path / "broken") == history(tmp_path / "whole")
    assert exported(tmp_path / "broken") == exported(tmp_path / "whole")
    losses = [row[1] for row in history(tmp_path / "whole")]
    assert len(losses) == 12
    assert losses[-1] < losses[0]


def test_a_line_has_what_the_family_measures_and_no_more(tmp_path: Path) -> None:
    summary = fit_here(LOOP, make_job(tmp_path))
    rows = read_rows(str(tmp_path))
    assert not {"tokens", "tokens_per_second", "tflops", "mfu"} & set(rows[0])
    assert {"epoch", "seconds", "clips_per_second", "data_wait_share", "lr/encoder", "memory_gb"} <= set(rows[0])
    assert [row["step"] for row in rows if "time/encoder" in row] == [1, 4, 7, 10]
    assert [row["epoch"] for row in rows[:3]] == [0, 0.25, 0.5]
    assert "tokens_per_second" not in summary
    assert summary["clips"] == 12 * 8
    assert rows[-1][ACCURACY] == summary[ACCURACY]


def test_the_best_checkpoint_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {3: 0.2, 6: 0.9, 9: 0.4, 12: 0.5}
    validate = EncoderLoop.validate
    monkeypatch.setattr(
        EncoderLoop,
        "validate",
        lambda loop, most: dataclasses.replace(validate(loop, most), accuracy=scores[loop.done]),
    )
    job = make_job(tmp_path, validate_every=3, export_best=True, keep_checkpoints=1)
    loop = EncoderLoop(job, LocalContext(CPU))
    loop.run()
    assert loop.finish()["exported_step"] == 6
    best = EncoderLoop(make_job(tmp_path / "best"), LocalContext(CPU))
    best.run(6)
    assert all(torch.equal(value, loop.model.state_dict()[name]) for name, value in best.model.state_dict().items())
    assert [c.step for c in checkpoint_files.list_complete(job.checkpoints)] == [6, 12]


def test_a_request_ends_the_job_after_a_checkpoint(tmp_path: Path) -> None:
    job = make_job(tmp_path, steps=100_000, checkpoint_every=1_000_000)

    def request() -> None:
        while not stop.requested(job.out):  # the job withdraws what was there before it
            time.sleep(0.05)
            stop.request(job.out)

    timer = threading.Timer(0.5, request)
    timer.start()
    with pytest.raises(Stopped, match=r"stage toy was asked to end and did after step \d+ of 100000"):
        fit_here(LOOP, job)
    timer.join()
    (left,) = checkpoint_files.list_complete(job.checkpoints)
    assert 0 < left.step < 100_000
    assert EncoderLoop(job, LocalContext(CPU)).done == left.step


def test_no_number_ends_the_job_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    job = make_job(tmp_path, nan_at=6)
    with pytest.raises(StageFailed, match=r"stage toy: the loss is not a number at step 7 of 12; .*checkpoint is kept"):
        fit_here(LOOP, job)
    assert [row["step"] for row in read_rows(job.out)] == [1, 2, 3, 4, 5, 6]
    assert [c.step for c in checkpoint_files.list_complete(job.checkpoints)] == [4]


def test_a_loop_without_a_log_writes_nothing_and_still_learns(tmp_path: Path) -> None:
    loop = EncoderLoop(dataclasses.replace(make_job(tmp_path), checkpoints=""), LocalContext(CPU), logged=False)
    before = loop.model[0].weight.detach().clone()
    loop.run(2)
    assert not torch.equal(loop.model[0].weight, before)
    assert not list(tmp_path.iterdir())
    assert loop_class(LOOP) is EncoderLoop


def test_the_trainer_loads_no_other_family(repo_root: Path) -> None:
    code = (
        "import sys, tests.second_family, pipelines.trainer.ray_run; "
        "print([m for m in sys.modules if m.startswith(('models.', 'pipelines.training', 'ray.', 'deepspeed'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
