"""The list of public names, that they load nothing heavy before they are used, and that all are typed."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = {
    "skeleton_io": [
        "SkeletonFormatError",
        "SkeletonSequence",
        "Topology",
        "formats",
        "open_shards",
        "read",
        "read_all",
    ],
    "models": ["DrAction", "MLLMConfig", "RendererConfig", "SkeletonLLM"],
    "pipelines": ["Predictor", "UserError", "load_config", "load_model", "render", "run"],
}
ALL = [(package, name) for package, names in NAMES.items() for name in names]


@pytest.mark.parametrize("package", NAMES)
def test_the_list(package: str, repo_root: Path) -> None:
    module = importlib.import_module(package)
    assert module.__all__ == NAMES[package]
    assert set(NAMES[package]) <= set(dir(module))
    assert (repo_root / package / "py.typed").is_file()
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018
    (row,) = re.findall(rf"^\| `{package}` \|.*\| (.*) \|$", (repo_root / "docs/api.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", row)) == NAMES[package]


@pytest.mark.parametrize(("package", "name"), ALL)
def test_every_name_has_a_docstring_and_types(package: str, name: str) -> None:
    thing = getattr(importlib.import_module(package), name)
    assert inspect.getdoc(thing)
    if inspect.isfunction(thing):
        signature = inspect.signature(thing)
        assert signature.return_annotation is not signature.empty
        assert all(p.annotation is not p.empty for p in signature.parameters.values())


@pytest.mark.parametrize("package", NAMES)
def test_nothing_heavy_is_loaded_by_an_import(package: str, repo_root: Path) -> None:
    code = (
        f"import sys, {package}\nassert dir({package})\n"
        "heavy = {'torch', 'ray', 'transformers', 'deepspeed', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repo_root, check=True)


def test_reading_loads_no_torch_and_configuring_no_ray(repo_root: Path) -> None:
    code = (
        "import sys\nfrom skeleton_io import *\nfrom models import RendererConfig, MLLMConfig\n"
        "from pipelines import UserError, load_config, run\n"
        "heavy = {'torch', 'ray', 'transformers', 'deepspeed'} & set(sys.modules)\n"
        "assert not heavy, heavy\nfrom models import DrAction\nassert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repo_root, check=True)


def test_run_takes_a_folder_or_paths_and_connects_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from contextlib import contextmanager

    from pipelines import full, load_config, run
    from pipelines.runtime.paths import RunPaths

    seen: list[object] = []

    @contextmanager
    def connected():
        seen.append("ray on")
        yield
        seen.append("ray off")

    def stages(cfg, paths):
        seen.append((cfg.data.inputs, paths))
        return {"report": 1}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(full, "connected", connected)
    monkeypatch.setattr(full, "_run_stages", stages)
    (tmp_path / "set").mkdir()
    (tmp_path / "x.yaml").write_text("name: x\ndata: {inputs: {ntu: '{data_root}/set'}}\n")
    cfg = load_config("x.yaml")
    for out in ("runs/x", tmp_path / "runs" / "x", RunPaths(str(tmp_path / "runs" / "x"))):
        seen.clear()
        assert run(cfg, out, data_root=str(tmp_path)) == {"report": 1}
        assert seen == ["ray on", ({"ntu": str(tmp_path / "set")}, RunPaths(str(tmp_path / "runs/x"))), "ray off"]
    from pipelines import UserError

    seen.clear()
    with pytest.raises(UserError, match="no folder at"):
        run(cfg, "runs/x", data_root=str(tmp_path / "elsewhere"))
    assert not seen
