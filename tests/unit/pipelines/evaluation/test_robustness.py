"""Robustness: curves are tried on the clips that they fit, and areas are those of a table worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluation import robustness
from pipelines.evaluation.perturbations import (
    CLEAN,
    Cell,
    select_curves,
)
from pipelines.scores.metrics import ClipScore, Scoreboard
from pipelines.scores.rows import ClipToScore
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import TOPOLOGIES

SOURCE = Source(uri="made", sha256="0", reader="test", reader_version=1)


def clip(name: str, persons: int = 1, topology: str = "ntu25") -> SkeletonSequence:
    table = TOPOLOGIES[topology]
    dims = 2 if topology == "coco17" else 3
    places = np.random.default_rng(1).normal(size=(40, persons, len(table.joints), dims)).astype(np.float32)
    flat = {"scale": "pixels", "image_size": (640, 480)} if dims == 2 else {}
    return SkeletonSequence(id=name, dataset="made", topology=table, positions=places, fps=30, source=SOURCE, **flat)


class Store:
    def __init__(self, *clips: SkeletonSequence) -> None:
        self.clips = {seq.key: seq for seq in clips}

    def clip(self, key: str) -> SkeletonSequence:
        return self.clips[key]


def test_curves_are_tried_on_the_clips_that_they_fit():
    clips = [clip("one"), clip("two", persons=2), clip("flat", topology="coco17"), clip("hand", topology="hand20")]
    questions = [ClipToScore(seq.key, "made", "a") for seq in clips]
    wanted = select_curves(("view", "missing-person", "topology", "mirror"))
    found = {cell: [q.key for q in qs] for cell, qs in robustness.plan(wanted, 1, Store(*clips), questions)}
    assert len(found[Cell(CLEAN, 0, 0)]) == 4
    assert found[Cell("view", 15, 0)] == ["made/one", "made/two", "made/hand"]
    assert found[Cell("missing-person", 1, 0)] == ["made/two"]
    assert found[Cell("topology", 17, 0)] == ["made/one", "made/two", "made/flat"]
    assert len(found[Cell("mirror", 1, 0)]) == 4


def scored(cell: Cell, name: str, right: bool) -> ClipScore:
    best = (-1.0, -2.0) if right else (-2.0, -1.0)
    return ClipScore(cell.key(f"made/{name}"), "made", "yes", best, (1, 1), (0.0, 0.0), None)


def test_points_areas_and_seeds_of_a_small_table():
    """Four clips, two seeds, noise of 0, 2, 5, 10 cm."""
    right = {  # (level, seed) -> how many of the four are right
        (2.0, 0): 3, (2.0, 1): 3, (5.0, 0): 2, (5.0, 1): 1, (10.0, 0): 1, (10.0, 1): 0,
    }  # fmt: skip
    rows = [scored(Cell(CLEAN, 0, 0), str(i), True) for i in range(4)]
    rows += [
        scored(Cell("noise", level, seed), str(i), i < number)
        for (level, seed), number in right.items()
        for i in range(4)
    ]
    judge = Scoreboard({"made": ("yes", "no")}, 500, 0)
    found = robustness.summarise(judge, select_curves(("noise", "mirror")), 2, rows)
    assert found["left_out"] == ["mirror"]
    assert (found["clean"]["value"], found["chance"], found["clips"]) == (1.0, 0.5, 4)
    (curve,) = found["curves"]
    assert [point["value"] for point in curve["points"]] == [1.0, 0.75, 0.375, 0.125]
    assert [point["seeds"] for point in curve["points"]] == [[], [0.75, 0.75], [0.5, 0.25], [0.25, 0.0]]
    # (1 + .75)/2 * 2 + (.75 + .375)/2 * 3 + (.375 + .125)/2 * 5 = 1.75 + 1.6875 + 1.25 over 10
    assert curve["area"]["value"] == pytest.approx(0.4688, abs=1e-4)
    assert curve["retained"]["value"] == pytest.approx(0.4688, abs=1e-4)
    low, high = curve["area"]["ci95"]
    assert low < 0.4688 < high
    assert curve["sets"]["made"]["values"] == [1.0, 0.75, 0.375, 0.125]


def test_the_area_is_the_mean_height_whatever_way_the_levels_run():
    heights = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 0.5, 0.5, 0.0]])
    np.testing.assert_allclose(robustness.area((25, 20, 17, 13), heights), [1.0, (0.75 * 5 + 0.5 * 3 + 0.25 * 4) / 12])
    np.testing.assert_allclose(robustness.area((0, 5, 8, 12), heights), robustness.area((25, 20, 17, 13), heights))
