"""The order of the data: pure, complete, balanced, and the same on any number of workers."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.batches.sampler import Sampler, generator, quotas, stage_seed, take_share

SETS = {"a": [f"a/{i}" for i in range(23)], "b": [f"b/{i}" for i in range(7)]}


def stream(sampler: Sampler, seed: int, steps: int, batch: int) -> list:
    draws = []
    for number in range(steps):
        epoch, step = sampler.place(number, batch)
        draws += sampler.batch(seed, epoch, step, batch)
    return draws


def test_every_epoch_passes_every_clip_once_and_epochs_differ() -> None:
    sampler = Sampler(SETS, {"mqa": 1.0}, 1.0)
    draws = stream(sampler, 5, 15, 8)  # 120 draws: 4 epochs of 30
    epochs = [draws[i : i + 30] for i in range(0, 120, 30)]
    for number, epoch in enumerate(epochs):
        assert sorted(d.key for d in epoch) == sorted(SETS["a"] + SETS["b"])
        assert {d.visit for d in epoch} == {number}
    assert [d.key for d in epochs[0]] != [d.key for d in epochs[1]]


def test_a_batch_depends_on_its_arguments_only() -> None:
    first, second = Sampler(SETS, {"mqa": 1.0}, 0.5), Sampler(dict(reversed(SETS.items())), {"mqa": 1.0}, 0.5)
    stream(first, 9, 12, 8)
    assert first.batch(9, 2, 1, 8) == second.batch(9, 2, 1, 8)
    assert first.batch(9, 2, 1, 8) != first.batch(10, 2, 1, 8)


@given(st.integers(1, 40), st.integers(0, 200), st.integers(1, 60))
def test_place_and_first_step_are_inverse(clips: int, number: int, batch: int) -> None:
    sampler = Sampler({"a": [str(i) for i in range(clips)]}, {"mqa": 1.0}, 1.0)
    epoch, step = sampler.place(number, batch)
    assert step >= 0
    assert sampler.first_step(epoch, batch) + step == number


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_ranks_cut_one_and_the_same_batch(world: int) -> None:
    draws = Sampler(SETS, {"mqa": 1.0}, 1.0).batch(1, 0, 0, 16)
    parts = [take_share(draws, rank, world) for rank in range(world)]
    assert tuple(d for rank in parts for d in rank) == draws
    assert len({len(rank) for rank in parts}) == 1
    with pytest.raises(ValueError, match="no multiple of 3"):
        take_share(draws, 0, 3)


def test_yes_and_no_are_even_over_an_epoch() -> None:
    for tasks in ({"yesno": 1.0}, {"yesno": 1.0, "mqa": 2.0}):
        sampler = Sampler(SETS, tasks, 1.0)
        for epoch in range(4):
            draws = [d for d in stream(sampler, 3, 60, 2)[30 * epoch : 30 * epoch + 30] if d.task == "yesno"]
            assert draws
            assert abs(2 * sum(d.positive for d in draws) - len(draws)) <= 1


def test_temperature_moves_draws_to_small_sets() -> None:
    assert quotas([23, 7], 1.0) == [23, 7]
    assert quotas([23, 7], 0.0) == [15, 15]
    counts = Counter(d.key.split("/")[0] for d in stream(Sampler(SETS, {"mqa": 1.0}, 0.0), 1, 30, 30))
    assert counts == {"a": 450, "b": 450}
    by_key = Counter(d.key for d in stream(Sampler(SETS, {"mqa": 1.0}, 0.0), 1, 46, 15))
    assert {by_key[k] for k in SETS["a"]} == {15}  # 23 epochs of 15 draws pass 23 clips 15 times


def test_repeated_clips_of_an_epoch_are_drawn_anew() -> None:
    draws = stream(Sampler(SETS, {"mqa": 1.0}, 0.0), 1, 1, 30)
    assert len({(d.key, d.visit) for d in draws}) == 30


def test_fractional_epochs() -> None:
    sampler = Sampler(SETS, {"mqa": 1.0}, 1.0)
    assert [sampler.steps(e, 10) for e in (0.01, 0.5, 1, 2.5)] == [1, 2, 3, 8]


def test_generators_are_told_apart() -> None:
    draws = [generator(*a).random() for a in ((1, 0, "x"), (1, 1, "x"), (2, 0, "x"), (1, 0, "y"), (1, 0, "x", "y"))]
    assert len(set(draws)) == 5
    assert stage_seed(0, "1-warm-up") != stage_seed(0, "4-refine")
