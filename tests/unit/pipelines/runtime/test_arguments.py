"""Words -> options: lists by spaces, earlier names, and one line for each mistake, whatever the terminal can draw."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
import tyro

from pipelines.runtime.argument_errors import UnknownArgument
from pipelines.runtime.arguments import (
    EarlierName,
    NoCommas,
    flags_of,
    flags_of_fields,
    name_value,
    read_fields,
    read_options,
)
from pipelines.runtime.errors import UserError

SPACES = "--labels 'x,y': values are given with spaces between them: --labels a b"
TWICE = "--turns is given twice; all its values follow one flag: --turns DEGREES ..."


@dataclass(frozen=True, kw_only=True)
class Options:
    """Does a thing."""

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional, name_value("INPUT...")]
    """What."""
    model: Annotated[str, EarlierName("--checkpoint"), name_value("RUN")]
    """With."""
    labels: Annotated[tuple[str, ...], NoCommas("a b"), name_value("LABEL ...")] = ()
    """Among."""
    turns: Annotated[tuple[float, ...], name_value("DEGREES ...")] = ()
    """From."""
    most_clips: int = 3
    """Of."""
    kind: Literal["one", "two"] = "one"
    """As."""
    deep: tyro.conf.FlagCreatePairsOff[bool] = False
    """So."""
    broken: bool = True
    """Too."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part."""

    size: int = 1
    """Of it."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A tree."""

    seed: int = 0
    """Of it."""
    part: Part = field(default_factory=Part)


def read(*words: str) -> Options:
    return read_options(Options, "prog", words)[0]


def test_every_way_to_write_a_flag():
    options = read("a", "b", "--checkpoint=r=1", "--labels", "x", "y z", "--most_clips", "4", "--deep", "--no-broken")
    assert (options.inputs, options.model, options.labels) == (("a", "b"), "r=1", ("x", "y z"))
    assert (options.most_clips, options.deep, options.broken) == (4, True, False)
    assert read("a", "--model", "r", "--turns", "-30", "90").turns == (-30.0, 90.0)
    assert read("--labels", "@a,b.txt", "--model", "r", "--", "a", "--b").inputs == ("a", "--b")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--model", "r"], "prog needs INPUT...; see prog --help"),
        (["a"], "prog needs --model RUN; see prog --help"),
        (["a", "--chekpoint", "r"], "prog does not know --chekpoint; did you mean --model?"),
        (["a", "--model", "r", "-x"], "prog does not know -x; see prog --help"),
        (["a", "--model", "r", "--part.size", "2"], "prog does not know --part.size; see prog --help"),
        (["a", "--model"], "--model needs a value"),
        (["a", "--model", "r", "--most-clips", "x"], "--most-clips: expected a whole number, found 'x'"),
        (["a", "--model", "r", "--turns", "1", "x"], "--turns: cannot read '1', 'x'"),
        (["a", "--model", "r", "--kind", "three"], "--kind: expected one, two; found three"),
        (["a", "--model", "r", "--labels"], "--labels needs at least one value: --labels a b"),
        (["a", "--model", "r", "--labels", "x,y"], SPACES),
        (["a", "--model", "r", "--labels=x,y"], SPACES),
        (["a", "--model", "r", "--turns", "1", "--turns", "2"], TWICE),
    ],
)  # fmt: skip
def test_one_line_for_each_mistake(monkeypatch, capsys, encoding, words, line):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    with pytest.raises(UserError) as error:
        read(*words)
    assert str(error.value) == line
    assert sys.stdout.tell() == 0
    assert capsys.readouterr().err == ""


def test_fields_of_a_tree_are_left_for_later():
    words = ["a", "--part.size", "2", "--model", "r", "--seed=4"]
    options, rest = read_options(Options, "prog", words, Tree)
    assert (options.inputs, rest) == (("a",), ["--part.size", "2", "--seed=4"])
    assert read_fields(Tree(), rest) == Tree(seed=4, part=Part(size=2))
    assert read_fields(Tree(seed=7), []) == Tree(seed=7)
    with pytest.raises(UnknownArgument, match=r"prog does not know --pert.size; did you mean --part.size"):
        read_options(Options, "prog", ["a", "--pert.size", "2"], Tree)
    with pytest.raises(UnknownArgument, match=r"does not know --part.sise; did you mean --part.size"):
        read_fields(Tree(), ["--part.sise", "2"])
    with pytest.raises(UserError, match=r"--part.size: expected a whole number, found \'x\'"):
        read_fields(Tree(), ["--part.size", "x"])


def test_flags():
    assert list(flags_of(Options)) == [
        "--model", "--labels", "--turns", "--most-clips", "--kind", "--deep", "--broken", "--no-broken", "--checkpoint"
    ]  # fmt: skip
    assert flags_of(Options)["--checkpoint"] == "--model"
    assert list(flags_of_fields(Tree())) == ["--seed", "--part.size"]


def test_help_shows_every_field(capsys):
    with pytest.raises(SystemExit) as end:
        read_options(Options, "prog", ["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "--checkpoint" not in text
    assert [word for word in ("--model RUN", "Among.", "(default: 3)") if word not in text] == []
    assert "(default: )" not in text.replace("--turns", "")
