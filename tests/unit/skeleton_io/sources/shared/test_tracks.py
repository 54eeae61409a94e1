"""tracks: who becomes a person, who is a phantom, and in which order."""

from __future__ import annotations

import numpy as np

from skeleton_io.sources.shared.tracks import Track, persons


def track(name: str, frames: range, x: float = 0.0, speed: float = 0.0, wide: bool = False) -> Track:
    """Four joints: a figure 1.5 m tall and 0.4 m wide, or lying down."""
    figure = np.array([[-0.2, 0, 0], [0.2, 0.5, 0], [-0.2, 1.0, 0], [0.2, 1.5, 0]])
    figure = figure[:, [1, 0, 2]] if wide else figure
    times = np.array(frames)
    positions = figure[None] + np.array([1.0, 0, 0]) * (x + speed * (times - times[0]))[:, None, None]
    return Track(id=name, frames=times, positions=positions, confidence=np.ones((len(times), 4)))


def test_most_active_first_and_absent_frames_are_nan():
    found = persons([track("still", range(30)), track("walker", range(5, 30), x=3, speed=0.05)], 30, 30.0)
    assert found.ids == ("walker", "still")
    assert np.isnan(found.positions[:5, 0]).all()
    assert np.isfinite(found.positions[5:, 0]).all()
    assert (found.confidence[:5, 0] == 0).all()
    assert found.orientations is None
    assert found.notes == ()


def test_short_tracks_are_dropped_beside_longer_ones():
    found = persons([track("a", range(30)), track("flash", range(3, 8), x=4)], 30, 30.0)
    assert found.ids == ("a",)
    assert found.notes == ("track flash dropped: seen in only 5 frames",)
    assert persons([track("flash", range(3, 8))], 30, 30.0).ids == ("flash",)


def test_furniture_is_dropped_but_a_lone_lying_person_stays():
    found = persons([track("a", range(30)), track("table", range(30), x=4, wide=True)], 30, 30.0)
    assert found.ids == ("a",)
    assert "table dropped: wider than" in found.notes[0]
    assert persons([track("lying", range(30), wide=True)], 30, 30.0).ids == ("lying",)
    both = [track("one", range(30), wide=True), track("two", range(30), x=4, wide=True)]
    assert len(persons(both, 30, 30.0).ids) == 2


def test_a_person_lost_and_found_keeps_the_slot():
    found = persons([track("a", range(20)), track("b", range(25, 60), x=0.3)], 60, 30.0)
    assert found.ids == ("a",)
    assert found.notes == ("track b continues track a: lost and found again",)
    assert np.isnan(found.positions[20:25, 0]).all()
    assert np.isfinite(found.positions[25:, 0]).all()
    far = persons([track("a", range(20)), track("b", range(25, 60), x=3.0)], 60, 30.0)
    late = persons([track("a", range(20)), track("b", range(40, 60), x=0.3)], 60, 30.0)
    assert len(far.ids) == len(late.ids) == 2


def test_order_does_not_depend_on_the_order_given():
    tracks = [track("a", range(30)), track("b", range(30), x=2, speed=0.02), track("c", range(30), x=5, speed=0.04)]
    assert persons(tracks, 30, 30.0).ids == persons(tracks[::-1], 30, 30.0).ids == ("c", "b", "a")
