"""ZeRO 0-3 on 1 and 2 ranks against a plain torch loop, and resumed runs against those that were not stopped.

The ranks are processes of `benchmarks/ranks.py`, without Ray; `benchmarks/parity.py` measures the whole table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import parity
from benchmarks.ranks import Ranks, Trace
from pipelines.config.tree import FullConfig
from pipelines.runtime.paths import RunPaths
from pipelines.training.job import StageJob

pytestmark = pytest.mark.slow

STEPS = 20
Run = tuple[FullConfig, RunPaths, Path]


@pytest.fixture(scope="module")
def run(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("exact")
    return *parity.make_run(folder), folder


@pytest.fixture(scope="module")
def plain(run: Run) -> tuple[list[float], list[float]]:
    return parity.plain_loop(parity.make_job(*run[:2], run[2] / "plain", STEPS, 0))


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[int, Ranks]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        found = {number: Ranks(number) for number in (1, 2)}
        yield found
        for pool in found.values():
            pool.close()


@pytest.fixture(scope="module")
def pairs(run: Run, pools: dict[int, Ranks]) -> dict[int, tuple[StageJob, Trace, Trace]]:
    """ZeRO stage -> (job, undisturbed run on 2 ranks, the run taken up after a checkpoint in the middle).

    In this order: ZeRO-3 leaves another `linear` in torch, which rounds otherwise, for the rest of a process.
    """
    found = {}
    for stage in range(4):
        job = parity.make_job(*run[:2], run[2] / f"whole-{stage}", STEPS, stage)
        whole = pools[2].run(job)
        found[stage] = job, whole, pools[2].run(parity.resumed(job, parity.STOP, run[2] / f"again-{stage}"))
    return found


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_losses_are_those_of_a_plain_loop(run: Run, plain, pools, pairs, stage: int) -> None:
    assert plain[0][-1] < 0.8 * plain[0][0]
    assert min(plain[1]) > 2  # clipped at 1, renderer and LLM by one norm
    one = pools[1].run(parity.make_job(*run[:2], run[2] / f"one-{stage}", STEPS, stage, offload=stage == 2))
    for found in (one, pairs[stage][1]):
        assert parity.apart(found.losses, plain[0]) < parity.BOUND
        assert parity.apart(found.norms, plain[1]) < parity.BOUND


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_resumed_run_is_equal_to_the_last_bit(pairs, stage: int) -> None:
    _, whole, again = pairs[stage]
    assert again.first == parity.STOP
    assert again.losses == whole.losses[parity.STOP :]
    assert again.norms == whole.norms[parity.STOP :]
    # Each group has its own rate, after a resume too: universal checkpoints of DeepSpeed lose them at stage 3.
    assert again.rates == whole.rates
    assert len({rate for name, rate in again.rates.items() if name.endswith("/matrices")}) == len(parity.RATES)
    assert again.clips == {number: whole.clips[number] for number in range(parity.STOP, STEPS)}


def test_workers_come_and_go(run: Run, pools, pairs) -> None:
    job, whole, _ = pairs[3]
    job = parity.resumed(job, parity.STOP, run[2] / "change")
    losses, clips = whole.losses[: parity.STOP], {number: whole.clips[number] for number in range(parity.STOP)}
    for stage, number, until in ((1, 1, 13), (2, 2, STEPS)):
        train = dataclasses.replace(job.cfg.train, zero_stage=stage)
        part = pools[number].run(dataclasses.replace(job, cfg=dataclasses.replace(job.cfg, train=train)), until)
        assert part.first == len(losses)
        losses = losses + part.losses
        clips |= part.clips
    assert parity.apart(losses, whole.losses) < parity.BOUND
    assert clips == whole.clips


def lora_job(run: Run, name: str, dropout: float) -> StageJob:
    """Six steps of adapters with dropout under ZeRO-3."""
    cfg, paths, folder = run
    lora = dataclasses.replace(cfg.mllm.lora, dropout=dropout)
    cfg = dataclasses.replace(cfg, mllm=dataclasses.replace(cfg.mllm, lora=lora))
    job = parity.make_job(cfg, paths, folder / name, 6, 3)
    trains = ("renderer", "projector", "lora")
    stage = dataclasses.replace(job.stage, trains=trains, learning_rate=dict.fromkeys(trains, 1e-3))
    return dataclasses.replace(job, stage=stage)


def test_dropout_is_drawn_again_as_it_was(run: Run, pools) -> None:
    whole = pools[2].run(lora_job(run, "wet", 0.3))
    job = lora_job(run, "cut", 0.3)
    assert pools[2].run(job, 3).losses + pools[2].run(job).losses == whole.losses
    assert pools[2].run(lora_job(run, "dry", 0.0), 3).losses[2] != whole.losses[2]
