"""Metric assembly: values worked out by hand, chance, intervals, sets without clips, labels outside the candidates."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipelines.scores.metrics import ClipScore, Scoreboard, rule_scores

NAMES = ("bow", "clap", "wave")


def clip(key, label, best, generated=None, name="a", names=NAMES, tokens=None, prior=None):
    """A clip whose candidate `best` scores -1 and all others -2, -3, ... in order."""
    order = [best, *(n for n in names if n != best)]
    return ClipScore(
        key=key,
        set=name,
        label=label,
        log_prob=tuple(-1.0 - order.index(n) for n in names),
        tokens=tokens or (1,) * len(names),
        prior=prior or (0.0,) * len(names),
        generated=generated,
    )


def judge(**candidates):
    return Scoreboard(candidates or {"a": NAMES}, resamples=500, seed=0)


def test_accuracy_chance_and_interval_by_hand():
    clips = [clip(f"a/{i}", "wave", "wave" if i < 3 else "bow") for i in range(4)]
    found = judge().accuracy(clips, "normalised")
    assert found["value"] == 0.75
    assert found["chance"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["n"] == 4
    low, high = found["ci95"]
    assert 0 <= low < 0.75 < high <= 1
    assert found["top3"] == 1.0


def test_chance_over_sets_is_the_mean_over_clips():
    two = ("x", "y")
    clips = [clip("a/1", "bow", "bow"), *(clip(f"b/{i}", "x", "x", name="b", names=two) for i in range(3))]
    found = judge(a=NAMES, b=two).assemble(clips, floors={"b": 0.5})
    assert found["accuracy"]["chance"] == pytest.approx((1 / 3 + 3 / 2) / 4, abs=1e-4)
    assert found["sets"]["b"]["floor"] == 0.5
    assert found["sets"]["a"]["floor"] is None


def test_rules_differ_where_they_should():
    long = clip("a/1", "wave", "bow", tokens=(1, 1, 4), prior=(-0.1, -0.1, -9.0))
    # wave: -3 in 4 tokens is better per token than bow's -1 in one, but worse as a whole.
    assert NAMES[rule_scores(long, "normalised").argmax()] == "wave"
    assert NAMES[rule_scores(long, "summed").argmax()] == "bow"
    assert NAMES[rule_scores(long, "prior_corrected").argmax()] == "wave"
    with pytest.raises(ValueError, match="rule"):
        rule_scores(long, "median")


def test_confusion_rows_are_truth_and_sum_to_the_clips():
    clips = [clip("a/1", "bow", "wave"), clip("a/2", "bow", "bow"), clip("a/3", "wave", "wave")]
    found = judge().assemble(clips, floors={})["sets"]["a"]
    assert found["labels"] == list(NAMES)
    assert found["confusion"] == [[1, 0, 1], [0, 0, 0], [0, 0, 1]]
    told = [{name: row[name] for name in ("label", "n", "value")} for row in found["per_class"]]
    assert found["per_class"][0]["ci95"] == [0.0, 1.0]
    assert found["per_class"][1]["ci95"] == [None, None]
    assert told == [
        {"label": "bow", "n": 2, "value": 0.5},
        {"label": "clap", "n": 0, "value": None},
        {"label": "wave", "n": 1, "value": 1.0},
    ]


def test_generated_text_is_judged_twice():
    names = ("throw", "throw and catch")
    clips = [
        clip("a/1", "throw", "throw", "Throw and catch.", names=names),
        clip("a/2", "throw and catch", "throw", "throw and catch", names=names),
        clip("a/3", "throw", "throw", "nothing", names=names),
    ]
    found = judge(a=names).generated(clips)
    # The first answer names the longer label: wrong, though the official rule accepts it.
    assert found["exact"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["substring"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["no_label_named"] == pytest.approx(1 / 3, abs=1e-4)
    assert judge().generated([clip("a/1", "bow", "bow")]) is None


def test_label_outside_the_candidates_counts_as_wrong():
    found = judge().assemble([clip("a/1", "jump", "bow"), clip("a/2", "bow", "bow")], floors={})
    assert found["accuracy"]["value"] == 0.5
    assert found["outside_candidates"] == 1
    assert sum(map(sum, found["sets"]["a"]["confusion"])) == 1


def test_empty_sets_are_left_out_and_the_result_is_json():
    found = judge(a=NAMES, b=("x", "y")).assemble([clip("a/1", "bow", "bow")], floors={})
    assert list(found["sets"]) == ["a"]
    assert json.loads(json.dumps(found)) == found
    with pytest.raises(ValueError, match="no scored clips"):
        judge().assemble([], floors={})


def test_order_of_rows_does_not_matter():
    clips = [clip(f"a/{i}", "wave", NAMES[i % 3]) for i in range(7)]
    assert judge().assemble(clips, {}) == judge().assemble(clips[::-1], {})


def test_nearest_candidate_takes_answers_that_name_none():
    clips = [clip("a/1", "clap", "clap", "Clapping hands"), clip("a/2", "bow", "bow", "xyz")]
    found = judge().generated(clips)
    assert found["exact"]["value"] == 0
    assert found["nearest"]["value"] == 0.5
    assert found["no_label_named"] == 1


def test_abstention_answers_the_sure_clips_first():
    # Three sure clips that are right, one unsure clip that is wrong.
    sure = [replace(clip(f"a/{i}", "wave", "wave"), log_prob=(-9.0, -9.0, -0.1)) for i in range(3)]
    unsure = replace(clip("a/9", "wave", "bow"), log_prob=(-1.0, -1.1, -1.2))
    found = judge().summary([*sure, unsure])["abstention"]
    assert found["coverage"][-1] == 1
    assert found["accuracy"][-1] == 0.75
    assert found["accuracy"][found["coverage"].index(0.75)] == 1
    assert found["aurc"] == pytest.approx(0.25 / 4, abs=1e-4)
    assert found["aurc_ci95"][0] == 0


def test_classes_weigh_the_same_in_the_class_mean():
    clips = [*(clip(f"a/{i}", "wave", "wave") for i in range(9)), clip("a/9", "bow", "wave")]
    found = judge().summary(clips)
    assert found["accuracy"]["value"] == 0.9
    assert found["mean_class"]["value"] == 0.5


def test_harmonic_mean_of_seen_and_unseen_classes():
    clips = [clip(f"a/{i}", "wave", "wave" if i < 3 else "bow") for i in range(4)]
    clips += [clip(f"a/{i}", "clap", "clap" if i < 5 else "bow") for i in range(4, 8)]
    found = judge().harmonic(clips, unseen=["clap"])
    assert (found["seen"]["value"], found["unseen"]["value"]) == (0.75, 0.25)
    assert found["harmonic"]["value"] == pytest.approx(2 * 0.75 * 0.25, abs=1e-4)
    low, high = found["harmonic"]["ci95"]
    assert low < 0.375 < high
    with pytest.raises(ValueError, match="seen and of unseen"):
        judge().harmonic(clips, unseen=[])
