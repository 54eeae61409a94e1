"""tracks: who becomes a person, who is a phantom, and in which order."""

from __future__ import annotations

import numpy as np

from skeleton_io.sources.shared.tracks import Track, assign_slots


def track(name: str, frames: range, x: float = 0.0, speed: float = 0.0, wide: bool = False) -> Track:
    """Four joints: a figure 1.5 m tall and 0.4 m wide, or lying down."""
    figure = np.array([[-0.2, 0, 0], [0.2, 0.5, 0], [-0.2, 1.0, 0], [0.2, 1.5, 0]])
    figure = figure[:, [1, 0, 2]] if wide else figure
    times = np.array(frames)
    positions = figure[None] + np.array([1.0, 0, 0]) * (x + speed * (times - times[0]))[:, None, None]
    return Track(id=name, frames=times, positions=positions, confidence=np.ones((len(times), 4)))


def test_most_active_first_and_absent_frames_are_nan():
    slots = assign_slots([track("still", range(30)), track("walker", range(5, 30), x=3, speed=0.05)], 30, 30.0)
    assert slots.ids == ("walker", "still")
    assert np.isnan(slots.positions[:5, 0]).all()
    assert np.isfinite(slots.positions[5:, 0]).all()
    assert (slots.confidence[:5, 0] == 0).all()
    assert slots.orientations is None
    assert slots.notes == ()


def test_short_tracks_are_dropped_beside_longer_ones():
    slots = assign_slots([track("a", range(30)), track("flash", range(3, 8), x=4)], 30, 30.0)
    assert slots.ids == ("a",)
    assert slots.notes == ("track flash dropped: seen in only 5 frames",)
    assert assign_slots([track("flash", range(3, 8))], 30, 30.0).ids == ("flash",)


def test_furniture_is_dropped_but_a_lone_lying_person_stays():
    slots = assign_slots([track("a", range(30)), track("table", range(30), x=4, wide=True)], 30, 30.0)
    assert slots.ids == ("a",)
    assert "table dropped: wider than" in slots.notes[0]
    assert assign_slots([track("lying", range(30), wide=True)], 30, 30.0).ids == ("lying",)
    both = [track("one", range(30), wide=True), track("two", range(30), x=4, wide=True)]
    assert len(assign_slots(both, 30, 30.0).ids) == 2


def test_a_person_lost_and_found_keeps_the_slot():
    slots = assign_slots([track("a", range(20)), track("b", range(25, 60), x=0.3)], 60, 30.0)
    assert slots.ids == ("a",)
    assert slots.notes == ("track b continues track a: lost and found again",)
    assert np.isnan(slots.positions[20:25, 0]).all()
    assert np.isfinite(slots.positions[25:, 0]).all()
    far = assign_slots([track("a", range(20)), track("b", range(25, 60), x=3.0)], 60, 30.0)
    late = assign_slots([track("a", range(20)), track("b", range(40, 60), x=0.3)], 60, 30.0)
    assert len(far.ids) == len(late.ids) == 2


def test_order_does_not_depend_on_the_order_given():
    tracks = [track("a", range(30)), track("b", range(30), x=2, speed=0.02), track("c", range(30), x=5, speed=0.04)]
    assert assign_slots(tracks, 30, 30.0).ids == assign_slots(tracks[::-1], 30, 30.0).ids == ("c", "b", "a")
