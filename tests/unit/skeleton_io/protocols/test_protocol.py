"""splits: the published rules, own rules, validation clips."""

from __future__ import annotations

import pytest

from skeleton_io.protocols.files import default_protocol, protocols_of, published_protocols
from skeleton_io.protocols.protocol import HASHED, Protocol, assign, find_protocol, validation_split


def row(clip_id: str, **fields: str | None) -> dict[str, str | None]:
    empty = dict.fromkeys(("subject", "view", "setup", "repetition", "label"))
    return {"dataset": "d", "id": clip_id, **empty, **fields}


def test_rule_by_subject_with_exclusions():
    rule = Protocol(name="p", field="subject", train=("1",), test=("2",), exclude=("bad",))
    rows = [row("a", subject="1"), row("b", subject="2"), row("bad", subject="1"), row("c", subject="3"), row("d")]
    assert assign(rule, rows) == {"d/a": "train", "d/b": "test", "d/bad": None, "d/c": None, "d/d": None}


def test_rest_takes_what_the_other_side_does_not_name():
    rule = Protocol(name="p", field="view", train=("*",), test=("3",))
    sides = assign(rule, [row("a", view="1"), row("b", view="3")])
    assert sides == {"d/a": "train", "d/b": "test"}


def test_json_round_trip_and_hash():
    for package in published_protocols().values():
        for rule in (*package.protocols, *package.zero_shot):
            assert Protocol.from_json(rule.to_json()) == rule
    rule = Protocol(name="p", field="subject", train=("1", "3"), test=("2",))
    same = Protocol(name="q", field="subject", train=("3", "1"), test=("2",), source="elsewhere")
    assert rule.hash == same.hash
    assert rule.hash != Protocol(name="p", field="subject", train=("1",), test=("2",)).hash


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "p", "field": "subject", "train": ["1"], "test": ["1"]}, "both train and test"),
        ({"name": "p", "field": "colour", "train": ["1"], "test": ["2"]}, "field must be one of"),
        ({"name": "p", "field": "subject", "train": ["1"]}, "missing keys"),
        ({"name": "p", "field": "subject", "train": ["1"], "test": ["2"], "tset": []}, "unknown keys"),
        ({"name": "p", "field": "subject", "train": [], "test": ["2"]}, "at least one"),
    ],
)
def test_wrong_rules_are_refused(data: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        Protocol.from_json(data)


def test_defaults_by_set():
    defaults = {name: default_protocol(name) for name in ("msr_action3d", "utd_mhad", "nw_ucla", "sbu", "something")}
    expected = {"msr_action3d": "cross-subject", "utd_mhad": "cross-subject", "nw_ucla": "cross-view"}
    assert defaults == {**expected, "sbu": "fold1", "something": "hashed"}
    assert find_protocol(protocols_of("nw_ucla"), None).name == "cross-view"
    with pytest.raises(ValueError, match="there is cross-view, cross-subject"):
        find_protocol(protocols_of("nw_ucla"), "nonsense")


def test_sbu_folds_cover_each_pair_once():
    tests = [pair for rule in protocols_of("sbu") for pair in rule.test]
    assert len(tests) == len(set(tests)) == 22
    assert all(len(rule.train) + len(rule.test) == 22 for rule in protocols_of("sbu"))


def test_ntu_cross_subject_covers_both_sizes():
    rule = find_protocol(protocols_of("ntu"), "cross-subject")
    assert sum(int(subject) <= 40 for subject in rule.train) == 20
    assert len(rule.train) == 53


def test_hashed_split_is_stable():
    sides = assign(HASHED, [row(f"clip{n}") for n in range(1000)])
    assert 150 < sum(side == "test" for side in sides.values()) < 250
    assert sides["d/clip0"] == assign(HASHED, [row("clip0")])["d/clip0"]


def test_validation_is_cut_by_hash():
    keys = [f"d/{n}" for n in range(100)]
    train, validation = validation_split(keys, 0.1, 0)
    assert (len(train), len(validation)) == (90, 10)
    assert set(train) | set(validation) == set(keys)
    assert validation_split(keys[::-1], 0.1, 0) == (train, validation)
    assert validation_split(keys, 0.1, 1) != (train, validation)
    assert validation_split(keys, 0.0, 0)[1] == []
    assert [len(part) for part in validation_split(keys[:2], 0.01, 0)] == [1, 1]
    fewer = set(validation_split(keys[:99], 0.1, 0)[1])
    assert len(fewer ^ set(validation)) <= 2
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        validation_split(keys, 1.0, 0)
