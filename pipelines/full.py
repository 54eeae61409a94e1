"""The whole pipeline: the script that `ray job submit --working-dir . -- python pipelines/full.py` runs.

demo data -> ingest -> rationales -> tiny MLLM -> four training stages -> tune -> transfer -> evaluate -> report. Each
stage is a module of its own; a stage that is finished is skipped, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    # Run as a script: the folder of this file would shadow top-level modules with names such as `config`.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipelines.cluster.connect import connected, require, set_offline
from pipelines.config import loading as configuration
from pipelines.config.tree import FullConfig
from pipelines.runtime.errors import UserError
from pipelines.runtime.exits import guarded
from pipelines.runtime.paths import RunPaths, absolute
from pipelines.runtime.progress import say

# Stage name -> module; every module has run(cfg, paths) -> summary. Imported late: `--help` loads no torch.
STAGES: dict[str, str] = {
    "demo-data": "pipelines.ingest.demo_data",
    "ingest": "pipelines.ingest.stage",
    "rationales": "pipelines.rationales.stage",
    "tiny-mllm": "pipelines.training.tiny_mllm",
    "train": "pipelines.training.stage",
    "tune": "pipelines.tuning.stage",
    "transfer": "pipelines.studies.transfer",
    "evaluate": "pipelines.evaluation.stage",
    "report": "pipelines.report.stage",
}


def planned_stages(cfg: FullConfig) -> list[str]:
    """The stages that this configuration asks for, in order."""
    wanted = {
        "demo-data": cfg.data.demo,
        "tiny-mllm": not cfg.mllm.path,
        "tune": bool(cfg.tune.space),
        "transfer": bool(cfg.evaluate.transfer) or cfg.evaluate.transfer_all,
    }
    return [name for name in STAGES if name not in wanted or wanted[name]]


def run_one(name: str, cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Runs one stage by name and returns its summary."""
    return importlib.import_module(STAGES[name]).run(cfg, paths)


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """All planned stages in order; returns the report's summary.

    Raises:
        UserError: the cluster can never run the training, or no such teacher; said before the first stage, not after
            hours.
    """
    from pipelines.rationales.teachers.registry import entry_of

    names = planned_stages(cfg)
    train = cfg.train
    # A misspelt teacher would else be noticed after the ingest only.
    entry_of(cfg.rationales)
    require(train.workers * train.cpus_per_worker, train.workers * train.gpus_per_worker, f"{train.workers} workers")
    summary: dict[str, Any] = {}
    for number, name in enumerate(names, 1):
        say(f"[full] stage {number}/{len(names)}: {name}")
        summary = run_one(name, cfg, paths)
    say(f"[full] report: {paths.at('report.html')} and {paths.at('report.json')}")
    return summary


def fill_inputs(cfg: FullConfig, data_root: str, out: str) -> FullConfig:
    """Replaces {data_root} and {out} in `data.inputs` and makes the paths absolute.

    Raises:
        UserError: an input needs --data-root and none was given.
    """
    inputs = {}
    for name, path in cfg.data.inputs.items():
        if "{data_root}" in path and not data_root:
            raise UserError(f"data.inputs {name}: {path} needs --data-root FOLDER")
        inputs[name] = absolute(path.replace("{data_root}", data_root).replace("{out}", out))
    return configuration.with_values(cfg, {"data.inputs": inputs}, "data.inputs")


def check_inputs(cfg: FullConfig) -> None:
    """Every local input folder exists before Ray starts; generated ones are written later.

    Raises:
        UserError: names the set and the folder.
    """
    if cfg.data.demo:
        return
    for name, path in cfg.data.inputs.items():
        if "://" not in path and not Path(path).exists():
            raise UserError(f"data.inputs {name}: no folder at {path}")


def main(argv: list[str] | None = None) -> int:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        prog="full.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Any field of the configuration can be overridden by its name, for example --train.zero-stage 2; "
        "`skel config --help` lists them all.",
    )
    parser.add_argument("--config", required=True, help="YAML preset, for example tune_configs/full_demo.yaml")
    parser.add_argument("--out", required=True, help="folder or URI of the run")
    parser.add_argument("--data-root", default="", help="replaces {data_root} in data.inputs")
    args, rest = parser.parse_known_args(argv)

    def work() -> None:
        set_offline()
        out = absolute(args.out)
        cfg = configuration.override(configuration.load(args.config), rest)
        cfg = fill_inputs(cfg, args.data_root, out)
        check_inputs(cfg)
        with connected():
            run(cfg, RunPaths(out))

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
