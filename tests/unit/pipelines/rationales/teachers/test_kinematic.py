"""The built-in teacher: grounded, deterministic, short, with the label in the last line only."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from pipelines.rationales.grounding.rationale import Rationale
from pipelines.rationales.teachers.base import Teacher, TeacherError, TeacherRequest
from pipelines.rationales.teachers.kinematic import KinematicTeacher, leaks
from skeleton_io.demo.body import INDEX, Body
from skeleton_io.demo.formats import Sensor
from skeleton_io.demo.motion import ACTIONS, Style, perform
from skeleton_io.kinematics.motion import motion_facts
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, NTU25

LABELS = [action.label for action in ACTIONS]


def clip(label: str, seed: int = 1, flat: bool = False, **style: object) -> SkeletonSequence:
    action = ACTIONS[LABELS.index(label)]
    bodies = (Body(height=1.6), Body(height=1.8))[: 2 if action.duo else 1]
    made = perform(action, bodies, Style(**style), np.random.default_rng(seed))
    sensor = Sensor(yaw=np.pi / 2 if action.duo else 0.2, distance=3.2, height=1.0)
    topology = COCO17 if flat else NTU25
    places = np.stack([sensor.view(motion) for motion in made.motions], axis=1)
    places = places[:, :, [INDEX[joint] for joint in topology.joints]]
    if flat:
        places = np.array([640.0, 360.0]) + 900 * places[..., :2] / places[..., 2:]
    return SkeletonSequence(
        id=f"{label}-{seed}",
        dataset="made",
        topology=topology,
        positions=places.astype(np.float32),
        fps=30,
        source=Source(uri="made", sha256="0", reader="test", reader_version=1),
        scale="pixels" if flat else "metric",
        image_size=(1280, 720) if flat else None,
    )


def ask(sequence: SkeletonSequence, label: str) -> Rationale:
    return KinematicTeacher().explain(TeacherRequest(sequence=sequence, label=label))


def test_it_is_a_teacher_that_travels():
    teacher = pickle.loads(pickle.dumps(KinematicTeacher(max_steps=3)))
    assert isinstance(teacher, Teacher)
    assert (teacher.name, teacher.max_steps) == ("kinematic", 3)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("label", LABELS)
def test_form(label: str, flat: bool):
    assert ask(clip(label, 0, flat), label) == ask(clip(label, 0, flat), label)
    for seed in range(2):
        answer = ask(clip(label, seed, flat), label)
        *body, last = answer.text.split("\n")
        assert last == f"Label: {label}"
        assert answer.label == label
        assert not leaks("\n".join(body), label)
        assert 1 <= len(answer.steps) <= 4
        assert [step.start for step in answer.steps] == sorted(step.start for step in answer.steps)
        assert all(0 <= step.start <= step.end <= 2.1 for step in answer.steps)
        assert len(answer.text.split()) < 110


def test_the_side_is_true_and_mirrors():
    for side, other in (("left", "right"), ("right", "left")):
        answer = ask(clip("wave", side=side, repeats=3), "wave")
        assert answer.summary.startswith(f"The {side} hand moves most; ")
        assert [step.part for step in answer.steps] == [f"the {side} hand"] * 3
        assert "3 times" in answer.steps[1].motion
        assert f"the {other} hand" not in " ".join(step.part for step in answer.steps)


def test_every_number_comes_from_the_facts():
    for label in LABELS:
        sequence = clip(label)
        facts = motion_facts(sequence)
        known = {f"{value:.1f}" for e in facts.events for value in (e.start, e.end, e.metres, e.distance)}
        known |= {f"{e.degrees:.0f}" for e in facts.events} | {str(e.repetitions) for e in facts.events}
        known |= {f"{value:.1f}" for c in facts.contacts for value in (c.start, c.end)}
        known |= {str(c.count) for c in facts.contacts} | {str(p + 1) for p in facts.persons}
        # Distances of pairs are means of two events; the body's travel is given in metres.
        metres = [e.metres for e in facts.events if e.metres == e.metres]
        known |= {f"{(a + b) / 2:.1f}" for a in metres for b in metres}
        text = ask(sequence, label).text
        assert set(re.findall(r"\d+(?:\.\d+)?", text)) <= known, label


def test_small_vocabulary():
    words = set()
    for label in LABELS:
        for flat in (False, True):
            for seed in (1, 2):
                text = ask(clip(label, seed, flat), label).text
                words |= set(re.findall(r"[a-z]+", text.rsplit("\n", 1)[0].lower()))
    assert len(words) <= 75, sorted(words)


def test_what_follows_a_push_is_said_to_follow():
    answer = ask(clip("push"), "push")
    (so, *_) = [step for step in answer.steps if step.cause == "So"]
    assert "person 2" in so.part
    assert "away" in so.motion
    assert "So" not in {step.cause for label in LABELS if label != "push" for step in ask(clip(label), label).steps}


def test_a_label_that_is_part_of_the_vocabulary_does_not_leak():
    answer = ask(clip("wave"), "swing")
    assert "swing" not in answer.text.rsplit("\n", 1)[0]
    assert answer.steps
    assert leaks("Both hands swing.", "Swinging")
    assert leaks("the body goes forward", "go forward")
    assert not leaks("the right elbow goes up by 0.1 m", "bow")
    assert not leaks("the right hand goes up by 0.1 m", "bye")


def test_no_motion_and_no_body():
    still = clip("wave")
    object.__setattr__(still, "positions", still.positions[:1].copy())
    answer = ask(still, "stand")
    assert answer.steps == ()
    assert answer.text == "The body stays still.\nLabel: stand"
    object.__setattr__(still, "positions", np.full_like(still.positions, np.nan))
    assert ask(still, "stand").text == "Too little of the body is seen.\nLabel: stand"
    with pytest.raises(TeacherError, match="no label"):
        ask(clip("wave"), "  ")
