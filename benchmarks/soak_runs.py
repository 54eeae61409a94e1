"""A small training stage, how it went undisturbed, and what a disturbed run did differently. Plants no faults."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.batches.sampler import stage_seed
from pipelines.config import loading
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.ingest.stage import ingest
from pipelines.runtime.paths import RunPaths
from pipelines.trainer.telemetry.metrics_log import read_rows
from pipelines.training import stage as training
from pipelines.training import tiny_mllm
from pipelines.training.stage_data import stage_data
from skeleton_io import storage
from skeleton_io.demo.dataset import DemoConfig, write_demo

ROOT = Path(__file__).resolve().parents[1]
DEMO = DemoConfig(subjects=9, test_subjects=1, repetitions=1, actions=("walk", "wave", "squat"), broken=False)
RATES = {"renderer": 3e-3, "vision": 1e-3, "projector": 1e-3, "llm": 1e-3}
PLAIN: dict[str, Any] = {
    "data": {"validation_share": 0.1},
    "renderer": {"frames": 2, "image_size": 64, "samples_per_bone": 3},
    "mllm": {"tiny": {"vision_width": 32, "vision_layers": 1, "llm_width": 32, "llm_layers": 1, "heads": 2}},
    "train": {
        "global_batch": 8,
        "micro_batch": 4,
        "zero_stage": 2,
        "checkpoint_every": 3,
        "keep_checkpoints": 2,
        "max_failures": 20,
        "validate_clips": 6,
        "augment": {"yaw_deg": 10, "scale": 0.1, "noise_m": 0.01, "crop": 0.1},
        "faults": {"stop_poll_s": 0.2},
        "stages": [
            {"name": "1", "tasks": {"mqa": 1, "yesno": 1}, "trains": [*RATES], "learning_rate": RATES, "epochs": 8}
        ],
    },
}


@dataclass
class Trial:
    """One disturbed run and what was found."""

    what: str
    steps: str
    """At which steps (counted from 0) it was disturbed."""
    seconds: float
    last_loss: float
    difference: float
    """Largest relative difference of a step's loss to the undisturbed run."""
    wrong: str


@dataclass(frozen=True)
class Case:
    """Configuration, run with shards and tiny LLM, and the undisturbed run's (step, clips, loss)."""

    cfg: FullConfig
    paths: RunPaths
    reference: list[list[Any]]

    def with_train(self, **changes: Any) -> Case:
        """The same with other fields of `train`."""
        return dataclasses.replace(self, cfg=dataclasses.replace(self.cfg, train=_replaced(self.cfg.train, changes)))

    def run(self, out: str) -> dict[str, Any]:
        """The stage on the connected Ray."""
        return training.train_stage(self.cfg, self.paths, self.cfg.train.stages[0], None, out)

    def write_config(self, folder: Path) -> Path:
        """The configuration as a file for `skel train`."""
        file = folder / "soak.yaml"
        file.write_text(loading.to_yaml(self.cfg))
        return file


def _replaced(settings: Any, changes: dict[str, Any]) -> Any:
    return dataclasses.replace(settings, **changes)


def history(out: str) -> list[list[Any]]:
    """(step, checksum of the clips, loss) of each step."""
    return [[row["step"], row["clips_checksum"], row["loss"]] for row in read_rows(out)]


def prepare(folder: Path) -> Case:
    """Shards, tiny LLM, and the undisturbed run with two workers; taken as it is where it was made before.

    Raises:
        RuntimeError: the undisturbed run did not see the clips that the sampler gives.
    """
    paths, cfg = RunPaths(str(folder / "run")), loading.decode(PLAIN, "soak")
    cfg = dataclasses.replace(cfg, mllm=dataclasses.replace(cfg.mllm, path=paths.mllm))
    kept = folder / "reference.json"
    if not kept.exists():
        write_demo(folder / "demo", DEMO)
        inputs = {f"demo_{name}:{name}": str(folder / "demo" / f"demo_{name}") for name in ("ntu", "coco17")}
        ingest(inputs, paths.shards, "ipc", 64)
        texts = tiny_mllm.corpus(select(cfg, ClipStore(paths.shards)), {})
        tiny_mllm.write(paths.mllm, cfg.mllm.family, cfg.mllm, texts, cfg.renderer.image_size, 0)
        case, out = Case(cfg, paths, []), str(folder / "undisturbed")
        storage.remove(out)
        case.run(out)
        found = history(out)
        if [row[1] for row in found] != expected(case):
            raise RuntimeError("the undisturbed run saw other clips than the sampler gives")
        kept.write_text(json.dumps(found))
    return Case(cfg, paths, json.loads(kept.read_text()))


def expected(case: Case) -> list[int]:
    """Checksum of the clips of each step, straight from the sampler."""
    import zlib

    cfg, stage = case.cfg, case.cfg.train.stages[0]
    store = ClipStore(case.paths.shards)
    job = training.make_job(cfg, case.paths, stage, None, "", ())
    _, sampler = stage_data(job, store, select(cfg, store))
    batch, seed = cfg.train.global_batch, stage_seed(cfg.seed, stage.name)
    found = []
    for number in range(sampler.steps(stage.epochs, batch)):
        epoch, step = sampler.place(number, batch)
        found.append(sum(zlib.crc32(d.key.encode()) for d in sampler.batch(seed, epoch, step, batch)))
    return found


def compare(case: Case, out: str, what: str, steps: str, seconds: float, bound: float) -> Trial:
    """What a run at `out` did differently.

    Args:
        case: with the reference.
        out: URI of the stage.
        what: was done to it.
        steps: at which steps.
        seconds: that it took.
        bound: largest relative difference of a loss that is no mistake.
    """
    found, wrong = history(out), ""
    if [row[:2] for row in found] != [row[:2] for row in case.reference]:
        wrong = f"other steps or clips: {len(found)} of {len(case.reference)} steps"
        return Trial(what, steps, seconds, found[-1][2] if found else 0.0, 1.0, wrong)
    worst = max(abs(a[2] - b[2]) / abs(b[2]) for a, b in zip(found, case.reference, strict=True))
    if worst > bound:
        wrong = f"a loss is off by {worst:.1e}"
    return Trial(what, steps, seconds, found[-1][2], worst, wrong)


def environment() -> None:
    """What the workers of this process's Ray take over: this project on their path, one thread, loopback only."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in ("RAY_ADDRESS", "RAY_TMPDIR"):
        os.environ.pop(name, None)
    tempfile.tempdir = "/tmp"  # unix sockets allow about 100 characters


if __name__ == "__main__":
    sys.exit("a part of benchmarks/soak.py")
