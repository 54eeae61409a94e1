"""Bounds beside a field: in words, and for an instance that nobody decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt

from models.bounds import bounds_of, check_bounds
from models.config import RendererConfig


@dataclass(frozen=True)
class Section:
    count: Annotated[int, Ge(1)] = 1
    share: Annotated[float, Gt(0), Lt(1)] = 0.5
    free: str = ""


def test_bounds_of() -> None:
    assert bounds_of(Annotated[float, Ge(0), Le(1)]) == [("ge", 0), ("le", 1)]
    assert bounds_of(Annotated[float, Interval(gt=0, lt=2)]) == [("gt", 0), ("lt", 2)]
    assert bounds_of(int) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "part.count must be at least 1, found 0"),
        ({"share": 0}, "part.share must be above 0, found 0"),
        ({"share": 1.0}, "part.share must be below 1, found 1.0"),
        ({"share": float("nan")}, "part.share must be above 0, found nan"),
    ],
)
def test_what_is_beyond_is_named(values: dict, message: str) -> None:
    check_bounds(Section(), "part")
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_bounds(Section(**values), "part")


def test_a_renderer_that_is_made_in_python_is_checked() -> None:
    RendererConfig().check()
    with pytest.raises(ValueError, match=r"^renderer\.fov_deg must be at most 170, found 180$"):
        RendererConfig(fov_deg=180).check()
