"""Motion facts: sides, order, counts, distances and contacts of motions whose truth is known, in 3D and in 2D."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skeleton_io.demo.body import INDEX, Body
from skeleton_io.demo.formats import Sensor, jitter
from skeleton_io.demo.motion import ACTIONS, Style, perform
from skeleton_io.kinematics.facts import MotionEvent, MotionFacts
from skeleton_io.kinematics.motion import motion_facts
from skeleton_io.kinematics.strokes import find_active_spans, find_strokes
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import TOPOLOGIES
from skeleton_io.record.topology import Topology

SOURCE = Source(uri="made", sha256="0", reader="test", reader_version=1)


def clip(label: str, topology: str = "ntu25", yaw: float = 0.0, seed: int = 1, **style: object) -> SkeletonSequence:
    """A demo action seen by a sensor, as the record has it."""
    action = next(a for a in ACTIONS if a.label == label)
    bodies = (Body(height=1.6), Body(height=1.8))[: 2 if action.duo else 1]
    rng = np.random.default_rng(seed)
    performance = perform(action, bodies, Style(**style), rng)
    sensor = Sensor(yaw=yaw + (np.pi / 2 if action.duo else 0), distance=3.2, height=1.0)
    persons = [places + jitter(places.shape, 0.008, rng) for places in map(sensor.view, performance.motions)]
    table = TOPOLOGIES[topology]
    places = np.stack(persons, axis=1)[:, :, [INDEX[joint] for joint in table.joints]]
    if topology != "coco17":
        return record(places, table)
    pixels = np.array([640.0, 360.0]) + 900 * places[..., :2] / places[..., 2:]
    return replace(record(places, table), positions=pixels.astype(np.float32), scale="pixels", image_size=(1280, 720))


def record(places: np.ndarray, topology: Topology, fps: float = 30) -> SkeletonSequence:
    return SkeletonSequence(
        id="clip", dataset="made", topology=topology, positions=places.astype(np.float32), fps=fps, source=SOURCE
    )


def of(facts: MotionFacts, part: str, person: int = 0) -> list[MotionEvent]:
    return [event for event in facts.events if event.part == part and event.person == person]


@pytest.mark.parametrize("yaw", [0.0, 0.8, -0.8])
@pytest.mark.parametrize(("side", "other"), [("right", "left"), ("left", "right")])
def test_the_waving_hand_is_named_and_its_swings_counted(side: str, other: str, yaw: float):
    facts = motion_facts(clip("wave", yaw=yaw, side=side, repeats=3))
    up, swing, down = of(facts, f"{side}_hand")
    assert (up.direction[0], up.motion) == ("up", "moves")
    assert (swing.motion, swing.repetitions) == ("swings", 3)
    assert swing.direction[0] in ("left", "right")
    assert down.direction[0] == "down"
    assert not of(facts, f"{other}_hand")
    assert up.end <= swing.start + 0.1 < swing.end <= down.start + 0.1
    assert 0.5 < up.metres < 0.9
    assert up.metres == pytest.approx(down.metres, rel=0.2)


def test_mirroring_the_clip_mirrors_the_facts():
    right = clip("throw", side="right")
    flipped = right.positions[:, :, list(right.topology.mirror)] * np.array([-1, 1, 1], dtype=np.float32)
    swap = {"left": "right", "right": "left"}

    def mirrored(event: MotionEvent) -> tuple[object, ...]:
        side, _, limb = event.part.partition("_")
        part = f"{swap[side]}_{limb}" if limb else side
        return part, event.start, event.end, tuple(swap.get(word, word) for word in event.direction), event.repetitions

    def plain(event: MotionEvent) -> tuple[object, ...]:
        return event.part, event.start, event.end, event.direction, event.repetitions

    truth = {mirrored(event) for event in motion_facts(right).events}
    assert truth == {plain(event) for event in motion_facts(replace(right, positions=flipped)).events}
    assert len(truth) > 5


@pytest.mark.parametrize(("label", "count"), [("clap", 3), ("clap", 4), ("squat", 2), ("squat", 3)])
def test_repetitions(label: str, count: int):
    facts = motion_facts(clip(label, repeats=count))
    part = "left_hand" if label == "clap" else "body"
    assert [event.repetitions for event in of(facts, part) if event.motion == "swings"] == [count]
    if label == "clap":
        assert [(c.kind, c.count) for c in facts.contacts] == [("own hands", count)]
        assert facts.bodies[0].symmetry > 0.9


def test_parts_begin_in_their_order():
    facts = motion_facts(clip("throw", side="right"))
    starts = {(part, person): start for person, part, start in facts.onsets}
    assert starts["right_hand", 0] < starts["left_foot", 0]
    assert [event.start for event in facts.events] == sorted(event.start for event in facts.events)


def test_walk_turn_and_jump_show_in_the_whole_body():
    (walk,) = motion_facts(clip("walk")).bodies
    assert walk.direction == ("forward",)
    assert 2.0 < walk.travel < 4.5
    for side, sign in (("left", 1), ("right", -1)):
        facts = motion_facts(clip("turn around", yaw=0.5, side=side))
        (turn,) = [event for event in facts.events if event.motion == "rotates"]
        assert turn.direction == (side,)
        assert 150 < turn.degrees < 195
        assert facts.bodies[0].turn == pytest.approx(sign * turn.degrees, abs=25)
    jump = motion_facts(clip("jump", repeats=2))
    assert sum(event.motion == "leaves the floor" for event in jump.events) == 2
    assert jump.bodies[0].airborne > 0.1
    squat = motion_facts(clip("squat"))
    assert squat.bodies[0].airborne == 0
    assert squat.bodies[0].lowest < -0.6


def test_hand_at_the_head_while_drinking_but_not_while_kicking():
    for side in ("left", "right"):
        (contact,) = motion_facts(clip("drink", side=side)).contacts
        assert (contact.kind, contact.side) == ("hand and head", side)
        assert contact.end - contact.start > 0.4
    assert not motion_facts(clip("kick")).contacts


def test_two_persons():
    shake = motion_facts(clip("shake hands"))
    assert [c.kind for c in shake.contacts] == ["hands of both"]
    assert shake.relations[0].facing is True
    for person in (0, 1):
        assert of(shake, "right_hand", person)[0].direction[0] == "towards"
        assert not of(shake, "left_hand", person)
    push = motion_facts(clip("push"))
    assert push.relations[0].end > push.relations[0].start + 0.3
    (away,) = [event for event in of(push, "body", 1) if event.motion == "moves"]
    assert away.direction[0] == "away"
    assert any(event.direction[0] == "towards" for event in of(push, "right_hand", 0))


@pytest.mark.parametrize("side", ["left", "right"])
def test_pictures_know_sides_but_no_metres(side: str):
    facts = motion_facts(clip("wave", topology="coco17", side=side, repeats=3))
    up, *middle, down = of(facts, f"{side}_hand")
    assert (up.direction[0], down.direction[0]) == ("up", "down")
    assert 3 in [event.repetitions for event in middle]
    assert facts.views == ("front",)
    assert not facts.metric
    assert all(math.isnan(event.metres) for event in facts.events)
    assert math.isnan(facts.bodies[0].turn)


def test_a_person_who_comes_nearer_grows_in_the_picture():
    assert motion_facts(clip("walk", topology="coco17")).bodies[0].nearer > 0.25
    assert abs(motion_facts(clip("wave", topology="coco17")).bodies[0].nearer) < 0.05


@pytest.mark.parametrize("topology", sorted(TOPOLOGIES))
def test_missing_values_and_single_frames_raise_nothing(topology: str):
    rng = np.random.default_rng(0)
    channels = 2 if topology == "coco17" else 3
    joints = len(TOPOLOGIES[topology].joints)
    for frames in (1, 2, 3, 7, 40):
        for share in (0.0, 0.5, 0.97):
            places = rng.normal(size=(frames, 2, joints, channels))
            places[rng.random(places.shape[:3]) < share] = np.nan
            places[0, 0, 0] = 1.0
            places[:, 1] = np.nan if share == 0.5 else places[:, 1]
            facts = motion_facts(record(places, TOPOLOGIES[topology]))
            assert facts.duration == pytest.approx((frames - 1) / 30)
    still = np.ones((30, 1, joints, channels))
    assert motion_facts(record(still, TOPOLOGIES[topology])).persons == ()


def test_gaps_do_not_change_what_happened():
    whole = clip("wave", repeats=3)
    holes = whole.positions.copy()
    holes[np.random.default_rng(0).random(holes.shape[:3]) < 0.2] = np.nan
    _, swing, _ = of(motion_facts(replace(whole, positions=holes)), "right_hand")
    assert (swing.motion, swing.repetitions) == ("swings", 3)


def test_stillness_is_no_motion():
    posture = clip("wave").positions[:1].repeat(40, axis=0)
    facts = motion_facts(
        record(posture + np.random.default_rng(0).normal(0, 0.005, posture.shape), TOPOLOGIES["ntu25"])
    )
    assert facts.events == ()
    assert facts.contacts == ()
    assert math.isnan(facts.bodies[0].symmetry)


def test_strokes_turn_back_on_a_straight_line_and_divide_at_rests():
    line = np.concatenate([np.linspace(0, 1, 20), np.ones(15), np.linspace(1, 2, 20), np.linspace(2, 0.5, 20)])
    track = np.stack([line, 0 * line, 0 * line], axis=-1)
    both = find_strokes(track, 0.2, 30)
    assert [round(float(stroke.change[0]), 1) for stroke in both] == [1.0, 1.0, -1.5]
    assert both[0].end <= 21
    assert both[1].start >= 33
    assert find_active_spans(np.array([0, 1, 1, 0, 1, 0, 0, 0, 1.0]), 0.5, gap=1, least=2) == [(1, 4)]


def test_golden_clips(shared_data: Path):
    """Two clips written elsewhere: the first raises the right hand, the second shows two persons."""
    for name, persons in (("S001C001P001R001A023", 1), ("S001C001P002R001A058", 2)):
        lines = (shared_data / "golden/draction" / f"{name}.skeleton").read_text().split("\n")
        at, frames = 1, []
        for _ in range(int(lines[0])):
            bodies, at = int(lines[at]), at + 1
            frame = np.full((persons, 25, 3), np.nan)
            for k in range(bodies):
                at += 2
                frame[k] = [[float(v) for v in line.split()[:3]] for line in lines[at : at + 25]]
                at += 25
            frames.append(frame)
        facts = motion_facts(record(np.array(frames), TOPOLOGIES["ntu25"]))
        assert len(facts.persons) == persons
        assert facts.events
        if persons == 1:
            right, left = facts.part("right_hand"), facts.part("left_hand")
            assert right is not None
            assert left is not None
            assert right.path > 5 * left.path
            assert any(event.motion == "swings" for event in of(facts, "right_hand"))
