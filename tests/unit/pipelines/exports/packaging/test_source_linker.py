"""The linker takes what is needed and nothing else, keeps scopes apart and renames what would collide."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.exports.packaging import source_linker
from pipelines.exports.packaging.package import model_code
from pipelines.exports.packaging.source_linker import Linker

FILES = {
    "own/__init__.py": "",
    "own/one.py": '''
from __future__ import annotations

import math
from functools import lru_cache

LIMIT = 3
"""How far."""


# Said above the function.
def _check(value: float) -> bool:
    return value < LIMIT


def unused() -> float:
    return math.pi


@lru_cache
def area(radius: float) -> float:
    """pi r^2, 0 beyond LIMIT."""
    return math.pi * radius**2 if _check(radius) else 0.0
''',
    "own/two.py": '''
from __future__ import annotations

from own import one
from own.one import area as round_area

LIMIT = 10


def _check(LIMIT: float) -> bool:
    hidden = [LIMIT for LIMIT in range(2)]
    return LIMIT > sum(hidden)


class Shape:
    """Has an area."""

    LIMIT = 5

    def size(self) -> float:
        """Sum of both."""
        from own.three import extra

        return round_area(1) + one.area(2) + self.LIMIT + LIMIT + extra() + _check(9)

    def save(self) -> None:
        """Left out."""
        import json

        json.dumps(heavy())


def heavy() -> None:
    raise RuntimeError


def main() -> float:
    return Shape().size()
''',
    "own/three.py": "def extra() -> float:\n    return 100.0\n\n\ndef other() -> float:\n    return 1000.0\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.lstrip("\n"))
    monkeypatch.setattr(source_linker, "ROOT", tmp_path)
    return tmp_path


def _run(text: str) -> float:
    space: dict = {"__name__": "linked"}
    exec(compile("from __future__ import annotations\n" + text, "linked", "exec"), space)
    return space["main"]()


def test_linked_text_computes_what_the_modules_do(project):
    linker = Linker({"own"}, {("own.three", "extra"): ("own.three", "other")}, {("own.two", "Shape"): {"save"}})
    linker.take(("own.two", "main"))
    text = linker.text()
    assert _run(text) == pytest.approx(3.141592653589793 * 5 + 5 + 10 + 1000 + 1)
    defined = {node.name for node in ast.parse(text).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert defined == {"_one_check", "_two_check", "area", "Shape", "other", "main"}
    assert "# Said above the function." in text
    assert "import own" not in text
    assert "from own" not in text
    assert "import json" not in text


def test_what_cannot_be_linked_is_said(project):
    (project / "own" / "three.py").write_text("print(1)\n")
    linker = Linker({"own"})
    with pytest.raises(ValueError, match=r"own\.three, line 1"):
        linker.take(("own.three", "extra"))
    with pytest.raises(ValueError, match="defines no nothing"):
        Linker({"own"}).take(("own.one", "nothing"))


def test_the_models_own_file_is_whole_and_lean(repo_root, tmp_path):
    code = model_code()
    tree = ast.parse(code)
    imported = {a.name.partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {(n.module or "").partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert imported - set(sys.stdlib_module_names) == {"numpy", "torch", "safetensors", "transformers"}
    file = tmp_path / "modeling_skeletonllm.py"
    file.write_text(code.replace("# ruff: noqa\n", ""))
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9", str(file)]
    run = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout  # no name is missing and none is too many
    assert str(repo_root) not in code
    assert "composite_backward" not in code
