"""The command line: exit code 2 with one line for what the user can mend, and help that loads no torch."""

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines import cli
from pipelines.cluster import launch
from pipelines.runtime.errors import UserError
from skeleton_io.demo.dataset import DemoConfig, write_demo

DEMO = "tune_configs/full_demo.yaml"


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_missing_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no configuration at no.yaml" in fails(capsys, "full", "--config", "no.yaml", "--out", "x")


def test_data_root_needed(capsys: pytest.CaptureFixture[str], repo_root: Path) -> None:
    preset = str(repo_root / "tune_configs/full_real.yaml")
    assert "needs --data-root" in fails(capsys, "full", "--config", preset, "--out", "x")


def test_missing_folder(capsys: pytest.CaptureFixture[str], repo_root: Path) -> None:
    preset = str(repo_root / "tune_configs/full_real.yaml")
    line = fails(capsys, "full", "--config", preset, "--out", "x", "--data-root", "/no/such")
    assert "msr_action3d: no folder at /no/such/msr_action3d" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ingest", "--out", "x"], "nothing to ingest"),
        (["ingest", "--out", "x", "--input", "msr_action3d"], "takes NAME=PATH"),
        (["ingest", "--out", "x", "--input", "a=b", "--input", "a=c"], "names the set a twice"),
        (["ingest", "--out", "x", "--input", "sbu=y", "--workers"], "does not know --workers"),
    ],
)
def test_ingest_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert message in fails(capsys, *arguments)


@pytest.mark.parametrize("command", [[], ["full"], ["ingest"], ["train"], ["config"], ["inspect"]])
def test_help_is_light(command: list[str]) -> None:
    code = (
        "import sys; from pipelines import cli\n"
        "try:\n    cli.main(sys.argv[1:] + ['--help'])\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'ray', 'transformers', 'deepspeed'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    run = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "usage" in run.stdout


def test_port_in_use(capsys: pytest.CaptureFixture[str], repo_root: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} .--port. is in use"):
            launch.pick_port(port, "--port")
        code = launch.main(["--config", str(repo_root / DEMO), "--out", str(tmp_path), "--dashboard-port", str(port)])
    assert code == 2
    assert f"port {port} (--dashboard-port) is in use" in capsys.readouterr().err


def test_describe_of_known_files_says_so_and_is_no_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_demo(tmp_path, DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("walk",)))
    assert cli.main(["describe", str(tmp_path / "demo_bvh")]) == 0
    said = capsys.readouterr()
    assert "known files, no YAML is needed" in said.out + said.err
    assert "error" not in said.out + said.err


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    code = (
        "import sys; from pipelines import full\nsys.exit(full.guarded(lambda: [print('row') for _ in range(200000)]))"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdout.readline()
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait() == 141


@pytest.mark.parametrize("command", ["evaluate", "robustness", "captions", "questions"])
def test_a_wrong_checkpoint_is_said_before_ray_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    for module in ("evaluate", "robustness", "words"):
        monkeypatch.setattr(f"pipelines.commands.{module}.connected", lambda: pytest.fail("Ray was started"))
    where = ["--checkpoint", str(tmp_path / "none"), "--shards", str(tmp_path), "--out", str(tmp_path / "out")]
    assert "no such folder" in fails(capsys, command, *where)


@pytest.mark.parametrize(("command", "fields"), [("formats", False), ("inspect", False), ("train", True)])
def test_help_speaks_of_fields_where_there_are_some(
    capsys: pytest.CaptureFixture[str], command: str, fields: bool
) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert ("--train.zero-stage" in capsys.readouterr().out) is fields


def test_a_wrong_curve_or_file_of_questions_is_said_before_ray_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("robustness", "words"):
        monkeypatch.setattr(f"pipelines.commands.{module}.connected", lambda: pytest.fail("Ray was started"))
    monkeypatch.setattr("pipelines.evaluation.any_checkpoint.check_request", lambda asked: None)
    monkeypatch.setattr("pipelines.data.clip_store.ClipStore", lambda uri: SimpleNamespace(keys=("a/b",)))
    where = ["--checkpoint", str(tmp_path), "--shards", str(tmp_path), "--out", str(tmp_path / "out")]
    assert "--curves noize" in fails(capsys, "robustness", *where, "--curves", "noize")
    file = tmp_path / "questions.json"
    file.write_text('[{"clip": "a/c", "question": "What?", "answer": "walk"}]')
    assert "no clip 'a/c' in the shards" in fails(capsys, "questions", *where, "--file", str(file))
