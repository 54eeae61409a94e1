"""The same stage under ZeRO 0-3, with and without offload, on 1 and 2 ranks, and in a plain torch loop: same losses?

    python -m benchmarks.parity [--steps 20] [--ranks 1 2 4]

Writes the table of `results/training.md` between its marks: the largest relative difference of losses and gradient
norms to the plain loop, whether a resumed run is equal to the last bit, and what a change of workers on the way does.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.ranks import Ranks, Trace
from models.trainable import param_groups
from pipelines.config import loading
from pipelines.config.stages import Group, StageConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.ingest.stage import ingest
from pipelines.runtime.paths import RunPaths
from pipelines.trainer.context import LocalContext
from pipelines.trainer.schedule import rate_factor
from pipelines.training import stage as training
from pipelines.training import tiny_mllm
from pipelines.training.job import StageJob
from pipelines.training.loop import StageLoop
from skeleton_io.demo.dataset import DemoConfig, write_demo

PAGE = Path(__file__).parent / "results" / "training.md"
MARKS = ("<!-- parity -->", "<!-- /parity -->")
BOUND = 2e-6
"""Largest relative difference of a loss that is put down to rounding, see the page."""
STOP = 7
"""Step after which the resumed runs are taken up."""
RATES: dict[Group, float] = {"renderer": 3e-3, "vision": 1e-3, "projector": 2e-3, "llm": 5e-4}
SETTINGS: dict[str, Any] = {
    "data": {"validation_share": 0.1},
    "renderer": {"frames": 2, "image_size": 64, "samples_per_bone": 3},
    "mllm": {"tiny": {"vision_width": 32, "vision_layers": 1, "llm_width": 32, "llm_layers": 1, "heads": 2}},
    "train": {"global_batch": 8, "micro_batch": 2, "checkpoint_every": STOP, "keep_checkpoints": 9},
}


def make_run(folder: Path, sets: Sequence[str] = ("ntu", "coco17")) -> tuple[FullConfig, RunPaths]:
    """A small run with shards and a tiny LLM, ready for training. Needs a connected Ray."""
    demo = DemoConfig(subjects=9, test_subjects=1, repetitions=1, actions=("walk", "wave", "squat"), broken=False)
    write_demo(folder / "demo", demo)
    paths, cfg = RunPaths(str(folder / "run")), loading.decode(SETTINGS, "parity")
    ingest({f"demo_{name}:{name}": str(folder / "demo" / f"demo_{name}") for name in sets}, paths.shards, "ipc", 64)
    texts = tiny_mllm.corpus(select(cfg, ClipStore(paths.shards)), {})
    tiny_mllm.write(paths.mllm, cfg.mllm.family, cfg.mllm, texts, cfg.renderer.image_size, 0)
    return dataclasses.replace(cfg, mllm=dataclasses.replace(cfg.mllm, path=paths.mllm)), paths


def make_job(
    cfg: FullConfig, paths: RunPaths, out: Path, steps: int, zero_stage: int, offload: bool = False
) -> StageJob:
    """A stage that trains everything, with another rate for each group; checkpoints lie in OUT/steps."""
    stage = StageConfig(
        name="parity", tasks={"mqa": 1, "yesno": 1}, trains=tuple(RATES), learning_rate=RATES, steps=steps
    )
    cfg = dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, zero_stage=zero_stage, offload=offload))
    job = training.make_job(cfg, paths, stage, None, str(out), ())
    return dataclasses.replace(job, checkpoints=str(out / "steps"))


def plain_loop(job: StageJob) -> tuple[list[float], list[float]]:
    """(losses, gradient norms) of torch alone: one model, one AdamW, one clip over everything. No engine of ours."""
    loop = StageLoop(
        dataclasses.replace(job, deepspeed=False, checkpoints=""), LocalContext(torch.device("cpu")), False
    )
    model, cfg = loop.model, loop.train
    groups = param_groups(model, {str(g): rate for g, rate in job.stage.learning_rate.items()}, cfg.weight_decay)
    peaks = [group["lr"] for group in groups]
    optimiser = torch.optim.AdamW(groups)
    losses, norms = [], []
    for step in range(loop.steps):
        total = 0.0
        for batch in loop.build(step):
            loss = model(batch.clips, batch.text).example_loss.sum() / cfg.global_batch
            loss.backward()
            total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], cfg.clip_grad)
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * rate_factor(step, loop.steps, cfg.warmup_share)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(total)
        norms.append(float(norm))
    return losses, norms


def apart(found: Sequence[float], reference: Sequence[float]) -> float:
    """Largest relative difference; infinite where one is longer."""
    if len(found) != len(reference):
        return math.inf
    return max((abs(a - b) / abs(b) for a, b in zip(found, reference, strict=True)), default=0.0)


def resumed(job: StageJob, steps: int, out: Path) -> StageJob:
    """The job taken up after `steps` steps in a new folder: only that checkpoint of the first run is there."""
    (source,) = Path(job.checkpoints).glob(f"step-{steps:09d}-*")
    shutil.copytree(source, out / "steps" / source.name)
    return dataclasses.replace(job, out=str(out), checkpoints=str(out / "steps"))


def case(name: str, whole: Trace, again: Trace, plain: tuple[list[float], list[float]]) -> str:
    """One line of the table."""
    equal = again.losses == whole.losses[STOP:] and again.norms == whole.norms[STOP:]
    return (
        f"| {name} | {apart(whole.losses, plain[0]):.1e} | {apart(whole.norms, plain[1]):.1e} "
        f"| {'equal' if equal else format(apart(again.losses, whole.losses[STOP:]), '.1e')} "
        f"| {1000 * whole.seconds / len(whole.losses):.0f} |"
    )


def table(cfg: FullConfig, paths: RunPaths, folder: Path, steps: int, counts: Sequence[int]) -> list[str]:
    """The lines of the page."""
    plain = plain_loop(make_job(cfg, paths, folder / "plain", steps, 0))
    lines = [
        f"Plain torch, one process: loss {plain[0][0]:.6f} -> {plain[0][-1]:.6f} in {steps} steps.",
        "",
        f"| engine | losses | gradient norms | resumed after {STOP} | ms a step |",
        "|---|---|---|---|---|",
    ]
    pools = {number: Ranks(number) for number in counts}
    jobs = {}
    for number, pool in pools.items():
        for stage, offload in ((0, False), (1, False), (1, True), (2, False), (2, True), (3, False), (3, True)):
            name = f"ZeRO-{stage}{', offload' if offload else ''}, {number} rank{'s' if number > 1 else ''}"
            job = make_job(cfg, paths, folder / f"{stage}-{offload}-{number}", steps, stage, offload)
            whole = pool.run(job)
            again = pool.run(resumed(job, STOP, folder / f"again-{stage}-{offload}-{number}"))
            lines.append(case(name, whole, again, plain))
            jobs[stage, number] = (job, whole)
    if {1, 2} <= set(counts):
        lines += ["", *changes(folder, pools, jobs, steps)]
    for pool in pools.values():
        pool.close()
    return lines


def changes(folder: Path, pools: dict[int, Ranks], jobs: dict[Any, tuple[StageJob, Trace]], steps: int) -> list[str]:
    """2 -> 1 -> 2 ranks at each ZeRO stage, and with another stage each time, against the run that had 2 all along."""
    lines = ["| 2 -> 1 -> 2 ranks, stopped at 7 and 13 | losses | batches |", "|---|---|---|"]
    for stages in ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3), (3, 1, 2)):
        job, whole = jobs[stages[0], 2]
        job = resumed(job, STOP, folder / f"change-{'-'.join(map(str, stages))}")
        losses, clips = list(whole.losses[:STOP]), {n: whole.clips[n] for n in range(STOP)}
        for stage, number, until in ((stages[1], 1, 13), (stages[2], 2, steps)):
            own = dataclasses.replace(job.cfg.train, zero_stage=stage)
            part = pools[number].run(dataclasses.replace(job, cfg=dataclasses.replace(job.cfg, train=own)), until)
            losses += part.losses
            clips |= part.clips
        name = ", ".join(f"ZeRO-{stage}" for stage in stages)
        same = "the same" if clips == whole.clips else "OTHERS"
        lines.append(f"| {name} | {apart(losses, whole.losses):.1e} | {same} |")
    return lines


def main() -> None:
    """Measures and writes the table into the page."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    arguments = parser.parse_args()
    from pipelines.cluster.connect import connected, set_offline

    set_offline()
    with tempfile.TemporaryDirectory() as folder:
        with connected():
            cfg, paths = make_run(Path(folder))
        lines = table(cfg, paths, Path(folder), arguments.steps, arguments.ranks)
    before, _, rest = (PAGE.read_text() if PAGE.exists() else "# Training\n\n").partition(MARKS[0])
    PAGE.write_text(f"{before}{MARKS[0]}\n{chr(10).join(lines)}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
