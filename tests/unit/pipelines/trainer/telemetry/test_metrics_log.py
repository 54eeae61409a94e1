"""Numbers of a run: files that TensorBoard reads, shares of time, trackers, a storage that refuses for a while."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pipelines.config.faults import MetricsConfig
from pipelines.runtime.errors import UserError
from pipelines.trainer.telemetry import metrics_log, trackers
from pipelines.trainer.telemetry.metrics_log import TrainLog, read_rows
from pipelines.trainer.telemetry.trackers import check_trackers
from skeleton_io import storage


def row(step: int, **more: float) -> dict[str, Any]:
    plain = {"step": step, "loss": 1.0 / step, "seconds": 2.0, "clips": 4, "tokens": 100, "tokens_per_second": 50.0}
    return plain | {"data_wait_share": 0.0, "mfu": 0.25, "memory_gb": 1.5} | more


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(name)]


def test_tensorboard_reads_what_is_written_through_a_resume(tmp_path: Path) -> None:
    log = TrainLog(str(tmp_path), "1", 6, 4, 0)
    for step in (1, 2, 3, 4):
        log.add(row(step))
    log.note("validation_accuracy", 0.5)
    log.close()
    again = TrainLog(str(tmp_path), "1", 6, 4, 2)  # steps 3 and 4 were lost with the worker
    for step in (3, 4, 5):
        again.add(row(step, loss=9.0))
    again.close()
    assert [line["loss"] for line in read_rows(str(tmp_path))] == [1.0, 0.5, 9.0, 9.0, 9.0]
    assert scalars(tmp_path / "tensorboard", "loss") == [(1, 1.0), (2, 0.5), (3, 9.0), (4, 9.0), (5, 9.0)]


def test_a_slow_storage_does_not_slow_the_training_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, flushes = [0.0], []
    write = storage.write_atomic

    def slow(uri: str, data: str) -> None:
        flushes.append(clock[0])
        clock[0] += 10.0  # as long as many lines take to an object store
        write(uri, data)

    log = TrainLog(str(tmp_path), "1", 1000, 4, 0)
    monkeypatch.setattr(metrics_log.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(storage, "write_atomic", slow)
    log.flushed = 0.0
    for step in range(1, 1001):
        clock[0] += 1.0
        log.add(row(step))
    assert 10.0 * len(flushes) <= 0.07 * clock[0]
    assert len(flushes) > 3


def test_storage_that_refuses_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = TrainLog(str(tmp_path), "1", 6, 4, 0)
    log.add(row(1))
    log.flush()
    with monkeypatch.context() as patch:

        def full(uri: str, data: str) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(storage, "write_atomic", full)
        for step in (2, 3):
            log.add(row(step))
            log.flush()
    assert len(read_rows(str(tmp_path))) == 1
    log.add(row(4))
    log.close()
    assert [line["step"] for line in read_rows(str(tmp_path))] == [1, 2, 3, 4]
    assert [step for step, _ in scalars(tmp_path / "tensorboard", "loss")] == [1, 2, 3, 4]
    assert capsys.readouterr().out.count("No space left") == 1


def test_summary_weighs_by_time() -> None:
    rows = [row(1, mfu=0.5, **{"time/llm": 0.9}), row(2, mfu=0.1, **{"time/llm": 0.2}), row(3, mfu=0.3, seconds=6.0)]
    found = metrics_log.summary(rows)
    assert found["mfu"] == pytest.approx((0.5 * 2 + 0.1 * 2 + 0.3 * 6) / 10)
    assert found["time_shares"] == {"llm": pytest.approx(0.2)}  # the first measured step warms up
    assert found["memory_gb"] == 1.5


def test_progress_line_says_what_matters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = TrainLog(str(tmp_path), "1", 1, 4, 0)
    log.add(row(1))
    log.close()
    line = capsys.readouterr().out
    for part in ("[train 1] 4/4 clips", "step 1/1", "loss 1.000", "MFU 25.0 %", "1.5 GB", "0:00 left"):
        assert part in line


class FakeRun:
    """Weights & Biases as far as it is used."""

    def __init__(self, name: str | None) -> None:
        self.id = name or "run-7"
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log(self, numbers: dict[str, float], step: int) -> None:
        if step == 3:
            raise ConnectionError("gone")
        self.logged.append((step, numbers))

    def finish(self) -> None:
        self.id = "closed"


def test_a_tracker_gets_the_numbers_and_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[FakeRun] = []

    def init(project: str, name: str, id: str | None, resume: str, settings: Any) -> FakeRun:
        assert (project, name, resume) == ("mine", "train 1", "allow")
        made.append(FakeRun(id))
        return made[-1]

    module: Any = ModuleType("wandb")
    module.init, module.Settings = init, SimpleNamespace
    monkeypatch.setitem(sys.modules, "wandb", module)
    cfg = MetricsConfig(wandb="mine")
    log = TrainLog(str(tmp_path), "1", 6, 4, 0, cfg)
    for step in (1, 2, 3, 4):
        log.add(row(step))
    log.close()
    assert [step for step, _ in made[0].logged] == [1, 2]  # nothing after the failure
    assert made[0].logged[0][1]["loss"] == 1.0
    assert "takes no more numbers (ConnectionError: gone)" in capsys.readouterr().out
    assert read_rows(str(tmp_path))[-1]["step"] == 4
    TrainLog(str(tmp_path), "1", 6, 4, 2, cfg).close()
    assert made[1].id == "closed"
    assert trackers.IDS_FILE in storage.list_files(str(tmp_path))


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_package_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"train\.metrics\.{name} .*skeleton-ray\[{name}\]"):
        check_trackers(MetricsConfig(**{name: "x"}))
