"""What the ranks add up at each step and what is read from the sum; requests to end. No step is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.config.faults import FaultsConfig, MetricsConfig
from pipelines.runtime.stop import RUN_WEIGHT, Stopped
from pipelines.trainer import monitor as monitoring
from pipelines.trainer.context import LocalContext
from pipelines.trainer.monitor import PREEMPTION_STEPS, Monitor
from tests.second_family import EncoderJob, EncoderSettings


class Rank(LocalContext):
    """One of two, on a node that Ray may take away."""

    leaves = False

    def __init__(self, rank: int) -> None:
        super().__init__(torch.device("cpu"))
        self.rank, self.world_size = rank, 2

    def preempted(self) -> bool:
        return self.leaves


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Monitor]:
    monkeypatch.setattr(monitoring, "watch_collectives", lambda: None)  # it is for the rest of a process
    settings = EncoderSettings(faults=FaultsConfig(watchdog_s=0), metrics=MetricsConfig(profile_every=2))
    job = EncoderJob("toy", str(tmp_path), "", settings)
    return [Monitor(job, Rank(rank), ("encoder",), peak_flops=1e12) for rank in (0, 1)]


def add_up(pair: list[Monitor]) -> list[float]:
    return [sum(values) for values in zip(*(monitor.own_sums() for monitor in pair), strict=True)]


def test_a_row_holds_what_all_ranks_did(pair: list[Monitor], monkeypatch: pytest.MonkeyPatch) -> None:
    memory = iter([3.0, 5.0])
    monkeypatch.setattr(monitoring, "memory_gb", lambda device: next(memory))
    for monitor, keys in zip(pair, (["a", "b"], ["c"]), strict=True):
        monitor.begin_step(1)
        monitor.count(keys, flops=2e12)
    row = pair[0].end_step(add_up(pair), seconds=4.0, waited=0.0)
    assert row["workers"] == 2
    assert row["memory_gb"] == 5.0
    assert row["tflops"] == pytest.approx(0.5)  # of one worker
    assert row["mfu"] == pytest.approx(0.5)
    assert not any(name.startswith("time/") for name in row)  # every other step is measured
    for monitor, keys in zip(pair, (["c", "a"], ["b"]), strict=True):  # another cut of the same step
        monitor.begin_step(2)
        monitor.count(keys)
    monkeypatch.setattr(monitoring, "memory_gb", lambda device: 1.0)
    again = pair[0].end_step(add_up(pair), seconds=4.0, waited=1.0)
    assert again["clips_checksum"] == row["clips_checksum"] > 0
    assert "tflops" not in again
    assert sum(value for name, value in again.items() if name.startswith("time/")) == pytest.approx(1)
    pair[1].clock.end()  # its step was measured too


def test_one_request_is_seen_by_all(pair: list[Monitor]) -> None:
    pair[0].stops.seen.set()
    total = add_up(pair)
    for monitor in pair:
        monitor.begin_step(1)
        monitor.end_step(total, 1.0, 0.0)
        assert monitor.checkpoint_due(1)
        assert monitor.ends_run
        with pytest.raises(Stopped, match="stage toy was asked to end and did after step 4 of 9"):
            monitor.end_if_requested(4, 9)


def test_one_worker_that_leaves_costs_a_checkpoint_and_not_the_run(pair: list[Monitor]) -> None:
    total = add_up(pair)
    total[0] += RUN_WEIGHT - 1  # of as many workers as there will ever be
    pair[1].begin_step(1)
    pair[1].end_step(total, 1.0, 0.0)
    assert pair[1].checkpoint_due(1)
    assert not pair[1].ends_run
    pair[1].end_if_requested(4, 9)  # another one leaves: this goes on


def test_a_node_that_will_go_is_looked_for_now_and_then(pair: list[Monitor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rank, "leaves", True)
    assert not pair[0].checkpoint_due(PREEMPTION_STEPS + 1)
    assert pair[0].checkpoint_due(2 * PREEMPTION_STEPS)
    assert not pair[0].checkpoint_due(3 * PREEMPTION_STEPS)  # once is enough


def test_reading_a_clip_is_a_sign_of_life(pair: list[Monitor], monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []
    monkeypatch.setattr(pair[0].watchdog, "beat", lambda: beats.append(1))
    assert pair[0].beat_on_read(str.upper)("clip") == "CLIP"
    assert beats == [1]
