"""The table of stages: what it names is there, and a configuration picks from it in order."""

from __future__ import annotations

import ast
from pathlib import Path

from models.config import MLLMConfig
from pipelines import full
from pipelines.config.data import DataConfig
from pipelines.config.evaluation import EvaluateConfig, TransferConfig
from pipelines.config.tree import FullConfig
from pipelines.config.tune import Range, TuneConfig
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.stages import STAGES

OPTIONAL = ("demo-data", "tiny-mllm", "tune", "transfer")


def test_every_module_has_the_stages_function(repo_root: Path) -> None:
    for stage in STAGES.values():
        tree = ast.parse(repo_root.joinpath(*stage.module.split(".")).with_suffix(".py").read_text())
        functions = {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert [arg.arg for arg in functions["run"].args][:2] == ["cfg", "paths"], stage.module


def test_planned_stages() -> None:
    plain = FullConfig(mllm=MLLMConfig(path="owner/model"))
    assert full.planned_stages(plain) == [name for name in STAGES if name not in OPTIONAL]
    every = FullConfig(
        data=DataConfig(demo=True),
        tune=TuneConfig(space={"renderer.blur_px": Range(choice=(0.1, 0.2))}),
        evaluate=EvaluateConfig(transfer=(TransferConfig(train="a", test="b"),)),
    )
    assert full.planned_stages(every) == list(STAGES)
    assert "transfer" in full.planned_stages(FullConfig(evaluate=EvaluateConfig(transfer_all=True)))


def test_outputs_are_folders_of_their_own_below_the_run() -> None:
    paths = RunPaths("s3://bucket/run")
    outputs = [stage.output(paths) for stage in STAGES.values() if stage.output is not None]
    assert len(set(outputs)) == len(outputs) == 6
    assert all(folder.startswith("s3://bucket/run/") for folder in outputs)
