"""The table of stages: what it names is there, and a configuration picks from it in order."""

from __future__ import annotations

import ast
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from models.config import MLLMConfig
from pipelines import full
from pipelines.config.data import DataConfig
from pipelines.config.evaluation import EvaluateConfig, TransferConfig
from pipelines.config.tree import FullConfig
from pipelines.config.tune import Range, TuneConfig
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.stages import STAGES, Stage

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


def test_a_stage_from_outside_runs_in_its_place_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            seen.append(cfg.name)
            return {"value": 7}

        return run_once("count", paths.at("count"), "key", work)

    module = ModuleType("a_stage_of_ones_own")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    table = {"count": Stage(module=module.__name__, wanted=lambda cfg: cfg.seed == 3, output=lambda p: p.at("count"))}
    monkeypatch.setattr(full, "STAGES", table)
    # The cluster is another test's business.
    monkeypatch.setattr(full, "connected", nullcontext)
    monkeypatch.setattr(full, "require", lambda *_: None)
    for _ in range(2):
        assert full.run(FullConfig(name="mine", seed=3), tmp_path)["value"] == 7
    assert seen == ["mine"]
    assert full.run(FullConfig(seed=4), tmp_path) == {}
