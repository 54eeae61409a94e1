"""`skel robustness`, `captions`, `questions` on Ray Data: worker counts, rows that are kept, the files' fields."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from models.config import MLLMConfig, RendererConfig, TinyMLLMConfig
from pipelines.config.loading import decode
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.evaluation import robustness
from pipelines.evaluation.any_checkpoint import EvaluationRequest
from pipelines.evaluation.captions import run_captions
from pipelines.evaluation.questions import run_questions
from pipelines.evaluation.robustness import RobustnessRequest
from pipelines.exports.store import build_model, write_export
from pipelines.ingest.stage import ingest
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from pipelines.scores.rows import read_rows
from pipelines.training import tiny_mllm
from skeleton_io.demo.dataset import DemoConfig, write_demo

pytestmark = pytest.mark.usefixtures("ray_session")

DEMO = DemoConfig(
    subjects=2, test_subjects=1, repetitions=1, test_repetitions=2, actions=("wave", "push"), broken=False
)
CHANGING = ("written", "seconds")


@pytest.fixture(scope="module")
def run_paths(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """Shards of one generated set with captions-free clips, and an untrained tiny model in `model/`."""
    folder = tmp_path_factory.mktemp("run")
    write_demo(folder / "demo", DEMO)
    paths = RunPaths(str(folder / "run"))
    ingest({"demo_ntu:ntu": str(folder / "demo" / "demo_ntu")}, paths.shards, "ipc", 16)
    cfg = decode({"name": "t", "evaluate": {"batch": 4, "actors": 1, "bootstrap": 50}}, "test")
    tiny = TinyMLLMConfig(vision_width=32, vision_layers=1, llm_width=32, llm_layers=1, heads=2, vocab=300)
    drawn = RendererConfig(frames=2, image_size=32, samples_per_bone=2)
    cfg = dataclasses.replace(cfg, renderer=drawn, mllm=MLLMConfig(tiny=tiny))
    tiny_mllm.run(cfg, paths)
    labels = select(cfg, ClipStore(paths.shards)).labels
    write_export(build_model(cfg, paths.mllm), cfg, labels, paths.at("model"))
    return paths


def asked(paths: RunPaths, out: Path, *overrides: str) -> EvaluationRequest:
    return EvaluationRequest(paths.at("model"), paths.shards, (), (), str(out), overrides)


def told(folder: Path, file: str) -> dict[str, object]:
    return {k: v for k, v in json.loads((folder / file).read_text()).items() if k not in CHANGING}


@pytest.mark.slow
def test_curves_do_not_depend_on_workers_and_go_on_where_rows_are(run_paths: RunPaths, tmp_path: Path) -> None:
    curves = ("joint-dropout", "missing-person")
    for workers in ("1", "2"):
        base = asked(run_paths, tmp_path / workers, "--evaluate.actors", workers)
        robustness.run(RobustnessRequest(base, curves, 2))
    one = told(tmp_path / "1", "robustness.json")
    assert told(tmp_path / "2", "robustness.json") == one
    dropout, missing = one["curves"]
    assert (dropout["name"], len(dropout["points"]), len(dropout["points"][1]["seeds"])) == ("joint-dropout", 5, 2)
    assert missing["clips"] == one["clips"] // 2  # the pushes
    # A run that had stopped: a part of its rows is gone, so is its manifest.
    folder = tmp_path / "1" / "robustness"
    rows = folder / str(one["rows"])
    parts = sorted(rows.glob("part-*.parquet"))
    parts[0].unlink()
    kept = {part.name: part.stat().st_mtime_ns for part in parts[1:]}
    (folder / "manifest.json").unlink()
    robustness.run(RobustnessRequest(asked(run_paths, tmp_path / "1"), curves, 2))
    assert told(tmp_path / "1", "robustness.json") == one
    assert all((rows / name).stat().st_mtime_ns == time for name, time in kept.items())


def test_questions_of_the_motion_and_of_a_file(run_paths: RunPaths, tmp_path: Path) -> None:
    run_questions(asked(run_paths, tmp_path), "", 4)
    found = told(tmp_path, "qa.json")
    assert found["questions"] == found["overall"]["n"] > 20
    assert {"which hand", "persons"} <= {kind["kind"] for kind in found["kinds"]}
    assert 0 < found["overall"]["chance"] < found["overall"]["majority"] <= 1
    assert all(example["picked"] is not None and example["said"] is not None for example in found["examples"])
    clip = ClipStore(run_paths.shards).keys[0]
    (tmp_path / "mine.json").write_text(json.dumps([{"clip": clip, "question": "Who?", "answer": "a person"}]))
    run_questions(asked(run_paths, tmp_path / "mine"), str(tmp_path / "mine.json"), 0)
    mine = told(tmp_path / "mine", "qa.json")
    assert (mine["overall"]["closed"], mine["overall"]["free"]["n"]) == (None, 1)
    (tmp_path / "mine.json").write_text('[{"clip": "a/b", "question": "?", "answer": "c"}]')
    with pytest.raises(UserError, match="no clip"):
        run_questions(asked(run_paths, tmp_path / "bad"), str(tmp_path / "mine.json"), 0)


def test_captions_are_held_against_the_motion(run_paths: RunPaths, tmp_path: Path) -> None:
    run_captions(asked(run_paths, tmp_path), "", 0)
    found = told(tmp_path, "captions.json")
    assert found["clips"] == len(found["examples"]) == len(read_rows(str(next((tmp_path / "captions").glob("rows-*")))))
    assert found["facts"]["recall"]["n"] == found["clips"]
    assert {"said", "stated", "right", "facts", "named"} <= set(found["examples"][0])
