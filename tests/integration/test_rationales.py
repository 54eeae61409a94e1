"""Teacher over all training clips with Ray: nobody is asked twice, test clips never, a failure keeps its reason."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config.rationales import AcceptConfig, RationalesConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.ingest.stage import ingest
from pipelines.rationales import costs
from pipelines.rationales import stage as rationales
from pipelines.rationales.answers import load_rationales
from pipelines.rationales.stage import list_tasks
from pipelines.rationales.teachers.base import Answer, TeacherRequest, Usage
from pipelines.rationales.teachers.ledger import Ledger
from pipelines.rationales.teachers.registry import TEACHERS, TeacherEntry
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from skeleton_io import storage
from skeleton_io.demo.dataset import DemoConfig, write_demo

pytestmark = pytest.mark.usefixtures("ray_session")

DEMO = DemoConfig(subjects=7, test_subjects=1, repetitions=1, actions=("walk", "wave", "squat"), broken=False)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    write_demo(folder / "demo", DEMO)
    inputs = {f"demo_{name}:{name}": str(folder / "demo" / f"demo_{name}") for name in ("ntu", "coco17", "bvh")}
    paths = RunPaths(str(folder / "run"))
    ingest(inputs, paths.shards, "ipc", 16)
    return paths.shards


@pytest.fixture
def run_paths(shards: str, tmp_path) -> RunPaths:
    """A run of its own over the shards of the module."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "shards").symlink_to(shards)
    return RunPaths(str(tmp_path / "run"))


def config(**changes: object) -> FullConfig:
    return replace(FullConfig(), rationales=RationalesConfig(frames=3, image_size=48, **changes))


def answers(paths: RunPaths) -> list[dict]:
    data = storage.read_bytes(storage.join(paths.rationales, "answers.parquet"))
    return pq.read_table(pa.BufferReader(data)).to_pylist()


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
    rows = answers(run_paths)
    assert all(row["text"].splitlines()[-1] == f"Label: {row['label']}" and row["steps"] for row in rows)
    assert {row["clip"]: row["text"] for row in rows} == texts

    again = rationales.run(cfg, run_paths)
    assert again == summary

    # A run that was stopped: the tail of the ledger and the marks of a finished stage are missing.
    segments = storage.list_files(storage.join(run_paths.rationales, "ledger"))
    segment = storage.join(run_paths.rationales, "ledger", segments[0])
    whole = storage.read_bytes(segment)
    storage.write_atomic(segment, whole[: len(whole) * 2 // 3])
    for name in ("index.json", "manifest.json"):
        storage.remove(storage.join(run_paths.rationales, name))
    left = len(Ledger(storage.join(run_paths.rationales, "ledger")).settled(False))
    assert 0 < left < len(wanted)
    assert load_rationales(run_paths.rationales) == {}
    resumed = rationales.run(cfg, run_paths)
    assert (resumed["asked"], resumed["kept"]) == (len(wanted) - left, left)
    assert load_rationales(run_paths.rationales) == texts


def test_keys_follow_the_question_only(run_paths: RunPaths) -> None:
    store = ClipStore(run_paths.shards)

    def keys(cfg: FullConfig) -> dict[str, str]:
        return {task.clip: task.key for task in list_tasks(cfg, store)}

    free = keys(config())
    assert len(set(free.values())) == len(free)
    assert keys(replace(config(), seed=5)) == free
    assert keys(config(actors=1)) == free
    api = replace(FullConfig().rationales.api, model="m")
    paid = keys(config(teacher="openai_api", api=api))
    assert keys(config(teacher="openai_api", api=replace(api, in_flight=3, budget_usd=5.0))) == paid
    for other in (
        config(teacher="openai_api", api=replace(api, model="n")),
        config(teacher="openai_api", api=replace(api, temperature=0.9)),
        replace(config(teacher="openai_api", api=api), rationales=replace(config().rationales, frames=4)),
    ):
        assert not set(keys(other).values()) & set(paid.values())


def test_fewer_clips_and_sets(run_paths: RunPaths) -> None:
    store = ClipStore(run_paths.shards)
    full = {task.clip for task in list_tasks(config(), store)}
    some = list_tasks(config(max_clips=4), store)
    assert [task.dataset for task in some] == ["demo_bvh"] * 4 + ["demo_coco17"] * 4 + ["demo_ntu"] * 4
    assert {task.clip for task in some} < full
    cfg = config()
    one = list_tasks(replace(cfg, train=replace(cfg.train, sets=("demo_ntu",))), store)
    assert {task.dataset for task in one} == {"demo_ntu"}
    with pytest.raises(UserError, match=r"train.sets names moon; the shards hold demo_bvh"):
        list_tasks(replace(cfg, train=replace(cfg.train, sets=("moon",))), store)


def test_a_teacher_from_outside_is_one_class_and_one_entry(
    run_paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Parrot:
        """Says the label; a class of this function, so that no process but this one can import it."""

        name, version, wants_frames = "parrot", 1, True

        async def ask(self, request: TeacherRequest) -> Answer:
            said = {"summary": f"{len(request.images)} frames.", "steps": [], "evidence": "", "label": request.label}
            return Answer(raw=json.dumps(said), model="parrot 1", usage=Usage())

    monkeypatch.setitem(TEACHERS, "parrot", TeacherEntry(teacher=Parrot))
    summary = rationales.run(config(teacher="parrot", max_clips=2, accept=AcceptConfig(min_words=1)), run_paths)
    assert (summary["teacher"], summary["model"]) == ("parrot", "parrot 1")
    assert summary["accepted"] == summary["wanted"] == 6
    assert {row["summary"] for row in answers(run_paths)} == {"3 frames."}
    assert costs.estimate(config(teacher="parrot", max_clips=2), run_paths).priced
