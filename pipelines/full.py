"""The whole pipeline: the script that `ray job submit --working-dir . -- python pipelines/full.py` runs.

demo data -> ingest -> rationales -> tiny MLLM -> four training stages -> tune -> transfer -> evaluate -> report. Each
stage is a module of its own; a stage that is finished is skipped, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

if __package__ in (None, ""):
    # Run as a script: the folder of this file would shadow top-level modules with names such as `config`.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipelines.cluster.connect import connected, require, set_offline
from pipelines.config.loading import load_config, override_config, with_values
from pipelines.config.tree import FullConfig
from pipelines.runtime.arguments import UnknownArgument, flags_of, name_value, read_options
from pipelines.runtime.errors import UserError
from pipelines.runtime.exits import guarded
from pipelines.runtime.paths import RunPaths, absolute
from pipelines.runtime.progress import say
from pipelines.runtime.stages import STAGES

DEMO = Path(__file__).resolve().parents[1] / "tune_configs" / "full_demo.yaml"
RUNS = "skeleton-ray"
"""Folder in the user's home for runs that are given no other."""


def planned_stages(cfg: FullConfig) -> list[str]:
    """The stages that this configuration asks for, in order."""
    return [name for name, stage in STAGES.items() if stage.wanted(cfg)]


def run_one(name: str, cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Runs one stage by name and returns its summary; its module is imported only now."""
    return importlib.import_module(STAGES[name].module).run(cfg, paths)


def run(cfg: FullConfig, out: str | os.PathLike[str] | RunPaths, data_root: str = "") -> dict[str, Any]:
    """The whole pipeline; stages that are finished are skipped.

    Joins the Ray that this process is connected to, else the cluster of RAY_ADDRESS, else starts one of its own and
    ends it afterwards.

    Args:
        cfg: from `load_config`.
        out: folder or URI of the run.
        data_root: replaces {data_root} in `data.inputs`.

    Returns:
        The report's summary.

    Raises:
        UserError: an input is not there, or the cluster can never run the training; said before the first stage.
        StageFailed: a stage broke off; what is finished is kept.
    """
    paths = out if isinstance(out, RunPaths) else RunPaths(absolute(os.fspath(out)))
    cfg = fill_inputs(cfg, data_root, paths.root)
    check_inputs(cfg)
    with connected():
        return _run_stages(cfg, paths)


def _run_stages(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """All planned stages in order."""
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
    return with_values(cfg, {"data.inputs": inputs}, "data.inputs")


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


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Runs the whole pipeline: demo data -> ingest -> rationales -> tiny MLLM -> training -> tune -> report.

    examples:
      python pipelines/full.py                                            the demo preset, in a folder of your home
      python pipelines/full.py --config tune_configs/full_demo.yaml --out runs/demo
      ray job submit --working-dir . -- python pipelines/full.py --config X.yaml --out s3://bucket/run
    """

    config: Annotated[str, name_value("FILE")] = ""
    """YAML preset; default: tune_configs/full_demo.yaml."""
    out: Annotated[str, name_value("RUN")] = ""
    """Folder or URI of the run; default: ~/skeleton-ray/ and the preset's name."""
    data_root: Annotated[str, name_value("FOLDER")] = ""
    """Replaces {data_root} in data.inputs."""


def read_arguments(words: Sequence[str]) -> tuple[Arguments, list[str]]:
    """The arguments with their defaults filled in, and the words that override fields of the configuration.

    Raises:
        UserError: an unknown flag, or no home folder for a run without --out.
    """
    options, fields = read_options(Arguments, "full.py", words, FullConfig)
    config = options.config or str(DEMO)
    out = options.out or str(home() / RUNS / Path(config).stem.removeprefix("full_"))
    return dataclasses.replace(options, config=config, out=absolute(out)), fields


def home() -> Path:
    """The user's home folder.

    Raises:
        UserError: there is none.
    """
    try:
        return Path.home()
    except RuntimeError:
        raise UserError("this user has no home folder: say where the run goes with --out") from None


def main(argv: list[str] | None = None) -> int:
    """Command line of the script."""

    def work() -> None:
        words = sys.argv[1:] if argv is None else argv
        arguments, fields = read_arguments(words)
        say(f"[full] {arguments.config} -> {arguments.out} (--config and --out name others)")
        set_offline()
        try:
            cfg = override_config(load_config(arguments.config), fields)
        except UnknownArgument as error:
            raise UnknownArgument(error.argument, error.known | flags_of(Arguments), "full.py") from None
        run(cfg, arguments.out, arguments.data_root)

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
