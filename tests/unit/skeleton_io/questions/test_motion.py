"""Questions about motions whose truth is known: right answers, sides under a mirror, order under reversed time."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from skeleton_io.demo.body import INDEX, Body
from skeleton_io.demo.formats import Sensor, jitter
from skeleton_io.demo.motion import ACTIONS, Style, perform
from skeleton_io.questions.motion import KINDS, Question, family, questions_of
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import TOPOLOGIES
from skeleton_io.record.topology import Topology
from skeleton_io.record.transforms import mirror

SOURCE = Source(uri="made", sha256="0", reader="test", reader_version=1)
LABELS = [action.label for action in ACTIONS]


def record(places: np.ndarray, topology: Topology) -> SkeletonSequence:
    return SkeletonSequence(
        id="clip", dataset="made", topology=topology, positions=places.astype(np.float32), fps=30, source=SOURCE
    )


def clip(label: str, topology: str = "ntu25", seed: int = 1, **style: object) -> SkeletonSequence:
    """A demo action as a sensor sees it, with sensor noise."""
    action = next(a for a in ACTIONS if a.label == label)
    bodies = (Body(height=1.6), Body(height=1.8))[: 2 if action.duo else 1]
    rng = np.random.default_rng(seed)
    performance = perform(action, bodies, Style(**style), rng)
    sensor = Sensor(yaw=np.pi / 2 if action.duo else 0, distance=3.2, height=1.0)
    persons = [places + jitter(places.shape, 0.008, rng) for places in map(sensor.view, performance.motions)]
    table = TOPOLOGIES[topology]
    places = np.stack(persons, axis=1)[:, :, [INDEX[joint] for joint in table.joints]]
    if topology != "coco17":
        return record(places, table)
    pixels = np.array([640.0, 360.0]) + 900 * places[..., :2] / places[..., 2:]
    return replace(record(places, table), positions=pixels.astype(np.float32), scale="pixels", image_size=(1280, 720))


def answers(seq: SkeletonSequence, kind: str) -> dict[str, str]:
    return {q.question: q.answer for q in questions_of(seq) if q.kind == kind}


def one(seq: SkeletonSequence, kind: str) -> str:
    (answer,) = answers(seq, kind).values()
    return answer


@pytest.mark.parametrize("topology", ["ntu25", "coco17"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_which_hand_how_often_and_what_next_of_a_wave(side: str, topology: str):
    seq = clip("wave", topology, side=side, repeats=3)
    assert one(seq, "which hand") == f"the {side} hand"
    assert answers(seq, "repetitions") == {f"How many times does the {side} hand swing back and forth?": "3"}
    assert one(seq, "direction") == "up"
    assert one(seq, "order") == f"moving the {side} hand up"
    assert one(seq, "after") == f"moving the {side} hand down"
    assert one(seq, "persons") == "1"


@pytest.mark.parametrize("side", ["left", "right"])
def test_feet_turns_heads_and_ways(side: str):
    assert one(clip("kick", side=side), "which foot") == f"the {side} foot"
    assert one(clip("turn around", side=side), "turn") == side
    assert one(clip("drink", side=side), "hand to head") == f"the {side} hand"
    assert one(clip("walk"), "travel") == "forward"
    assert set(answers(clip("walk"), "together").values()) == {"in turns"}


@pytest.mark.parametrize("times", [3, 4])
def test_meetings_and_jumps_are_counted_and_told_why(times: int):
    clap = clip("clap", repeats=times)
    assert one(clap, "meetings") == str(times)
    assert one(clap, "why meet") == "both hands move"
    assert one(clip("jump", repeats=times - 2), "jumps") == str(times - 2)
    assert one(clip("jump", repeats=1), "take-off") == "sinks down"


def test_a_push_moves_the_other_person_away():
    seq = clip("push")
    assert one(seq, "persons") == "2"
    (pusher,) = {
        name for name in ("left", "right") if f"the person on the {name} has reached" in str(questions_of(seq))
    }
    other = {"left": "right", "right": "left"}[pusher]
    assert one(seq, "away") == f"the person on the {other}"
    assert one(seq, "why apart") == f"the person on the {other} moves"
    assert one(seq, "reaction") == "moves away"
    assert one(seq, "distance") == "further apart"


def approach(first: float, second: float) -> SkeletonSequence:
    """Two standing persons, 2.5 m apart in the picture, who slide by these metres towards each other."""
    stand = Body(height=1.7)
    performance = perform(
        next(a for a in ACTIONS if a.label == "bow"), (stand,), Style(amplitude=0.0), np.random.default_rng(0)
    )
    body = Sensor(yaw=0.0, distance=3.2, height=1.0).view(performance.motions[0])[:1]
    body = body[:, [INDEX[joint] for joint in TOPOLOGIES["ntu25"].joints]]
    time = np.clip(np.linspace(-0.2, 1.2, 60), 0, 1)[:, None, None]
    on_left = body + [1.25, 0, 0] - time * [first, 0, 0]
    on_right = body - [1.25, 0, 0] + time * [second, 0, 0]
    return record(np.stack([on_left, on_right], axis=1), TOPOLOGIES["ntu25"])


@pytest.mark.parametrize(
    ("first", "second", "who"),
    [(1.0, 0.0, "the person on the left"), (0.0, 1.0, "the person on the right"), (0.7, 0.7, "both")],
)
def test_who_moves_towards_whom(first: float, second: float, who: str):
    seq = approach(first, second)
    assert one(seq, "towards") == who
    assert one(seq, "why nearer") == f"{who} {'move' if who == 'both' else 'moves'}"
    back = replace(seq, positions=seq.positions[::-1].copy())
    assert (one(back, "away"), one(back, "distance")) == (who, "further apart")


def test_unclear_cases_are_not_asked():
    assert not answers(approach(0.9, 0.45), "towards")  # neither one of them nor both alike
    assert not answers(clip("clap"), "which hand")
    assert not answers(clip("clap"), "begins first")


def swapped(text: str) -> str:
    return re.sub(r"\b(left|right)\b", lambda found: {"left": "right", "right": "left"}[found[0]], text)


def bag(question: Question, turned: bool) -> tuple[object, ...]:
    """A question without the order in which it names its choices."""
    turn = swapped if turned else str
    words = re.sub(r"[^a-z ]", "", turn(question.question)).split()
    return question.kind, tuple(sorted(words)), turn(question.answer)


@pytest.mark.parametrize("topology", ["ntu25", "coco17"])
@pytest.mark.parametrize("label", LABELS)
def test_a_mirror_swaps_left_and_right_and_nothing_else(label: str, topology: str):
    seq = clip(label, topology)
    truth = {bag(q, turned=True) for q in questions_of(seq)}
    assert truth == {bag(q, turned=False) for q in questions_of(mirror(seq))}


@pytest.mark.parametrize("label", LABELS)
def test_reversed_time_swaps_first_and_last_and_halves(label: str):
    seq = clip(label)
    back = replace(seq, positions=seq.positions[::-1].copy())
    there, again = ({(q.kind, q.question): q.answer for q in questions_of(s)} for s in (seq, back))
    compared = 0
    halves = {"the first half": "the second half", "the second half": "the first half"}
    for (kind, question), answer in there.items():
        if kind == "half":
            assert again[kind, question] == halves[answer]
            compared += 1
        if kind == "ends last":
            turned = ("begins first", question.replace("stops last", "begins to move first"))
            assert again.get(turned, answer) == answer
            compared += turned in again
        if kind in ("which hand", "which foot", "persons", "moves"):
            assert again[kind, question] == answer
            compared += 1
    assert compared


def two_parts(first: str, second: str) -> SkeletonSequence:
    """A standing person who moves one part up to 0.5 m and back in the first second, another in the third."""
    table = TOPOLOGIES["ntu25"]
    performance = perform(
        next(a for a in ACTIONS if a.label == "bow"), (Body(),), Style(amplitude=0.0), np.random.default_rng(0)
    )
    body = Sensor(yaw=0.0, distance=3.2, height=1.0).view(performance.motions[0])[:1]
    places = np.repeat(body[:, [INDEX[joint] for joint in table.joints]], 90, axis=0)
    bump = np.zeros(90)
    bump[5:30] = np.sin(np.linspace(0, np.pi, 25))
    for part, curve in ((first, bump), (second, np.roll(bump, 55))):
        side, limb = part.split("_")
        ends = {"hand": ("wrist", "hand", "hand_tip", "thumb"), "foot": ("ankle", "foot")}[limb]
        for end in ends:
            places[:, table.index[f"{side}_{end}"]] += 0.5 * curve[:, None] * np.array([0, 1, 0])
    return record(places[:, None], table)


PAIRS = [("left_hand", "right_foot"), ("right_foot", "left_hand"), ("right_hand", "left_hand")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_what_begins_first_what_stops_last(first: str, second: str):
    seq = two_parts(first, second)
    words = [f"the {part.replace('_', ' ')}" for part in (first, second)]
    assert (one(seq, "begins first"), one(seq, "ends last")) == (words[0], words[1])
    back = replace(seq, positions=seq.positions[::-1].copy())
    assert (one(back, "begins first"), one(back, "ends last")) == (words[1], words[0])


def test_the_same_clip_gets_the_same_questions_and_answers_are_among_the_choices():
    kinds = set()
    for label in LABELS:
        for topology in ("ntu25", "coco17", "h36m17", "kinect20"):
            seq = clip(label, topology)
            questions = questions_of(seq)
            assert questions == questions_of(replace(seq))
            for question in questions:
                assert question.answer in question.choices
                assert len(set(question.choices)) == len(question.choices) >= 2
                assert question.kind in KINDS
                assert family(question.kind) in ("spatial", "count", "temporal", "persons", "causal")
                assert label not in question.question.replace("turning", "").split()
            kinds |= {question.kind for question in questions}
    assert len(kinds) > 18


def test_yes_and_no_come_up_alike():
    replies = []
    for number, label in enumerate(LABELS * 4):
        replies += answers(replace(clip(label), id=f"clip {number}"), "moves").values()
    assert 0.3 < replies.count("yes") / len(replies) < 0.7


def test_missing_joints_and_single_frames_ask_less_and_never_fail():
    seq = clip("wave", side="right")
    positions = seq.positions.copy()
    positions[:, :, [seq.topology.index[f"right_{joint}"] for joint in ("wrist", "hand", "hand_tip")]] = np.nan
    questions = questions_of(replace(seq, positions=positions))
    assert not any("right hand" in q.question or "right hand" in q.answer for q in questions)
    assert questions_of(replace(seq, positions=seq.positions[:1])) is not None
