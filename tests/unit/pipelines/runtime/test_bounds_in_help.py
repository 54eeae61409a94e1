"""Options of the command line: every bound of every field is said in the help."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Annotated, Any, get_type_hints

import pytest
from annotated_types import Ge, Gt, Interval, Lt

from pipelines.config.tree import FullConfig
from pipelines.runtime.arguments import read_fields, show_help
from pipelines.runtime.bounds_in_help import bounds_text


def bounded_options(section: Any, prefix: str = "--") -> Iterator[tuple[str, str]]:
    """(option, bounds in words) of the fields in a section and in those inside it."""
    for name, hint in get_type_hints(type(section), include_extras=True).items():
        option = prefix + name.replace("_", "-")
        if dataclasses.is_dataclass(value := getattr(section, name)):
            yield from bounded_options(value, f"{option}.")
        elif text := bounds_text(hint):
            yield option, text


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, ""),
        (dict[str, int], ""),
        (Annotated[int, Ge(1)], "at least 1"),
        (Annotated[float, Ge(0), Lt(0.5)], "at least 0, below 0.5"),
        (Annotated[float, Interval(gt=0, le=1)], "above 0, at most 1"),
        (dict[str, Annotated[float, Gt(0)]], "each above 0"),
    ],
)
def test_bounds_in_words(hint: Any, text: str) -> None:
    assert bounds_text(hint) == text


def test_the_help_says_every_bound(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        show_help(FullConfig, "skel config")
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    helps = {part.split()[0]: part for part in re.split(r" (?=--[a-z])", text)}
    options = dict(bounded_options(FullConfig()))
    assert options["--train.workers"] == "at least 1"
    assert len(options) > 90
    for option, bounds in options.items():
        if not option.startswith("--tune.learning-rate"):  # an option for each of its keys
            assert f"({bounds}; default: " in helps[option], option


def test_fields_keep_their_defaults() -> None:
    assert read_fields(FullConfig(name="a"), []) == FullConfig(name="a")
    changed = read_fields(FullConfig(), ["--train.augment.crop", "0.25", "--rationales.api.attempts", "2"])
    assert (changed.train.augment.crop, changed.rationales.api.attempts) == (0.25, 2)
