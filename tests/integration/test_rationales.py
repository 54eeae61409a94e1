"""Teacher over all training clips with Ray: nobody is asked twice, test clips never, a failure keeps its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines import manifest, rationales
from pipelines.config import FullConfig, RationalesConfig
from pipelines.datasource import ClipStore
from pipelines.errors import StageFailed, UserError
from pipelines.ingest import ingest
from pipelines.manifest import RunPaths
from pipelines.rationales import FAILED, PARTS, Asker, load_rationales, questions, read_parts
from pipelines.selection import select
from pipelines.teachers.base import Rationale, TeacherRequest
from pipelines.teachers.kinematic import KinematicTeacher
from skeleton_io import storage
from skeleton_io.demo import DemoConfig, write_demo

pytestmark = pytest.mark.usefixtures("ray_session")

DEMO = DemoConfig(subjects=7, test_subjects=1, repetitions=1, actions=("walk", "wave", "squat"), broken=False)


@pytest.fixture(scope="module")
def run_paths(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    folder = tmp_path_factory.mktemp("run")
    write_demo(folder / "demo", DEMO)
    inputs = {f"demo_{name}:{name}": str(folder / "demo" / f"demo_{name}") for name in ("ntu", "coco17", "bvh")}
    paths = RunPaths(str(folder / "run"))
    ingest(inputs, paths.shards, "ipc", 16)
    return paths


def config(**changes: object) -> FullConfig:
    return replace(FullConfig(), rationales=RationalesConfig(frames=3, image_size=48, **changes))


class Moody(KinematicTeacher):
    """Answers no question about squats."""

    def ask(self, request: TeacherRequest) -> Rationale:
        if request.label == "squat":
            raise ValueError("squats are\nnot my subject")
        return super().ask(request)


def columns(rows: list[dict[str, str]]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_training_clips_are_asked_once(run_paths: RunPaths) -> None:
    cfg = config()
    summary = rationales.run(cfg, run_paths)
    selection = select(cfg, ClipStore(run_paths.shards))
    wanted = {key for keys in selection.train.values() for key in keys}
    texts = load_rationales(run_paths.rationales)
    assert set(texts) == wanted
    assert not wanted & {
        key for part in (selection.validation, selection.test) for keys in part.values() for key in keys
    }
    assert (summary["asked"], summary["kept"], summary["failed"]) == (len(wanted), 0, 0)
    rows = read_parts(run_paths.rationales, "parts", PARTS, PARTS.names).to_pylist()
    assert all(row["text"].splitlines()[-1] == f"Label: {row['label']}" for row in rows)
    assert all(len(row["frames_sha256"]) == 64 and row["steps"] for row in rows)
    assert len({row["frames_sha256"] for row in rows}) > len(rows) // 2

    again = rationales.run(cfg, run_paths)
    assert again == summary

    # A run that was stopped: one part and the marks of a finished stage are missing.
    parts = storage.list_files(storage.join(run_paths.rationales, "parts"))
    assert len(parts) > 1
    for name in (f"parts/{parts[0]}", "index.json", "manifest.json"):
        storage.remove(storage.join(run_paths.rationales, name))
    left = len(read_parts(run_paths.rationales, "parts", PARTS, ["key"]))
    assert load_rationales(run_paths.rationales) == {}
    resumed = rationales.run(cfg, run_paths)
    assert (resumed["asked"], resumed["kept"]) == (len(wanted) - left, left)
    assert load_rationales(run_paths.rationales) == texts
    assert len(read_parts(run_paths.rationales, "parts", PARTS, ["key"])) == len(wanted)


def test_keys_follow_the_question_only(run_paths: RunPaths) -> None:
    store, cfg = ClipStore(run_paths.shards), config()
    keys = {row["clip"]: row["key"] for row in questions(cfg, store)}
    assert len(set(keys.values())) == len(keys)
    assert {row["clip"]: row["key"] for row in questions(replace(cfg, seed=5), store)} == keys
    assert {row["clip"]: row["key"] for row in questions(config(actors=1), store)} == keys
    finer = replace(cfg, rationales=replace(cfg.rationales, frames=4))
    assert not {row["key"] for row in questions(finer, store)} & set(keys.values())


def test_fewer_clips_and_sets(run_paths: RunPaths) -> None:
    store = ClipStore(run_paths.shards)
    full = {row["clip"] for row in questions(config(), store)}
    some = questions(config(max_clips=4), store)
    assert [row["dataset"] for row in some] == ["demo_bvh"] * 4 + ["demo_coco17"] * 4 + ["demo_ntu"] * 4
    assert {row["clip"] for row in some} < full
    cfg = config()
    one = questions(replace(cfg, train=replace(cfg.train, sets=("demo_ntu",))), store)
    assert {row["dataset"] for row in one} == {"demo_ntu"}
    with pytest.raises(UserError, match=r"train.sets names moon; the shards hold demo_bvh"):
        questions(replace(cfg, train=replace(cfg.train, sets=("moon",))), store)


def test_a_failed_clip_keeps_its_reason(run_paths: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rationales.TEACHERS, "kinematic", Moody)
    cfg = config()
    rows = questions(cfg, ClipStore(run_paths.shards))[:12]
    bad = [row for row in rows if row["label"] == "squat"]
    assert 0 < len(bad) < len(rows)
    asker = Asker(run_paths.shards, str(tmp_path), cfg.rationales, rationales.drawing(cfg))
    report = asker(columns(rows))
    assert (report["asked"].tolist(), report["failed"].tolist()) == ([len(rows)], [len(bad)])
    failed = read_parts(str(tmp_path), "failed", FAILED, FAILED.names).to_pylist()
    assert {row["clip"] for row in failed} == {row["clip"] for row in bad}
    assert {row["reason"] for row in failed} == {"ValueError: squats are not my subject"}
    asker(columns(rows))  # a repeated batch overwrites its own file
    assert len(read_parts(str(tmp_path), "parts", PARTS, ["key"])) == len(rows) - len(bad)
    summary = rationales._finish(cfg, str(tmp_path), rows, len(rows))
    assert (summary["failed"], summary["reasons"]) == (len(bad), ["ValueError: squats are not my subject"])
    assert set(load_rationales(str(tmp_path))) == {row["clip"] for row in rows} - {row["clip"] for row in bad}


def test_no_answer_at_all_is_a_failure(run_paths: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rationales.TEACHERS, "kinematic", Moody)
    cfg = config()
    squats = [row for row in questions(cfg, ClipStore(run_paths.shards)) if row["label"] == "squat"][:2]
    Asker(run_paths.shards, str(tmp_path), cfg.rationales, rationales.drawing(cfg))(columns(squats))
    with pytest.raises(StageFailed, match="not my subject"):
        rationales._finish(cfg, str(tmp_path), squats, 2)
    assert manifest.read_manifest(str(tmp_path)) is None
    assert load_rationales(str(tmp_path / "nothing")) == {}
