"""Captions held against motions of known truth: right and wrong sides, directions, whole persons, pronouns."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluation.captions import score_facts
from pipelines.rationales.grounding.caption_facts import caption_claims, clear_facts, score_caption
from pipelines.scores.metrics import Scoreboard
from skeleton_io.demo.body import INDEX, Body
from skeleton_io.demo.formats import Sensor
from skeleton_io.demo.motion import ACTIONS, Style, perform
from skeleton_io.kinematics.motion import motion_facts
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import TOPOLOGIES


def clip(label: str, **style: object) -> SkeletonSequence:
    table = TOPOLOGIES["ntu25"]
    action = next(a for a in ACTIONS if a.label == label)
    made = perform(action, (Body(),), Style(**style), np.random.default_rng(1))
    places = Sensor(yaw=0, distance=3.2, height=1.0).view(made.motions[0])[:, [INDEX[j] for j in table.joints]]
    source = Source(uri="made", sha256="0", reader="test", reader_version=1)
    places = places[:, None].astype(np.float32)
    return SkeletonSequence(id=label, dataset="made", topology=table, positions=places, fps=30, source=source)


@pytest.mark.parametrize(
    ("label", "caption", "stated", "right"),
    [
        ("wave", "a person raises the right hand and waves it back and forth.", 2, 2),
        ("wave", "a person raises the left hand and waves it.", 2, 0),
        ("wave", "the right hand goes up, then goes down", 2, 2),
        ("wave", "someone walks forward", 1, 0),
        ("wave", "a person jumps", 1, 0),
        ("wave", "both hands move up", 1, 0),
        ("walk", "a person walks forward", 1, 1),
        ("walk", "a person walks backwards", 1, 0),
        ("turn around", "a person turns around to the right", 1, 1),
        ("turn around", "a person turns around to the left", 1, 0),
        ("jump", "a person jumps up", 1, 1),
        ("walk", "nice weather today", 0, 0),
    ],
)
def test_statements_are_right_where_the_motion_shows_them(label: str, caption: str, stated: int, right: int):
    found = score_caption(caption, clip(label, side="right"))
    assert (found.stated, found.right) == (stated, right)


def test_recall_counts_the_clear_facts_that_a_right_statement_names():
    seq = clip("wave", side="right", repeats=3)
    assert clear_facts(motion_facts(seq)) == (("right_hand", "up"), ("right_hand", "down"))
    assert score_caption("the right hand goes up, then goes down", seq).named == 2
    assert score_caption("the right arm is raised", seq).named == 1
    assert score_caption("the left arm is raised", seq).named == 0
    assert score_caption("a person walks", seq).facts == 2


def test_pronouns_go_on_with_the_last_part():
    claims = caption_claims("A man lifts the left foot, then puts it down and turns to the right", 2.0)
    assert [(c.kind, c.parts) for c in claims][:2] == [("moves", ("left_foot",)), ("moves", ("left_foot",))]


def test_shares_are_over_all_statements_and_silence_is_told():
    seq = clip("wave", side="right", repeats=3)
    texts = ["the right hand goes up, then goes down", "the left hand goes up", "hello"]
    found = score_facts([score_caption(text, seq) for text in texts], Scoreboard({}, 200, 0))
    assert found["precision"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["recall"]["value"] == pytest.approx(2 / 6, abs=1e-4)
    assert (found["stated"], found["silent"]) == (1.0, pytest.approx(1 / 3, abs=1e-4))
    silent = score_facts([score_caption("hello", seq)], Scoreboard({}, 200, 0))
    assert (silent["precision"]["value"], silent["recall"]["value"]) == (None, 0.0)
