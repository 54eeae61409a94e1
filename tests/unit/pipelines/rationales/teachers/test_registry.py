"""The table of teachers: one line is enough for a teacher, and a line that cannot work is refused."""

from __future__ import annotations

import inspect

import pytest

from pipelines.config.rationales import RationalesConfig
from pipelines.rationales.teachers.base import Answer, Teacher, TeacherRequest, Usage
from pipelines.rationales.teachers.registry import TEACHERS, TeacherEntry, entry_of
from pipelines.runtime.errors import UserError


class Parrot:
    name, version, wants_frames = "parrot", 3, False

    async def ask(self, request: TeacherRequest) -> Answer:
        return Answer(raw="{}", model="parrot", usage=Usage())


def test_the_help_of_the_field_names_every_teacher():
    source = inspect.getsource(RationalesConfig)
    assert TEACHERS
    assert not [name for name in TEACHERS if f"{name}:" not in source]


@pytest.mark.parametrize("name", [name for name, entry in TEACHERS.items() if entry.ask_all])
def test_those_that_take_all_tasks_are_found_by_their_path(name: str):
    function = TEACHERS[name].load_ask_all()
    expected = ["cfg", "shards_uri", "ledger", "tasks", "progress", "secret"]
    assert list(inspect.signature(function).parameters) == expected


def test_one_argument_makes_an_entry():
    entry = TeacherEntry(teacher=Parrot)
    cfg = RationalesConfig(teacher="parrot")
    assert isinstance(entry.make_teacher(cfg, entry.secret(cfg)), Teacher)
    assert entry.identify(cfg) == ("parrot", 3)
    assert (entry.wants_frames, entry.metered, entry.secret(cfg)) == (False, False, None)
    cost = entry.cost_model(cfg)
    assert cost.price(Usage(input=10**6, output=10**6)) == 0.0


@pytest.mark.parametrize(
    "fields", [{}, {"teacher": Parrot, "ask_all": "a.b"}, {"ask_all": "a.b"}], ids=["neither", "both", "no identity"]
)
def test_an_entry_that_cannot_work_is_refused(fields: dict):
    with pytest.raises(ValueError, match="an entry of TEACHERS"):
        TeacherEntry(**fields)


def test_a_name_that_is_not_in_the_table():
    with pytest.raises(UserError, match="no teacher 'parrot'; there is kinematic"):
        entry_of(RationalesConfig(teacher="parrot"))
