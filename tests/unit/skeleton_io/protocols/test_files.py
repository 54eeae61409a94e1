"""files: the published lists as they are in the papers' files, own files, and how a name is looked up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.files import (
    FOLDER,
    choose_protocol,
    protocols_of,
    published_protocols,
    read_protocol,
    to_yaml,
)
from skeleton_io.protocols.protocol import Protocol, assign
from skeleton_io.sources.depth import nw_ucla, utd_mhad
from skeleton_io.sources.depth.ntu_labels import NTU_LABELS
from skeleton_io.sources.depth.pku_mmd_labels import PKU_LABELS

# 0-based class ids, typed from the documents of the project, not from the package's files.
UNSEEN = {
    "ntu60-55-5": "10 11 19 26 56",
    "ntu60-48-12": "3 5 9 12 15 40 42 47 51 56 58 59",
    "ntu60-40-20": "0 12 13 14 15 16 17 22 23 26 29 30 31 35 36 42 43 48 56 57",
    "ntu60-30-30": "0 1 2 6 7 8 10 12 13 15 16 18 20 21 25 26 27 31 32 33 39 42 45 47 48 51 52 55 58 59",
    "ntu120-110-10": "99 65 13 88 4 106 95 37 49 43",
    "ntu120-96-24": "5 9 11 16 18 20 22 29 35 39 45 49 59 68 70 81 84 87 93 94 104 113 114 119",
    "ntu120-80-40": "11 12 18 22 23 26 28 34 37 38 42 44 46 47 48 57 59 64 66 70 73 74 75 83 86 90 92 93 95 96 102 "
    "104 107 108 110 112 115 116 118 119",
    "ntu120-60-60": "0 1 4 6 7 8 9 17 18 21 23 25 26 28 30 32 33 34 37 38 39 40 41 42 44 45 50 51 52 53 56 61 62 65 "
    "67 68 69 70 74 77 78 81 83 87 89 90 91 92 94 95 96 97 100 101 109 111 114 115 116 118",
    "ntu60-smie-1": "4 19 31 47 51",
    "ntu60-smie-2": "12 29 32 44 59",
    "ntu60-smie-3": "7 20 28 39 58",
    "ntu120-smie-1": "3 18 26 38 41 60 87 99 102 110",
    "ntu120-smie-2": "5 12 14 15 17 42 67 82 100 119",
    "ntu120-smie-3": "6 20 27 33 42 55 71 97 104 118",
    "nw-ucla-8-2": "1 4",
    "nw-ucla-5-5": "1 3 4 6 8",
    "pku-smie-1": "1 9 20 34 50",
    "pku-smie-2": "3 14 29 31 49",
    "pku-smie-3": "2 15 39 41 43",
    # Not in those documents: from the released code of STAR.
    "pku-46-5": "1 9 20 34 50",
    "pku-39-12": "3 7 11 15 19 21 25 31 33 36 43 48",
}
CLASSES = {
    "ntu": NTU_LABELS,
    "pku_mmd": PKU_LABELS,
    "nw_ucla": tuple(nw_ucla.LABELS.values()),
    "utd_mhad": tuple(utd_mhad.LABELS),
}
# The five that the paper's results rest on, by name: an error in the class table would not show in the ids.
NAMES_55_5 = {"reading", "writing", "put on a hat or cap", "jump up", "touch pocket"}
HASHES = {"ntu60-55-5": "cfafb2b1e5f1", "ntu60-48-12": "fe4c1222811d", "ntu120-60-60": "025a68e0099f"}

ALL = {rule.name: (package, rule) for package in published_protocols().values() for rule in package.zero_shot}


def test_published_lists_are_those_of_the_papers() -> None:
    assert {name for name in ALL if not name.startswith("utd")} == set(UNSEEN)
    for name, text in UNSEEN.items():
        package, rule = ALL[name]
        ids = [int(number) for number in text.split()]
        assert list(package.class_ids[name]) == ids, name
        assert list(rule.unseen) == [CLASSES[package.source][i] for i in ids], name
    assert set(ALL["ntu60-55-5"][1].unseen) == NAMES_55_5


def test_seen_and_unseen_add_up() -> None:
    for name, (package, rule) in ALL.items():
        classes = set(rule.labels or CLASSES[package.source])
        assert len(set(rule.unseen)) == len(rule.unseen)
        assert set(rule.unseen) < classes, name
        seen, hidden = len(classes) - len(rule.unseen), len(rule.unseen)
        if "smie" not in name:
            assert name.endswith(f"-{seen}-{hidden}") or (name.startswith("pku") and name.endswith(f"{seen}-{hidden}"))
        if name.startswith("ntu60"):
            assert rule.labels == NTU_LABELS[:60]


def test_names_and_rules_are_told_apart() -> None:
    names = [rule.name for package in published_protocols().values() for rule in package.zero_shot]
    assert len(names) == len(set(names))
    assert {name: ALL[name][1].hash for name in HASHES} == HASHES
    assert ALL["pku-46-5"][1].hash == ALL["pku-smie-1"][1].hash  # one rule under two names
    assert len({rule.hash for _, rule in ALL.values()}) == len(ALL) - 1


def test_every_entry_of_the_package_carries_hash_and_source() -> None:
    for path in FOLDER.glob("*.yaml"):
        data = yaml.safe_load(path.read_text())
        for entry in (*data["protocols"], *data.get("zero_shot", [])):
            assert entry["hash"], (path.name, entry["name"])
            assert entry["source"], (path.name, entry["name"])


def test_clean_cross_view_leaves_out_what_trains_and_tests(shared_data: Path) -> None:
    """Every clip that it leaves out holds the motion of a test clip; no other training clip does."""
    rule = choose_protocol((), "cross-view-clean")
    motion = {}
    for path in sorted((shared_data / "data" / "nw_ucla" / "all_sqe").glob("*.json")):
        motion[path.stem] = json.dumps(json.loads(path.read_text())["skeletons"])
    test = {text for name, text in motion.items() if name.endswith("v03")}
    repeated = {name for name, text in motion.items() if not name.endswith("v03") and text in test}
    assert set(rule.exclude) == repeated
    assert len(repeated) == 95


def test_zero_shot_crosses_the_base_rule() -> None:
    rule = ALL["ntu60-55-5"][1]

    def row(name: str, subject: str, label: str) -> dict[str, str]:
        return {"dataset": "ntu", "id": name, "subject": subject, "label": label}

    rows = [row("seen-train", "1", "clapping"), row("seen-test", "3", "clapping"), row("none", "1", "high five")]
    rows += [row("unseen-train", "1", "reading"), row("unseen-test", "3", "reading")]
    sides = {key.split("/")[1]: side for key, side in assign(rule, rows).items()}
    expected = {"seen-train": "train", "seen-test": None, "none": None, "unseen-train": None, "unseen-test": "test"}
    assert sides == expected
    assert rule.hidden == tuple(sorted(NAMES_55_5))


def test_lookup_by_name_then_package_then_path(tmp_path: Path) -> None:
    own = protocols_of("ntu")
    assert choose_protocol(own, None).name == "cross-subject"
    assert choose_protocol(own, "cross-setup") == own[2]
    assert choose_protocol(own, "ntu60-48-12") == ALL["ntu60-48-12"][1]
    mine = Protocol(name="ntu60-48-12", field="view", train=("1",), test=("2",))
    assert choose_protocol((mine,), "ntu60-48-12") == mine  # what stands in the shards goes first
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nwithin: cross-view\nunseen: [clapping, reading]\n")
    protocol = choose_protocol(own, str(path))
    assert (protocol.field, protocol.test, protocol.unseen) == ("view", ("1",), ("clapping", "reading"))
    with pytest.raises(ValueError, match=r"no protocol 'x'; there is cross-subject.*skel protocols"):
        choose_protocol(own, "x")
    with pytest.raises(SkeletonFormatError, match="no such file"):
        choose_protocol(own, str(tmp_path / "missing.yaml"))


def test_yaml_and_json_round_trip(tmp_path: Path) -> None:
    for name, (_, rule) in ALL.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(to_yaml(rule, "made by a test"))
        assert read_protocol(str(path)) == rule
    rule = ALL["nw-ucla-5-5"][1]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(rule.to_json()))
    assert read_protocol(str(path)) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nfield: subject\ntrain: ['1']\ntest: ['2']\nhash: 000000000000\n", "a rule with the hash"),
        ("name: a\nfield: subject\ntrain: 1\ntest: ['2']\n", "train must be a list"),
        ("name: a\nfield: subject\ntrain: [['1']]\ntest: ['2']\n", "train must list texts"),
        ("name: a\nwithin: nothing\nunseen: [b]\n", "no protocol 'nothing'"),
        ("name: a\nwithin: cross-view\nfield: view\nunseen: [b]\n", "field beside within"),
        ("name: a\nfield: view\ntrain: ['1']\ntest: ['2']\nlabels: [b]\nunseen: [c]\n", "not among its labels"),
        ("name: a\nfield: label\ntrain: ['*']\ntest: [b]\nunseen: [c]\n", "itself lists the unseen"),
        ("- a\n- b\n", "a mapping"),
        ("name: [a\n", "YAML or JSON"),
        ("", "a mapping"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(SkeletonFormatError, match=message):
        read_protocol(str(path), protocols_of("ntu"))


def test_a_changed_list_of_the_package_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import skeleton_io.protocols.files as module

    text = (FOLDER / "nw_ucla.yaml").read_text()
    (tmp_path / "changed.yaml").write_text(text.replace("4: sit down}", "5: stand up}"))
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(SkeletonFormatError, match=r"zero_shot 0.*742688cc1534"):
        module._read_protocol_file.__wrapped__("changed")
