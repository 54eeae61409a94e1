"""What a worker does with an error that no retry mends: return it where all ranks have it, raise it where one has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributed import FileStore

from pipelines.runtime.errors import UserError
from pipelines.trainer import ray_run


def rank_of_two(rank: int, folder: str, late_s: float, results: str) -> None:
    import time

    torch.distributed.init_process_group("gloo", rank=rank, world_size=2, store=FileStore(f"{folder}/store", 2))
    if late_s < 0 and rank == 0:  # busy in a collective that the other rank will never join
        time.sleep(3)
    else:
        time.sleep(max(0.0, late_s) * rank)
        Path(results, f"{rank}").write_text(str(ray_run.all_ranks_end(patience_s=20 if late_s >= 0 else 0.5)))


@pytest.mark.parametrize(("late_s", "answers"), [(0.5, {"0": "True", "1": "True"}), (-1, {"1": "False"})])
def test_one_rank_alone_is_told_from_all(tmp_path: Path, late_s: float, answers: dict[str, str]) -> None:
    results = tmp_path / "results"
    results.mkdir()
    torch.multiprocessing.spawn(rank_of_two, (str(tmp_path), late_s, str(results)), nprocs=2)
    assert {file.name: file.read_text() for file in results.iterdir()} == answers


def test_a_single_worker_waits_for_nobody() -> None:
    assert ray_run.all_ranks_end()


def test_what_the_user_can_mend_is_found_among_the_workers_errors() -> None:
    class Failed(Exception):
        worker_failures = {  # noqa: RUF012
            0: RuntimeError("Connection closed by peer"),
            3: UserError("mllm.path /data/x: no such folder"),
        }

    error = ray_run.find_user_error(Failed())
    assert isinstance(error, UserError)
    assert str(error).startswith("mllm.path /data/x: no such folder (worker 3")
    assert ray_run.find_user_error(RuntimeError("out of memory")) is None
