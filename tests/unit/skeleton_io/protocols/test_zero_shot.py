"""zero_shot: drawn classes are the same everywhere, spread over clip counts, and both sides have clips."""

from __future__ import annotations

import pytest

from skeleton_io.protocols.protocol import HASHED, Protocol, assign
from skeleton_io.protocols.zero_shot import zero_shot

PEOPLE = Protocol(name="people", field="subject", train=("1", "2"), test=("3",))


def rows(counts: dict[str, int]) -> list[dict[str, str]]:
    """`counts` clips of each label and subject 1, 2, 3."""
    return [
        {"dataset": "d", "id": f"{label}-{subject}-{n}", "label": label, "subject": subject}
        for label, count in counts.items()
        for subject in "123"
        for n in range(count)
    ]


PINNED = ("action 00", "action 04", "action 06", "action 09")
COUNTS = {f"action {n:02d}": n + 1 for n in range(12)}


def test_the_draw_is_fixed_and_does_not_depend_on_the_order() -> None:
    first = zero_shot("d", rows(COUNTS), PEOPLE, 4, 0)
    assert zero_shot("d", rows(COUNTS)[::-1], PEOPLE, 4, 0) == first
    # Pinned: a file that was written once must come out again.
    assert first.name == "d-8-4-seed0"
    assert first.unseen == PINNED
    draws = {zero_shot("d", rows(COUNTS), PEOPLE, 4, seed).unseen for seed in range(20)}
    assert len(draws) > 10


def test_frequent_and_rare_classes_are_hidden() -> None:
    for seed in range(20):
        hidden = zero_shot("d", rows(COUNTS), PEOPLE, 4, seed).unseen
        assert sorted((COUNTS[label] - 1) // 3 for label in hidden) == [0, 1, 2, 3]


def test_seen_classes_train_and_unseen_ones_test() -> None:
    data = rows(COUNTS)
    rule = zero_shot("d", data, PEOPLE, 4, 1)
    sides = assign(rule, data)
    labels_of_side = {
        side: {row["label"] for row in data if sides[f"d/{row['id']}"] == side} for side in ("train", "test")
    }
    assert labels_of_side["test"] == set(rule.unseen)
    assert labels_of_side["train"] == set(COUNTS) - set(rule.unseen)
    assert {row["subject"] for row in data if sides[f"d/{row['id']}"] == "test"} == {"3"}


def test_without_a_base_all_clips_take_part() -> None:
    data = rows(COUNTS)
    rule = zero_shot("d", data, None, 4, 1)
    assert rule.field == "label"
    assert rule.hidden == tuple(sorted(rule.test))
    assert None not in assign(rule, data).values()


def test_classes_without_clips_on_both_sides_take_no_part() -> None:
    data = [*rows(COUNTS), {"dataset": "d", "id": "x", "label": "only trains", "subject": "1"}]
    rule = zero_shot("d", data, PEOPLE, 4, 0)
    assert "only trains" not in rule.labels
    assert assign(rule, data)["d/x"] is None


@pytest.mark.parametrize(("count", "base"), [(0, PEOPLE), (11, PEOPLE), (11, None), (12, HASHED)])
def test_too_few_classes_are_refused(count: int, base: Protocol | None) -> None:
    with pytest.raises(ValueError, match="2 must stay seen"):
        zero_shot("d", rows(COUNTS), base, count, 0)


def test_a_zero_shot_base_is_refused() -> None:
    with pytest.raises(ValueError, match="hides classes already"):
        zero_shot("d", rows(COUNTS), zero_shot("d", rows(COUNTS), PEOPLE, 4, 0), 2, 0)
