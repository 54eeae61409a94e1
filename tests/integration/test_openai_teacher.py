"""The API teacher against a local server over real HTTP: faults, resume, budget, secrets."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.config.rationales import AcceptConfig, ApiTeacherConfig, RationalesConfig
from pipelines.config.tree import FullConfig
from pipelines.ingest.stage import ingest
from pipelines.rationales import costs, openai_batch, vllm
from pipelines.rationales import stage as rationales
from pipelines.rationales.answers import load_rationales
from pipelines.rationales.stage import ledger_uri
from pipelines.rationales.teachers.ledger import Ledger
from pipelines.runtime.errors import StageFailed, UserError
from pipelines.runtime.paths import RunPaths
from skeleton_io.demo.dataset import DemoConfig, write_demo

pytestmark = pytest.mark.usefixtures("ray_session")
# Made anew each time: Ray may hold a copy of this very file in the folder that is searched for it.
KEY = "sk-test-" + secrets.token_hex(12)
DEMO = DemoConfig(subjects=7, test_subjects=1, repetitions=2, actions=("walk", "wave", "squat"), broken=False)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    write_demo(folder / "demo", DEMO)
    paths = RunPaths(str(folder / "run"))
    ingest({"demo_ntu:ntu": str(folder / "demo" / "demo_ntu")}, paths.shards, "ipc", 16)
    return paths.shards


@pytest.fixture
def paths(shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "shards").symlink_to(shards)
    return RunPaths(str(tmp_path / "run"))


def config(server, **changes: object) -> FullConfig:
    api = ApiTeacherConfig(
        base_url=f"{server.url}/v1",
        model="local",
        api_key_env="TEACHER_KEY",
        in_flight=16,
        timeout_s=3.0,
        usd_per_million_input=2.0,
        usd_per_million_output=8.0,
    )
    asked = {name: changes.pop(name) for name in ("blind_samples", "retry_failed") if name in changes}
    api = replace(api, **changes)
    # The server's words fit no clip: only the label decides here.
    accept = AcceptConfig(min_grounding=0.0, min_score=-9.0, max_contradicted=99)
    asked |= {"api": api, "accept": accept, "frames": 2, "image_size": 32}
    return replace(FullConfig(), rationales=RationalesConfig(teacher="openai_api", **asked))


def batched(cfg: FullConfig, **changes: object) -> FullConfig:
    api = replace(cfg.rationales.api, batch_poll_s=0.1, **changes)
    return replace(cfg, rationales=replace(cfg.rationales, teacher="openai_batch", api=api))


def lines(cfg: FullConfig, paths: RunPaths) -> list[dict]:
    return list(Ledger(ledger_uri(cfg, paths.rationales)).lines())


def test_every_clip_gets_one_answer_through_passing_faults(paths: RunPaths, teacher_server) -> None:
    teacher_server.control(faults={"429": 0.2, "500": 0.2, "hang": 0.03}, key=KEY)
    cfg = config(teacher_server)
    summary = rationales.run(cfg, paths)
    counts = teacher_server.control()
    assert summary["failed"] == 0
    assert summary["answered"] == summary["wanted"] == counts["distinct"]
    assert counts["again"] == 0
    assert counts["requests"] > counts["distinct"]
    found = lines(cfg, paths)
    assert len(found) == summary["wanted"]
    assert max(line["attempts"] for line in found) > 1
    assert summary["tokens"] == sum(line["usage"]["input"] + line["usage"]["output"] for line in found) > 0
    assert summary["usd"] == pytest.approx(sum(line["usd"] for line in found), abs=1e-5)
    assert set(load_rationales(paths.rationales)) == {line["clip"] for line in found}
    assert rationales.run(cfg, paths) == summary
    assert teacher_server.control()["requests"] == counts["requests"]


@pytest.mark.slow
def test_lasting_faults_are_dead_letters_and_can_be_asked_again(paths: RunPaths, teacher_server) -> None:
    kinds = {"malformed": 0.15, "refused": 0.15, "truncated": 0.15, "empty": 0.15, "400": 0.15}
    teacher_server.control(faults=kinds, sticky=True)
    cfg = config(teacher_server)
    summary = rationales.run(cfg, paths)
    dead = [line for line in lines(cfg, paths) if line["status"] == "failed"]
    assert {line["kind"] for line in dead} >= {"malformed", "refused", "truncated", "empty", "rejected"}
    assert summary["failed"] == len(dead) > 0
    assert summary["answered"] + summary["failed"] == summary["wanted"]
    assert sum(line["usd"] for line in dead) > 0
    assert not {line["clip"] for line in dead} & set(load_rationales(paths.rationales))
    before = teacher_server.control()["requests"]
    teacher_server.control(faults={})
    again = rationales.run(replace(cfg, rationales=replace(cfg.rationales, retry_failed=True)), paths)
    assert (again["failed"], again["asked"]) == (0, len(dead))
    assert teacher_server.control()["requests"] - before == len(dead)


def test_wrong_labels_are_answered_and_not_accepted(paths: RunPaths, teacher_server) -> None:
    teacher_server.control(faults={"wrong_label": 0.4})
    summary = rationales.run(config(teacher_server), paths)
    assert 0 < summary["accepted"] < summary["answered"] == summary["wanted"]
    assert summary["rejected"]["label_equal"] == summary["answered"] - summary["accepted"]


@pytest.mark.slow
def test_words_that_the_motion_does_not_bear_out_are_not_accepted(paths: RunPaths, teacher_server) -> None:
    cfg = config(teacher_server)
    strict = replace(cfg, rationales=replace(cfg.rationales, accept=AcceptConfig()))
    rationales.run(cfg, paths)
    requests = teacher_server.control()["requests"]
    summary = rationales.run(strict, paths)
    assert summary["accepted"] < summary["answered"] == summary["kept"]
    assert set(summary["rejected"]) <= {"min_grounding", "min_score", "max_contradicted"}
    assert teacher_server.control()["requests"] == requests


def test_a_server_without_schemas_is_asked_in_words(paths: RunPaths, teacher_server) -> None:
    teacher_server.control(knows_schema=False)
    summary = rationales.run(config(teacher_server), paths)
    assert summary["failed"] == 0


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "key was refused"),
        pytest.param(404, "no such model", marks=pytest.mark.slow),
        pytest.param("insufficient_quota", "no credit", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_succeed_stops_at_once(paths: RunPaths, teacher_server, status, said: str) -> None:
    teacher_server.control(status=status)
    cfg = config(teacher_server)
    with pytest.raises(StageFailed, match=said) as caught:
        rationales.run(cfg, paths)
    assert KEY not in str(caught.value)
    assert teacher_server.control()["requests"] <= cfg.rationales.api.in_flight * 2
    assert not lines(cfg, paths)


def test_the_budget_stops_and_keeps(paths: RunPaths, teacher_server) -> None:
    cfg = config(teacher_server, budget_tokens=12000, in_flight=4)
    with pytest.raises(StageFailed, match="budget of 12000 tokens is used up"):
        rationales.run(cfg, paths)
    found = lines(cfg, paths)
    spent = sum(line["usage"]["input"] + line["usage"]["output"] for line in found)
    window = 4 * max(line["usage"]["input"] + line["usage"]["output"] for line in found)
    assert 0 < spent <= 12000 + window
    assert teacher_server.control()["distinct"] == len(found)
    more = rationales.run(config(teacher_server), paths)
    assert more["kept"] == len(found)


def test_blind_questions_hide_the_label(paths: RunPaths, teacher_server) -> None:
    cfg = config(teacher_server, blind_samples=2)
    summary = rationales.run(cfg, paths)
    blind = [line for line in lines(cfg, paths) if line["purpose"] == "blind"]
    assert len(blind) == 2 * summary["wanted"]


def test_the_key_shows_nowhere(paths: RunPaths, teacher_server, capfd: pytest.CaptureFixture[str]) -> None:
    teacher_server.control(key="another")
    cfg = config(teacher_server)
    with pytest.raises(StageFailed) as caught:
        rationales.run(cfg, paths)
    texts = [str(caught.value), repr(cfg), *capfd.readouterr()]
    session = Path(os.path.realpath(os.path.join(os.environ["RAY_TMPDIR"], "ray", "session_latest")))
    for folder in (Path(paths.root), session):
        texts += [file.read_text(errors="replace") for file in folder.rglob("*") if file.is_file()]
    assert len(texts) > 10
    assert not [text[:200] for text in texts if KEY in text]


def test_a_missing_key_is_said_before_anything_starts(
    paths: RunPaths, teacher_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEACHER_KEY")
    with pytest.raises(UserError, match="TEACHER_KEY"):
        rationales.run(config(teacher_server), paths)


def test_batches_are_adopted_after_a_crash_and_share_keys_with_the_api(
    paths: RunPaths, teacher_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher_server.control(faults={"500": 0.1, "malformed": 0.1}, sticky=True)
    cfg = batched(config(teacher_server), batch_requests=10)

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(openai_batch, "_wait", killed)
        with pytest.raises(KeyboardInterrupt):
            rationales.run(cfg, paths)
    folder = Path(ledger_uri(cfg, paths.rationales)) / "batches"
    states = sorted(folder.glob("*.json"))
    assert len(states) > 1
    # The moment between creating a batch and noting its name.
    lost = json.loads(states[0].read_text())
    states[0].write_text(json.dumps({**lost, "batch": ""}))
    summary = rationales.run(cfg, paths)
    counts = teacher_server.control()
    assert counts["requests"] == summary["wanted"]
    assert summary["failed"] > 0
    assert summary["answered"] + summary["failed"] == summary["wanted"]
    assert not list(folder.iterdir())
    direct = config(teacher_server)
    assert rationales.run(direct, paths)["answered"] == summary["answered"]
    assert teacher_server.control()["requests"] == counts["requests"]


def test_a_dry_run_counts_and_sends_nothing(paths: RunPaths, teacher_server, capsys) -> None:
    cfg = config(teacher_server, blind_samples=1)
    found = costs.estimate(cfg, paths)
    assert teacher_server.control()["requests"] == 0
    real = rationales.run(cfg, paths)
    requests = found.total.requests
    assert requests == teacher_server.control()["requests"] == 2 * real["wanted"]
    assert real["tokens"] <= found.total.input + found.total.output
    assert real["usd"] <= found.total.usd
    costs.show(cfg, paths)
    assert f"{requests} questions are settled" in capsys.readouterr().out


def test_vllm_rows_become_lines(paths: RunPaths, teacher_server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine needs GPUs; everything around it is real."""
    monkeypatch.setattr(vllm, "processor", lambda cfg: lambda rows: rows.map(fake_engine))
    cfg = replace(config(teacher_server), rationales=replace(config(teacher_server).rationales, teacher="vllm"))
    summary = rationales.run(cfg, paths)
    assert 0 < summary["failed"] < summary["wanted"]
    assert summary["answered"] + summary["failed"] == summary["wanted"]
    assert summary["usd"] == 0 < summary["tokens"]


def fake_engine(row: dict) -> dict:
    body = json.loads(row["body"])
    assert sum(part["type"] == "image_url" for part in body["messages"][1]["content"]) == 2
    words = {"summary": "s", "steps": [], "evidence": "", "label": row["label"]}
    error = "out of memory" if int(row["key"][:2], 16) < 64 else ""
    text = "" if error else json.dumps(words)
    return {
        **row,
        "generated_text": text,
        "num_input_tokens": 5,
        "num_generated_tokens": 7,
        "__inference_error__": error,
    }


def test_vllm_absent_is_said(teacher_server) -> None:
    with pytest.raises(UserError, match=r"skeleton-ray\[vllm\]"):
        vllm.processor(config(teacher_server))
