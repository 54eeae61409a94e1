"""The programs of docs/api.md run as they stand there: from the checkout, and from a wheel in another environment."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

DRIVER = """
import runpy, sys
for path in sys.argv[2:]:
    print("==", path, flush=True)
    sys.argv = [path, sys.argv[1]]
    runpy.run_path(path, run_name="__main__")
"""
"""All programs in one process, each in a namespace of its own: torch is loaded once."""
SAYS = (
    r"\d\d formats, among them .*\nbvh/\w+: 'wave', \d+ frames in .*\nleft_wrist: up to [12]\.\d+ m high and .*\n"
    r"right_wrist: up to 0\.\d+ m high and .*\n"
    r"(read: ntu/\w+\n)+cannot be read: .*expected .*, found ",
    r"\(2, 64, 25, 3\) \('(wave|squat)', '(wave|squat)'\)\n",
    r"coco17/\w+: \(6, 3, 128, 128\) -> frames.png\n",
    r"step 0: loss (?P<first>\d\.\d+)\n(.*\n)*step 7: loss (?P<last>\d\.\d+)\nthe .* by up to (?P<moved>0\.\d+)\n",
    r"(coco17/\w+: (wave|squat) \d+%; Which arm moves\? .*\n){2}",
)
"""What each program prints."""


def programs(repo_root: Path, folder: Path) -> list[Path]:
    """The Python blocks of the page as files."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (repo_root / "docs/api.md").read_text(), re.MULTILINE | re.DOTALL)
    paths = [folder / f"program{number}.py" for number in range(len(blocks))]
    for path, block in zip(paths, blocks, strict=True):
        path.write_text(block)
    return paths


def without_python_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def check_programs(python: Path, paths: list[Path], run: Path, cwd: Path, **env: str) -> None:
    """Runs them in an empty folder and looks at what each of them says."""
    command = [str(python), "-c", DRIVER, str(run), *map(str, paths)]
    variables = without_python_variables() | env
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = re.split(r"^== .*\n", done.stdout, flags=re.MULTILINE)[1:]
    assert len(paths) == len(said) == len(SAYS) == 5
    matches = [re.search(pattern, text) for pattern, text in zip(SAYS, said, strict=True)]
    assert all(matches), done.stdout
    assert (cwd / "frames.png").stat().st_size > 1000
    training = matches[3]
    assert training is not None
    assert float(training["last"]) < float(training["first"])
    assert float(training["moved"]) > 0


def test_every_program_of_the_page_runs(repo_root: Path, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    (tmp_path / "empty").mkdir()
    paths = programs(repo_root, tmp_path / "programs")
    check_programs(Path(sys.executable), paths, tiny_run, tmp_path / "empty", PYTHONPATH=str(repo_root))


@pytest.fixture(scope="module")
def wheel(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves files beside the sources."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pipelines", "models", "skeleton_io"):
        shutil.copytree(repo_root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repo_root / name, copy)
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out), str(copy))
    (path,) = out.glob("*.whl")
    return path


def pip(*arguments: str) -> None:
    """pip of this environment; while a shared Ray is up, PYTHONPATH names the checkout, and pip would find it there."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, env=without_python_variables(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_holds_every_file_that_is_no_code(repo_root: Path, wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pipelines", "models", "skeleton_io"}
    assert len(tops) == 4
    tracked = [
        path.relative_to(repo_root).as_posix()
        for package in ("pipelines", "models", "skeleton_io")
        for path in (repo_root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert sorted(set(tracked) - set(names)) == []
    kinds = {Path(name).suffix or Path(name).name for name in tracked}
    assert {".py", ".typed", ".yaml", ".j2", ".md", ".cpp"} <= kinds


@pytest.mark.slow
def test_the_wheel_runs_the_programs_in_an_environment_of_its_own(
    repo_root: Path, tiny_run: Path, wheel: Path, tmp_path: Path
) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    # The dependencies of this environment, but no .pth file of it: those of an editable checkout are not read.
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    places = "import models, pipelines, skeleton_io\nprint(models.__file__, pipelines.__file__, skeleton_io.__file__)"
    for folder in ("programs", "empty"):
        (tmp_path / folder).mkdir()
    command = [str(python), "-c", places]
    done = subprocess.run(command, cwd=tmp_path / "empty", env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(Path(place).is_relative_to(packages) for place in done.stdout.split()), done.stdout
    assert str(repo_root) not in done.stdout
    check_programs(python, programs(repo_root, tmp_path / "programs"), tiny_run, tmp_path / "empty")
    skel = subprocess.run([home / "bin" / "skel", "formats"], env={}, capture_output=True, text=True, check=True)
    assert "docs/formats/bvh.md" in skel.stdout
