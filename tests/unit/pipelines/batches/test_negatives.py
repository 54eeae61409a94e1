"""Wrong labels of yes/no questions: every miner, the filters, one label as often wrong as right, and the file."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.batches import negatives
from pipelines.batches.negatives import (
    MinerInputs,
    Negatives,
    UserList,
    build_negatives,
    even_out,
    load_negatives,
    mine_table,
    read_list,
)
from pipelines.config.stages import NegativesConfig
from pipelines.runtime.errors import UserError

LABELS = ("clap", "draw circle clockwise", "draw circle counter clockwise", "sit down", "throw", "toss")
CLIPS = {"clap": 40, "draw circle clockwise": 10, "draw circle counter clockwise": 10} | dict.fromkeys(LABELS[3:], 20)
PLAIN = NegativesConfig(filter_synonyms=False, even_labels=False)
KEYS = {"s": [f"s/{label}/{i}" for label, count in CLIPS.items() for i in range(count)]}
OF = {key: key.split("/")[1] for key in KEYS["s"]}
SEEN = {"s": LABELS}


def made(cfg: NegativesConfig, **kwargs) -> Negatives:
    return build_negatives(cfg, KEYS, OF, SEEN, **kwargs)


@pytest.mark.parametrize("miner", sorted(negatives.MINERS))
def test_every_miner_gives_other_labels_with_chances(miner: str) -> None:
    table = mine_table(PLAIN, miner, CLIPS, MinerInputs())
    assert set(table) == set(LABELS)
    for label, found in table.items():
        assert label not in found
        assert set(found) <= set(LABELS)
        assert sum(found.values()) == pytest.approx(1)
        assert min(found.values()) > 0


def test_random_is_even_and_wording_is_hard() -> None:
    assert set(mine_table(PLAIN, "random", CLIPS, MinerInputs())["clap"].values()) == {0.2}
    circle = mine_table(PLAIN, "similar", CLIPS, MinerInputs())["draw circle clockwise"]
    assert circle["draw circle counter clockwise"] > 3 * circle["sit down"]


def test_confusions_are_what_the_model_says_and_nothing_is_left_out() -> None:
    confused = {"clap": {"throw": 0.3, "sit down": 0.1}, "toss": {}}
    table = mine_table(PLAIN, "confusions", CLIPS, MinerInputs(confusions=confused))
    assert table["clap"]["throw"] == pytest.approx(3 * table["clap"]["sit down"], rel=0.05)
    assert sum(table["clap"][other] for other in ("throw", "sit down")) > 0.97
    assert set(table["clap"]) == set(LABELS) - {"clap"}
    assert set(table["toss"].values()) == {0.2}  # a model that is always right
    assert table["throw"] == mine_table(PLAIN, "similar", CLIPS, MinerInputs())["throw"]  # no clip of it was scored


def test_a_users_list_and_labels_without_one() -> None:
    listed = UserList({"clap": ("throw", "toss", "clap")})
    table = mine_table(PLAIN, "list", CLIPS, MinerInputs(listed))
    assert table["clap"] == {"throw": 0.5, "toss": 0.5}
    assert len(table["sit down"]) == 5


def test_labels_that_mean_the_same_are_never_asked() -> None:
    listed = UserList(same=(frozenset(["clap", "sit down"]),))
    table = mine_table(NegativesConfig(), "similar", CLIPS, MinerInputs(listed))
    assert "toss" not in table["throw"]
    assert "throw" not in table["toss"]
    assert "sit down" not in table["clap"]
    assert "draw circle counter clockwise" in table["draw circle clockwise"]
    loose = mine_table(NegativesConfig(filter_synonyms=False), "similar", CLIPS, MinerInputs(listed))
    assert "toss" in loose["throw"]
    assert "sit down" not in loose["clap"]  # the user's word counts in any case
    wanted = mine_table(NegativesConfig(), "list", CLIPS, MinerInputs(UserList({"throw": ("toss", "clap")})))
    assert set(wanted["throw"]) == {"clap"}


def test_only_the_hardest() -> None:
    table = mine_table(replace(PLAIN, hardest=2), "similar", CLIPS, MinerInputs())
    assert {len(found) for found in table.values()} == {2}
    assert "draw circle counter clockwise" in table["draw circle clockwise"]


def test_each_label_is_wrong_as_often_as_right() -> None:
    table = mine_table(NegativesConfig(), "similar", CLIPS, MinerInputs())
    asked = Counter()
    for label, found in table.items():
        for other, chance in found.items():
            asked[other] += chance * CLIPS[label]
    assert asked == pytest.approx(CLIPS, rel=0.02)
    unscaled = mine_table(NegativesConfig(even_labels=False), "similar", CLIPS, MinerInputs())
    assert sum(found.get("clap", 0) * CLIPS[label] for label, found in unscaled.items()) < 0.6 * CLIPS["clap"]


def test_even_keeps_rows_and_zeros_where_it_cannot_be_even() -> None:
    chances = np.array([[0, 1.0, 0], [1.0, 0, 0], [0, 0, 0]])
    found = even_out(chances, [30, 10, 5])
    assert found == pytest.approx(chances)
    assert even_out(np.zeros((2, 2)), [1, 1]).tolist() == [[0, 0], [0, 0]]


def test_draws_follow_the_chances_and_repeat() -> None:
    found = made(PLAIN)
    one, two = ([found.draw("s", "clap", np.random.default_rng(7)) for _ in range(5)] for _ in range(2))
    assert one == two
    rng = np.random.default_rng(0)
    count = Counter(found.draw("s", "draw circle clockwise", rng) for _ in range(4000))
    for label, chance in found.tables["s"]["draw circle clockwise"].items():
        assert count[label] / 4000 == pytest.approx(chance, abs=0.03)


def test_a_label_without_negatives_is_told() -> None:
    found = build_negatives(NegativesConfig(), {"s": ["s/1"]}, {"s/1": "throw"}, {"s": ("throw", "toss")})
    assert not found.has("s", "throw")
    assert found.provenance["without_negatives"] == {"s": ["throw", "toss"]}
    with pytest.raises(ValueError, match="need a label beside 'throw' in s"):
        found.draw("s", "throw", np.random.default_rng(0))


def test_a_set_without_labels_has_an_empty_table() -> None:
    assert build_negatives(NegativesConfig(), {"free": []}, OF, {"free": ()}).tables == {"free": {}}


def test_no_model_yet_goes_by_wording_and_says_so() -> None:
    found = made(replace(PLAIN, miner="confusions"))
    assert found.tables == made(PLAIN).tables
    assert (found.provenance["miner"], found.provenance["wanted"]) == ("similar", "confusions")
    asked = made(replace(PLAIN, miner="confusions"), confusions={"s": {"clap": {"throw": 1.0}}})
    assert asked.provenance["miner"] == "confusions"
    assert max(asked.tables["s"]["clap"], key=asked.tables["s"]["clap"].__getitem__) == "throw"


def test_the_file_gives_back_the_same_draws(tmp_path: Path) -> None:
    found, uri = made(NegativesConfig()), str(tmp_path / "negatives.json")
    assert load_negatives(uri) is None
    found.save(uri)
    again = load_negatives(uri)
    assert again is not None
    assert again.tables == found.tables
    draws = [[n.draw("s", "sit down", np.random.default_rng(i)) for i in range(50)] for n in (found, again)]
    assert draws[0] == draws[1]


def write(folder: Path, text: str) -> str:
    file = folder / "list.yaml"
    file.write_text(text)
    return str(file)


def test_a_list_may_name_labels_that_are_not_seen_here(tmp_path: Path) -> None:
    uri = write(tmp_path, "negatives: {clap: [toss, kick], kick: [clap]}\nsame: [[throw, toss]]")
    assert read_list(uri, [*LABELS, "kick"]).same == (frozenset(["throw", "toss"]),)
    found = build_negatives(replace(PLAIN, miner="list", file=uri), KEYS, OF | {"s/kick": "kick"}, SEEN)
    assert found.tables["s"]["clap"] == {"toss": 1.0}
    assert found.provenance["not_seen_in_list"] == ["kick"]
    assert len(found.provenance["file_sha256"]) == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("negatives: {clpa: [toss]}", r"no set has the label 'clpa'; is it 'clap'\?"),
        ("negatives: {clap: [toss, tsos]}", r"label 'tsos'; is it 'toss'\?"),
        ("same: [[zzz]]", "no set has the label 'zzz'"),
        ("negatives: {clap: toss}", "expected a list of labels for each label"),
        ("same: {clap: toss}", "expected a list of lists"),
        ("wrong: {}", "expected the keys negatives and same, found wrong"),
        ("[]\n- x", "not YAML"),
    ],
)
def test_mistakes_in_a_list_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_list(write(tmp_path, text), LABELS)
    assert "\n" not in str(caught.value)


def test_a_missing_list_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file at"):
        read_list(str(tmp_path / "none.yaml"), LABELS)
    assert read_list("", LABELS) == UserList()


def test_tables_are_plain_data() -> None:
    assert json.loads(json.dumps(made(NegativesConfig()).tables)) == made(NegativesConfig()).tables
