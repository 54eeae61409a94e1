"""Class-balanced drawing and clips without material: exact counts, nothing starved, yes and no stay 1:1."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.batches.sampler import Classes, Draw, Sampler

LABELS = {**{f"a/{i}": "walk" for i in range(24)}, **{f"a/{i}": "wave" for i in range(24, 30)}}
KEYS = {"a": sorted(LABELS)}


def epoch(sampler: Sampler, number: int, seed: int = 1) -> list[Draw]:
    """All draws of one epoch; a batch of one clip is one step."""
    size = len(sampler)
    return [draw for step in range(size) for draw in sampler.batch(seed, number, step, 1)]


def test_classes_are_drawn_evenly_and_no_clip_is_starved() -> None:
    sampler = Sampler(KEYS, {"mqa": 1.0}, 1.0, classes=Classes(LABELS, 0.0))
    drawn = [draw for number in range(40) for draw in epoch(sampler, number)]
    assert Counter(LABELS[d.key] for d in drawn) == {"walk": 600, "wave": 600}
    assert len({(d.key, d.visit) for d in drawn}) == len(drawn)  # a clip that comes again is drawn anew
    by_key = Counter(d.key for d in drawn)
    assert set(by_key) == set(LABELS)
    for label, mean in (("walk", 25), ("wave", 100)):
        assert all(abs(by_key[k] - mean) <= 0.08 * mean for k in LABELS if LABELS[k] == label)


def test_temperature_one_draws_as_without_classes() -> None:
    plain, classed = Sampler(KEYS, {"mqa": 1.0}, 1.0), Sampler(KEYS, {"mqa": 1.0}, 1.0, classes=Classes(LABELS, 1.0))
    count = Counter(LABELS[d.key] for d in epoch(classed, 3))
    assert count == Counter(LABELS[d.key] for d in epoch(plain, 3)) == {"walk": 24, "wave": 6}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.floats(0, 1), st.integers(0, 5), st.integers(0, 6))
def test_every_epoch_is_full_whatever_the_classes(sizes: list[int], temperature: float, number: int, free: int) -> None:
    labels = {f"a/{place}-{i}": f"label {place}" for place, size in enumerate(sizes) for i in range(size)}
    keys = [*labels, *(f"a/free-{i}" for i in range(free))]
    sampler = Sampler({"a": keys}, {"mqa": 1.0}, 1.0, classes=Classes(labels, temperature))
    found = epoch(sampler, number)
    assert len(found) == len(keys)
    count = Counter(labels.get(d.key, "") for d in found)
    weights = [size**temperature for size in sizes]
    for place, weight in enumerate(weights):
        assert abs(count[f"label {place}"] - weight / sum(weights) * sum(sizes)) < 1 + 1e-6
    assert abs(count[""] - free) < 1 + 1e-6
    assert found == epoch(sampler, number)


def test_balance_inside_of_sets_leaves_the_shares_of_the_sets() -> None:
    keys = {"a": KEYS["a"], "b": [f"b/{i}" for i in range(10)]}
    labels = LABELS | {f"b/{i}": "sit" for i in range(10)}
    sampler = Sampler(keys, {"mqa": 1.0}, 0.0, classes=Classes(labels, 0.0))
    count = Counter(labels[d.key] for number in range(4) for d in epoch(sampler, number))
    assert count == {"sit": 80, "walk": 40, "wave": 40}


def test_a_clip_without_material_draws_among_the_other_tasks() -> None:
    told = {k for k in KEYS["a"] if int(k[2:]) % 3 == 0}
    tasks = {"rationale": 2.0, "mqa": 3.0, "yesno": 1.0}
    sampler = Sampler(KEYS, tasks, 1.0, {"rationale": told})
    drawn = [draw for number in range(60) for draw in epoch(sampler, number)]
    assert {d.key for d in drawn if d.task == "rationale"} == told
    moved = Counter(d.task for d in drawn if d.wanted)
    assert set(moved) == {"mqa", "yesno"}
    assert moved["mqa"] / moved["yesno"] == pytest.approx(3, rel=0.2)
    assert all(d.wanted == "rationale" and d.key not in told for d in drawn if d.wanted)
    # What had material is drawn as if nothing had been missing.
    plain = [draw for number in range(60) for draw in epoch(Sampler(KEYS, tasks, 1.0), number)]
    assert [(d.key, d.visit, d.wanted or d.task) for d in drawn] == [(d.key, d.visit, d.task) for d in plain]


def test_yes_and_no_are_even_among_those_really_asked() -> None:
    known = {k for k in KEYS["a"] if int(k[2:]) % 4}
    material = {"yesno": known, "mqa": known, "caption": set(KEYS["a"]) - known}
    sampler = Sampler(KEYS, {"yesno": 1.0, "caption": 1.0}, 1.0, material)
    for number in range(6):
        asked = [d for d in epoch(sampler, number) if d.task == "yesno"]
        assert {d.key for d in asked} <= known
        for end in range(1, len(asked) + 1):
            assert abs(2 * sum(d.positive for d in asked[:end]) - end) <= 1


def test_with_nothing_left_it_is_multiple_choice_or_nothing() -> None:
    labelled = set(KEYS["a"][:20])
    sampler = Sampler(KEYS, {"caption": 1.0}, 1.0, {"caption": set(), "mqa": labelled})
    assert (len(sampler), sampler.left_out) == (20, 10)
    assert {(d.task, d.wanted) for d in epoch(sampler, 0)} == {("mqa", "caption")}
    with pytest.raises(ValueError, match="at least one clip"):
        Sampler(KEYS, {"caption": 1.0}, 1.0, {"caption": set(), "mqa": set()})


def test_material_that_all_have_changes_no_draw() -> None:
    tasks = {"mqa": 1.0, "yesno": 1.0}
    every = {task: set(KEYS["a"]) for task in tasks}
    assert epoch(Sampler(KEYS, tasks, 1.0, every), 2) == epoch(Sampler(KEYS, tasks, 1.0), 2)
