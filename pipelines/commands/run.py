"""`skel full`, and the stages of a run that need nothing but its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines import full
from pipelines.cluster.connect import connected, require
from pipelines.commands.base import RunOptions, Switch
from pipelines.config.loading import load_config, override_config
from pipelines.config.tree import FullConfig
from pipelines.runtime.paths import RunPaths, absolute


def load_run(options: RunOptions, fields: Sequence[str], native: bool = False) -> tuple[FullConfig, RunPaths]:
    """Configuration and folders of a run; `native`: it reads native files, not shards, so their paths must be there."""
    out = absolute(options.out)
    cfg = override_config(load_config(options.config), list(fields))
    return full.fill_inputs(cfg, options.data_root, out) if native else cfg, RunPaths(out)


def run_stage(name: str, options: RunOptions, fields: Sequence[str]) -> None:
    """Runs one stage on Ray."""
    cfg, paths = load_run(options, fields, native=name == "ingest")
    with connected():
        # An actor that no node can hold would be waited for without end.
        require(cfg.train.cpus_per_worker, cfg.train.gpus_per_worker, f"{name} (one worker)")
        full.run_one(name, cfg, paths)


@dataclass(frozen=True, kw_only=True)
class Full(RunOptions):
    """Runs the whole pipeline; goes on where it was stopped, and does nothing that is done.

    examples:
      skel full --config tune_configs/full_demo.yaml --out runs/demo
      skel full --config tune_configs/full_real.yaml --data-root FOLDER --out runs/real
      RAY_ADDRESS=HOST:6379 skel full --config X.yaml --out s3://bucket/run --train.workers 8
    """

    def execute(self, fields: Sequence[str]) -> None:
        """All stages that the configuration asks for."""
        full.run(*load_run(self, fields), self.data_root)


@dataclass(frozen=True, kw_only=True)
class TinyMLLM(RunOptions):
    """Writes the tiny multimodal LLM that stands in where no checkpoint is at hand.

    examples:
      skel tiny-mllm --config tune_configs/full_demo.yaml --out runs/demo
      skel tiny-mllm --config tune_configs/full_demo.yaml --out runs/qwen --mllm.family qwen3_vl

    docs/mllm.md says which families there are.
    """

    def execute(self, fields: Sequence[str]) -> None:
        """The stage."""
        run_stage("tiny-mllm", self, fields)


@dataclass(frozen=True, kw_only=True)
class Train(RunOptions):
    """Trains DrAction with the multimodal LLM, stage by stage (Ray Train + DeepSpeed).

    examples:
      skel train --config tune_configs/full_demo.yaml --out runs/demo
      skel train --config X.yaml --out runs/x --train.workers 8 --train.gpus-per-worker 1 --train.zero-stage 2
      skel train --config tune_configs/full_demo.yaml --out runs/demo --local

    Stopped, the same command goes on from the newest checkpoint. docs/train.md has more.
    """

    local: Switch = False
    """Train in this process, by plain torch, without Ray and DeepSpeed."""

    def execute(self, fields: Sequence[str]) -> None:
        """The stage, on Ray or here."""
        if not self.local:
            run_stage("train", self, fields)
            return
        from pipelines.training.stage import train_local  # torch

        train_local(*load_run(self, fields))


@dataclass(frozen=True, kw_only=True)
class Tune(RunOptions):
    """Searches rendering hyperparameters (Ray Tune); writes tune/best.yaml, which `skel train` accepts.

    examples:
      skel tune --config tune_configs/full_demo.yaml --out runs/demo --tune.trials 8
      skel full --config runs/demo/tune/best.yaml --out runs/best
    """

    def execute(self, fields: Sequence[str]) -> None:
        """The stage."""
        run_stage("tune", self, fields)


@dataclass(frozen=True, kw_only=True)
class Rationales(RunOptions):
    """Asks the teacher for a rationale of every training clip, once, within a budget.

    examples:
      skel rationales --config tune_configs/full_demo.yaml --out runs/demo
      skel rationales --config X.yaml --out runs/x --dry-run          what it would cost
      skel rationales --config X.yaml --out runs/x --retry-failed

    docs/rationales.md names the teachers.
    """

    dry_run: Switch = False
    """Print requests, tokens and cost; send nothing."""
    retry_failed: Switch = False
    """Ask dead letters once more."""

    def execute(self, fields: Sequence[str]) -> None:
        """The stage, or its cost."""
        if self.retry_failed:
            fields = [*fields, "--rationales.retry-failed"]
        if not self.dry_run:
            run_stage("rationales", self, fields)
            return
        from pipelines.rationales import costs

        costs.show(*load_run(self, fields))


@dataclass(frozen=True, kw_only=True)
class Transfer(RunOptions):
    """Trains on some sets, tests on another over the labels they share.

    examples:
      skel transfer --config tune_configs/full_demo.yaml --out runs/demo      the pairs of evaluate.transfer
      skel transfer --config tune_configs/full_real.yaml --out runs/real --all --evaluate.transfer-epochs 10

    Each source is trained once, from the untrained multimodal LLM, and scored on all clips of every other set whose
    labels it shares, by wording or by evaluate.synonyms (default: the table of the package).
    OUT/transfer/transfer.json lists the pairs, OUT/transfer/matrix.json is the matrix. docs/evaluate.md, Transfer, says
    how to read it.
    """

    all: Switch = False
    """Every ordered pair of sets that share two labels or more."""

    def execute(self, fields: Sequence[str]) -> None:
        """The stage."""
        run_stage("transfer", self, [*fields, "--evaluate.transfer-all"] if self.all else fields)
