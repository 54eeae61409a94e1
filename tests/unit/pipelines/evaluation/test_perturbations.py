"""Every cell draws what it should, the same in every process."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluation.perturbations import (
    CLEAN,
    CURVES,
    Cell,
    PerturbedClips,
    list_cells,
    perturb_clip,
    select_curves,
)
from pipelines.runtime.errors import UserError
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import TOPOLOGIES

SOURCE = Source(uri="made", sha256="0", reader="test", reader_version=1)


def clip(name: str, persons: int = 1) -> SkeletonSequence:
    table = TOPOLOGIES["ntu25"]
    places = np.random.default_rng(1).normal(size=(40, persons, len(table.joints), 3)).astype(np.float32)
    return SkeletonSequence(id=name, dataset="made", topology=table, positions=places, fps=30, source=SOURCE)


class Store:
    def __init__(self, *clips: SkeletonSequence) -> None:
        self.clips = {seq.key: seq for seq in clips}

    def clip(self, key: str) -> SkeletonSequence:
        return self.clips[key]


@pytest.mark.parametrize("curve", list(CURVES.values()), ids=list(CURVES))
def test_every_cell_of_every_curve_can_be_made_and_is_the_same_in_any_process(curve):
    store = PerturbedClips(Store(clip("a|b", persons=2)))
    for cell in list_cells(curve, 2):
        one, two = (store.clip(cell.key("made/a|b")) for _ in range(2))
        np.testing.assert_array_equal(one.positions, two.positions)
        assert one.source_transform
        assert Cell.of(cell.key("made/a|b")) == (cell, "made/a|b")
    assert (store.clip(Cell(CLEAN, 0, 0).key("made/a|b")).positions == clip("a|b", persons=2).positions).all()


def test_levels_of_a_seed_are_nested_and_seeds_differ():
    seq = clip("a")
    few, many, other = (
        perturb_clip(seq, Cell("joint-dropout", level, seed)).present for level, seed in ((0.1, 0), (0.5, 0), (0.5, 1))
    )
    assert not (many & ~few).any()
    assert (many != other).any()


def test_unknown_curves_are_named():
    assert [curve.name for curve in select_curves(())] == list(CURVES)
    with pytest.raises(UserError, match="--curves fog: expected some of joint-dropout"):
        select_curves(("fog",))
