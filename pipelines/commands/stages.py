"""`skel full` and one command per stage of a run."""

from __future__ import annotations

import argparse

from pipelines import full
from pipelines.cluster.connect import connected, require
from pipelines.commands.base import Add
from pipelines.config import loading as configuration
from pipelines.config.tree import FullConfig
from pipelines.runtime.paths import RunPaths, absolute

STAGE_HELP = {
    "rationales": "ask the teacher for a rationale of every training clip",
    "tiny-mllm": "write the tiny multimodal LLM that stands in where no checkpoint is at hand",
    "train": "train DrAction with the multimodal LLM, stage by stage (Ray Train + DeepSpeed)",
    "tune": "search rendering hyperparameters (Ray Tune); writes tune/best.yaml, which `skel train` accepts",
}


def register(add: Add) -> None:
    """Adds `full` and the stages."""
    add_run_arguments(add("full", "run the whole pipeline; goes on where it was stopped", _full))
    for name, text in STAGE_HELP.items():
        if name != "rationales":
            add_run_arguments(add(name, text, run_stage))
    parser = add("rationales", STAGE_HELP["rationales"], _rationales)
    add_run_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="print requests, tokens and cost; send nothing")
    parser.add_argument("--retry-failed", action="store_true", help="ask dead letters once more")


def add_run_arguments(parser: argparse.ArgumentParser, config_required: bool = True, out_required: bool = True) -> None:
    """--config, --out and --data-root."""
    example = "YAML preset, for example tune_configs/full_demo.yaml"
    parser.add_argument("--config", default="", required=config_required, help=example)
    parser.add_argument(
        "--out",
        default="",
        required=out_required,
        help="folder or URI of the run; stages find each other's output there",
    )
    parser.add_argument("--data-root", default="", help="replaces {data_root} in data.inputs")


def _loaded(args: argparse.Namespace, rest: list[str]) -> tuple[FullConfig, RunPaths]:
    out = absolute(args.out)
    cfg = configuration.override(configuration.load(args.config), rest)
    if args.command in ("full", "ingest"):
        # The other stages read shards, not the native files.
        cfg = full.fill_inputs(cfg, args.data_root, out)
    return cfg, RunPaths(out)


def _full(args: argparse.Namespace, rest: list[str]) -> None:
    full.run(*_loaded(args, rest))


def run_stage(args: argparse.Namespace, rest: list[str]) -> None:
    """Runs the stage that the command is named after."""
    cfg, paths = _loaded(args, rest)
    with connected():
        # An actor that no node can hold would be waited for without end.
        require(cfg.train.cpus_per_worker, cfg.train.gpus_per_worker, f"{args.command} (one worker)")
        full.run_one(args.command, cfg, paths)


def _rationales(args: argparse.Namespace, rest: list[str]) -> None:
    if args.retry_failed:
        rest = [*rest, "--rationales.retry-failed"]
    if not args.dry_run:
        run_stage(args, rest)
        return
    from pipelines.rationales import costs

    costs.show(*_loaded(args, rest))
