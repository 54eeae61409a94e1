"""The copied package has what is needed and nothing else, and works under any name."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from models.mllm.families.registry import FAMILIES
from pipelines.exports.packaging.package import CODE_FILE, CODE_PACKAGE, model_code
from pipelines.exports.packaging.source_copy import OWN, copy_package

FILES = {
    "models/__init__.py": "raise RuntimeError('the public API is not copied')\n",
    "models/shapes.py": '''
"""Says
from models.nowhere import in its own words.
"""

from __future__ import annotations

import math

from models import limits
from outside.bounds import LIMIT  # a foreign package


def area(radius: float) -> float:
    return math.pi * min(radius, LIMIT, limits.MOST) ** 2


def save() -> None:
    from models.heavy import write

    write()
''',
    "models/limits.py": "MOST = 100.0\n",
    "models/heavy.py": "import heavy_library\n",
    "pipelines/room/entry.py": """
from __future__ import annotations

from typing import TYPE_CHECKING

from models.shapes import area, save
from models.shapes import (
    area as same,
)

if TYPE_CHECKING:
    from pipelines.config import FullConfig


def main(cfg: FullConfig | None = None) -> float:
    return area(2) + same(1)
""",
    "pipelines/room/bounds.py": "LIMIT = 1.0\n",
}
STAND_INS = {"outside.bounds": "pipelines.room.bounds"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text(text.lstrip("\n"))
    return tmp_path / "project"


def write(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def imports_of(text: str) -> list[ast.Import | ast.ImportFrom]:
    """All imports that can run, those inside of functions too."""
    tree = ast.parse(text)
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    return [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]


def test_a_copy_computes_what_the_modules_do_under_any_name(project, tmp_path, monkeypatch):
    files = copy_package("pipelines.room.entry", project, STAND_INS)
    modules = [name for name in files if not name.endswith("__init__.py")]
    assert modules == ["models/limits.py", "models/shapes.py", "pipelines/room/bounds.py", "pipelines/room/entry.py"]
    assert {name: text for name, text in files.items() if name not in modules} == {
        "models/__init__.py": "",
        "pipelines/__init__.py": "",
        "pipelines/room/__init__.py": "",
    }
    assert "from models.nowhere import in its own words." in files["models/shapes.py"]
    assert "# a foreign package" in files["models/shapes.py"]
    write(files, tmp_path / "elsewhere" / "vendored_under_a_name")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    entry = importlib.import_module("vendored_under_a_name.pipelines.room.entry")
    assert entry.main() == pytest.approx(3.141592653589793 * 2)
    with pytest.raises(ModuleNotFoundError, match=r"vendored_under_a_name\.models\.heavy"):
        entry.save()


def test_what_cannot_be_copied_is_said(project):
    entry = project / "pipelines" / "room" / "entry.py"
    entry.write_text("import numpy\n\nfrom models import nothing\n")
    with pytest.raises(ValueError, match=r"pipelines\.room\.entry, line 3: models\.nothing"):
        copy_package("pipelines.room.entry", project)
    entry.write_text("import models.limits\n")
    with pytest.raises(ValueError, match=r"pipelines\.room\.entry, line 1: `import`"):
        copy_package("pipelines.room.entry", project)


def test_the_models_own_code_is_whole_and_lean(repo_root, tmp_path):
    code = model_code()
    own, foreign, absent = set(), set(), set()
    for name, text in code.items():
        assert str(repo_root) not in text
        package = name.removesuffix(".py").split("/")[:-1]
        for node in imports_of(text):
            if isinstance(node, ast.Import):
                foreign |= {alias.name.partition(".")[0] for alias in node.names}
            elif not node.level:
                foreign.add((node.module or "").partition(".")[0])
            else:
                above = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
                homes = (
                    ["/".join(above)]
                    if f"{'/'.join(above)}.py" in code
                    else ["/".join([*above, alias.name]) for alias in node.names]
                )
                own |= set(homes)
                absent |= {home for home in homes if f"{home}.py" not in code}
    assert foreign - set(sys.stdlib_module_names) - {CODE_PACKAGE} == {"numpy", "torch", "safetensors", "transformers"}
    # The optional parts.
    assert absent == {
        f"{CODE_PACKAGE}/models/draction/rasterize/native",
        f"{CODE_PACKAGE}/models/draction/rasterize/triton",
        f"{CODE_PACKAGE}/models/mllm/lora",
    }
    modules = {name.removesuffix(".py") for name in code if not name.endswith("__init__.py")}
    entry = f"{CODE_PACKAGE}/pipelines/exports/packaging/standalone"
    # Their table names them by strings.
    families = {f"{CODE_PACKAGE}/models/mllm/families/{place.partition(':')[0][1:]}" for place in FAMILIES.values()}
    assert modules - own == {CODE_FILE.removesuffix(".py"), entry, *families}  # none too many
    write(code, tmp_path)
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9", str(tmp_path)]
    run = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_every_module_of_ours_is_copied_as_it_is(repo_root):
    for name, text in model_code().items():
        path = name.removeprefix(f"{CODE_PACKAGE}/")
        if path.partition("/")[0] not in OWN or not text:
            continue
        for ours, copied in zip((repo_root / path).read_text().splitlines(), text.splitlines(), strict=True):
            assert ours == copied or copied.lstrip().startswith("from ."), (path, ours, copied)
