"""tasks: one file and one line add a task; shown with one that this project does not know."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from types import ModuleType

import numpy as np
import pytest

from models import prompts
from pipelines.batches.sampler import Draw, Sampler
from pipelines.batches.tasks.base import Example, Material, Task, TrainingClips
from pipelines.batches.tasks.book import TaskBook, find_material
from pipelines.batches.tasks.registry import take_unlabelled, task_named
from pipelines.config.loading import decode, load_config
from pipelines.config.stages import TASKS
from pipelines.runtime.errors import UserError
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import SBU15

STAGE = {"name": "1", "trains": ["renderer"], "learning_rate": {"renderer": 1e-3}}


class Duration(Task):
    """The one file: how long is the clip?"""

    name = "duration"
    needs_label = False

    def write(self, material: Material, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example:
        return Example(self.name, prompts.qa_prompt("How many seconds does it take?"), f"{seq.frames / seq.fps:.1f}")

    def askable(self, clips: TrainingClips, material: Material) -> Iterable[str]:
        return (key for _, key in clips.pairs)

    def typical(self, labels: Sequence[str], rationale: float) -> tuple[str, float]:
        return prompts.qa_prompt("How many seconds does it take?"), 3


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the task that the one line adds."""
    module = ModuleType("a_task_of_ones_own")
    module.Duration = Duration  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(TASKS, "duration", f"{module.__name__}:Duration")
    return "duration"


def clip() -> SkeletonSequence:
    return SkeletonSequence(
        id="c",
        dataset="s",
        topology=SBU15,
        positions=np.zeros((15, 1, 15, 3), np.float32),
        fps=30,
        source=Source(uri="x", sha256="0", reader="made", reader_version=1),
    )


def test_a_task_from_outside_is_configured_drawn_and_written(outside: str, tmp_path) -> None:
    (tmp_path / "own.yaml").write_text(
        "train: {stages: [{name: a, tasks: {duration: 2, mqa: 1}, trains: [llm], learning_rate: {llm: 1.0e-4}}]}"
    )
    cfg = load_config(str(tmp_path / "own.yaml"))
    mix = {name: float(weight) for name, weight in cfg.train.stages[0].tasks.items()}
    assert take_unlabelled(mix)
    book, keys = TaskBook({"s": ("a", "b")}, {}), {"s": ("s/c",)}
    sampler = Sampler(keys, mix, 1.0, find_material(mix, keys, {}, frozenset(), book, None))
    (draw,) = sampler.batch(0, 0, 0, 1)
    assert draw.task == "duration"  # a clip without a label has nothing for multiple choice
    example = book.example(draw, clip(), np.random.default_rng(0))
    assert (example.task, example.answer) == ("duration", "0.5")


def test_tasks_that_there_are_not_are_named_before_anything_starts(tmp_path) -> None:
    (tmp_path / "typo.yaml").write_text(
        "train: {stages: [{name: a, tasks: {mcq: 1}, trains: [llm], learning_rate: {llm: 1.0e-4}}]}"
    )
    with pytest.raises(UserError, match="stage a: there is no task mcq; there are mqa, yesno, rationale, caption, qa"):
        load_config(str(tmp_path / "typo.yaml"))
    with pytest.raises(ValueError, match="unknown task 'mcq'"):
        task_named("mcq")


def test_every_line_of_the_table_leads_to_the_task_of_that_name() -> None:
    assert {name: task_named(name).name for name in TASKS} == {name: name for name in TASKS}
    assert decode({"train": {"stages": [{**STAGE, "tasks": dict.fromkeys(TASKS, 1.0)}]}}, "test")
