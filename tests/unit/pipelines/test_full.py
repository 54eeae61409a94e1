"""`python pipelines/full.py`: what it runs where nothing is said, and the same errors as `skel`."""

from pathlib import Path

import pytest

from pipelines import full
from pipelines.runtime.errors import UserError


def test_without_arguments_the_demo_goes_into_the_home(monkeypatch, tmp_path, repo_root):
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments, fields = full.read_arguments([])
    assert arguments.config == str(repo_root / "tune_configs/full_demo.yaml")
    assert arguments.out == str(tmp_path / "skeleton-ray" / "demo")
    assert fields == []


def test_a_preset_without_out_has_a_folder_of_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments, fields = full.read_arguments(["--config", "presets/mine.yaml", "--train.workers", "3"])
    assert arguments.out == str(tmp_path / "skeleton-ray" / "mine")
    assert fields == ["--train.workers", "3"]
    assert full.read_arguments(["--out", "s3://b/run"])[0].out == "s3://b/run"


def test_it_says_what_it_runs_first(monkeypatch, capsys, tmp_path, repo_root):
    runs = []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(full, "run", lambda cfg, out, data_root: runs.append((cfg.name, out)))
    assert full.main([]) == 0
    assert runs == [("demo", f"{tmp_path}/skeleton-ray/demo")]
    first = capsys.readouterr().out.splitlines()[0]
    assert f"{repo_root}/tune_configs/full_demo.yaml -> {tmp_path}/skeleton-ray/demo" in first


def test_no_home_at_all(monkeypatch: pytest.MonkeyPatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(full.Path, "home", no_home)
    with pytest.raises(UserError, match="say where the run goes with --out"):
        full.read_arguments([])
    assert full.read_arguments(["--out", "/x"])[0].out == "/x"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--conifg", "x"], "full.py does not know --conifg; did you mean --config?"),
        (["--train.wrkers", "2"], "full.py does not know --train.wrkers; did you mean --train.workers?"),
    ],
)
def test_unknown_flags(capsys, monkeypatch, tmp_path, words, line):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert full.main(words) == 2
    assert capsys.readouterr().err == f"error: {line}\n"
