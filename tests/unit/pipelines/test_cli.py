"""The command line: exit code 2 with one line for what the user can mend, and help that loads no torch."""

import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines import cli
from pipelines.cluster import launch
from pipelines.runtime.arguments import flags_of
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
        (["ingest", "--out", "x", "--input", "a=b", "a=c"], "names the set a twice"),
        (["ingest", "--out", "x", "--input", "a=b", "--input", "c=d"], "--input is given twice"),
        (["ingest", "--out", "x", "--input", "a=b", "--seed", "1"], "--seed is a field of a configuration"),
        (["ingest", "--out", "x", "--input", "sbu=y", "--workers"], "does not know --workers"),
    ],
)
def test_ingest_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert message in fails(capsys, *arguments)


@pytest.mark.parametrize("commands", [[""], list(cli.ENTRIES)], ids=["overview", "commands"])
def test_help_is_light(commands: list[str]) -> None:
    code = (
        "import sys; from pipelines import cli\n"
        "for name in sys.argv[1:]:\n    assert cli.main([name, '--help'] if name else ['--help']) == 0, name\n"
        "heavy = {'torch', 'ray', 'transformers', 'deepspeed'}\n"
        "heavy |= set() if sys.argv[1] else {'tyro', 'pydantic', 'numpy', 'pyarrow', 'argparse'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    run = subprocess.run([sys.executable, "-c", code, *commands], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("usage: skel ") == len(commands)


def test_port_in_use(capsys: pytest.CaptureFixture[str], repo_root: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} .--port. is in use"):
            launch.pick_port(port, "--port")
        code = launch.main(["--config", str(repo_root / DEMO), "--out", str(tmp_path), "--dashboard-port", str(port)])
    assert code == 2
    assert f"port {port} (--dashboard-port) is in use" in capsys.readouterr().err


def test_the_launcher_has_the_same_errors(capsys: pytest.CaptureFixture[str]) -> None:
    program = "python -m pipelines.cluster.launch"
    assert launch.main(["--config", DEMO, "--out", "x", "--prot", "1"]) == 2
    assert capsys.readouterr().err == f"error: {program} does not know --prot; did you mean --port?\n"
    assert launch.main(["--config", DEMO, "--out", "x", "--num-cpus", "all"]) == 2
    assert "--num-cpus" in capsys.readouterr().err
    assert launch.main(["--config", DEMO]) == 2
    assert f"{program} needs --out RUN" in capsys.readouterr().err


def test_describe_of_known_files_says_so_and_is_no_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_demo(tmp_path, DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("walk",)))
    assert cli.main(["describe", str(tmp_path / "demo_bvh")]) == 0
    said = capsys.readouterr()
    assert "known files, no YAML is needed" in said.out + said.err
    assert "error" not in said.out + said.err


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    code = (
        "import sys; from pipelines.runtime.exits import guarded\n"
        "sys.exit(guarded(lambda: [print('row') for _ in range(200000)]))"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdout.readline()
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait() == 141


@pytest.mark.parametrize("command", ["evaluate", "robustness", "captions", "questions"])
def test_a_wrong_model_is_said_before_ray_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    for module in ("evaluate", "language"):
        monkeypatch.setattr(f"pipelines.commands.{module}.connected", lambda: pytest.fail("Ray was started"))
    where = ["--shards", str(tmp_path), "--out", str(tmp_path / "out")]
    for flag in ("--model", "--checkpoint"):
        assert f"--model {tmp_path}/none: no such folder" in fails(capsys, command, flag, f"{tmp_path}/none", *where)


@pytest.mark.parametrize(("command", "fields"), [("formats", False), ("inspect", False), ("train", True)])
def test_help_speaks_of_fields_where_there_are_some(
    capsys: pytest.CaptureFixture[str], command: str, fields: bool
) -> None:
    assert cli.main([command, "--help"]) == 0
    assert ("--train.zero-stage" in capsys.readouterr().out) is fields


def test_a_wrong_curve_or_file_of_questions_is_said_before_ray_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("evaluate", "language"):
        monkeypatch.setattr(f"pipelines.commands.{module}.connected", lambda: pytest.fail("Ray was started"))
    monkeypatch.setattr("pipelines.evaluation.any_checkpoint.check_request", lambda asked: None)
    monkeypatch.setattr("pipelines.data.clip_store.ClipStore", lambda uri: SimpleNamespace(keys=("a/b",)))
    where = ["--model", str(tmp_path), "--shards", str(tmp_path), "--out", str(tmp_path / "out")]
    assert "--curves noize" in fails(capsys, "robustness", *where, "--curves", "noize")
    file = tmp_path / "questions.json"
    file.write_text('[{"clip": "a/c", "question": "What?", "answer": "walk"}]')
    assert "no clip 'a/c' in the shards" in fails(capsys, "questions", *where, "--file", str(file))


def test_every_command_is_in_one_group_and_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert sum(map(len, cli.GROUPS.values())) == len(cli.ENTRIES)
    for name, entry in cli.ENTRIES.items():
        assert f"  {name:<13} {entry.summary}" in overview
        assert len(entry.summary) <= 65
        assert cli.main([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"usage: skel {name} ")
        assert f"  skel {name}" in text


@pytest.mark.parametrize("name", cli.ENTRIES)
def test_one_form_of_error_for_an_unknown_flag(capsys: pytest.CaptureFixture[str], name: str) -> None:
    nearest = max((flag for flag in flags_of(cli.command_class(name)) if flag != "--checkpoint"), key=len)
    line = fails(capsys, name, nearest[:-1] + "x" + nearest[-1], "1")
    assert line == f"error: skel {name} does not know {nearest[:-1]}x{nearest[-1]}; did you mean {nearest}?"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "a", "--chekpoint", "r"], "skel predict does not know --chekpoint; did you mean --model?"),
        (["predct"], "skel does not know predct; did you mean predict?"),
        (["zzz"], "skel does not know zzz; see skel --help"),
        (["formats", "x"], "skel formats does not know x; see skel formats --help"),
        (["train", "x", "--config", DEMO, "--out", "y"], "skel train does not know x; see skel train --help"),
        (["config", "--train.wrkers", "2"], "skel config does not know --train.wrkers; did you mean --train.workers?"),
        (["config", "--zero-stage", "2"], "skel config does not know --zero-stage; did you mean --train.zero-stage?"),
        (["config", "--train.workers", "2", "3"], "skel config does not know 3; see skel config --help"),
        (["config", "--train.workers", "two"], "--train.workers: expected a whole number, found 'two'"),
        (["config", "--train.zero-stage", "9"], "--train.zero-stage: expected 0, 1, 2, 3; found 9"),
        (["config", "--train.workers"], "--train.workers needs a value"),
        (["demo-data", "x", "--subjects", "1"], "subjects must be at least 2, found 1"),
        (["compare", "a"], "skel compare needs A B; see skel compare --help"),
        (["predict", "--model", "r"], "skel predict needs INPUT...; see skel predict --help"),
        (["train", "--config", "x"], "skel train needs --out RUN; see skel train --help"),
        (["render", "a", "--camera", "front"], "--camera: expected fit, identity; found front"),
        (["render", "a", "--views", "0,90"], "--views '0,90': values are given with spaces between them: --views 0 90"),
        (["export", "s", "--to", "npz", "--out", "x", "--sets", "a,b"], "--sets 'a,b': values are given with spaces"),
        (["evaluate", "--model", "r", "--shards", "s", "--out", "o", "--beside", "x"], "--beside x: expected NAME=RUN"),
    ],
)
def test_mistakes_cost_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, repo_root: Path, words: list[str], message: str
) -> None:
    monkeypatch.chdir(repo_root)
    assert fails(capsys, *words).startswith(f"error: {message}")


def test_nothing_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert capsys.readouterr().out == cli.overview() + "\n"


@pytest.mark.parametrize("words", [["--help"], ["config", "--help"]])
def test_help_into_a_reader_that_goes_away_is_quiet(words: list[str]) -> None:
    command = [sys.executable, "-m", "pipelines.cli", *words]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        run = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (141, "")


def test_lists_are_given_by_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = []
    monkeypatch.setattr("pipelines.inference.predict.run", lambda inputs, options: requests.append((inputs, options)))
    assert cli.main(["predict", "a.bvh", "b", "--checkpoint=r", "--labels", "walk", "wave hello", "--top=3"]) == 0
    ((inputs, options),) = requests
    assert inputs == ("a.bvh", "b")
    assert (options.checkpoint, options.asked.labels, options.asked.top) == ("r", ("walk", "wave hello"), 3)


def test_an_evaluation_takes_lists_and_fields(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    requests = []
    monkeypatch.setattr("pipelines.evaluation.any_checkpoint.check_request", requests.append)
    monkeypatch.setattr("pipelines.evaluation.any_checkpoint.run", lambda request: None)
    monkeypatch.setattr("pipelines.commands.evaluate.connected", nullcontext)
    monkeypatch.setattr("pipelines.commands.evaluate.require", lambda *what: None)
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "--model", "r", "--shards", "s3://b/s", "--out", "o", "--evaluate.actors", "2"]
    words += ["--sets", "a", "b", "--protocol", "a=x", "b=y", "--beside", "stick=q", "--answer", "reason"]
    assert cli.main(words) == 0
    (request,) = requests
    assert (request.sets, request.protocols) == (("a", "b"), ("a=x", "b=y"))
    assert (request.model, request.shards) == (str(tmp_path / "r"), "s3://b/s")
    beside = ("--evaluate.beside", "stick", str(tmp_path / "q"))
    assert request.overrides == ("--evaluate.actors", "2", "--evaluate.answer", "reason", *beside)


def test_train_local_starts_no_ray(monkeypatch: pytest.MonkeyPatch, repo_root: Path, tmp_path: Path) -> None:
    runs = []
    monkeypatch.setattr("pipelines.training.stage.train_local", lambda cfg, paths: runs.append((cfg, paths)))
    monkeypatch.setattr("pipelines.commands.run.connected", lambda: pytest.fail("Ray was started"))
    words = ["train", "--config", str(repo_root / DEMO), "--out", str(tmp_path), "--train.workers", "4", "--local"]
    assert cli.main(words) == 0
    ((cfg, paths),) = runs
    assert (cfg.train.workers, paths.root) == (4, str(tmp_path))
