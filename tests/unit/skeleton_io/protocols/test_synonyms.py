"""The table of the package against the labels of the readers, and what is shared between two sets."""

from __future__ import annotations

import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.synonyms import PACKAGED, match_labels, read_synonyms
from skeleton_io.sources.depth import kimore, msr_action3d, nw_ucla, sbu, utd_mhad
from skeleton_io.sources.depth.ntu_labels import NTU_LABELS

BANDAI = ("bow", "bye", "byebye", "call", "dance short", "dash", "guide", "kick", "punch", "respond", "run", "slash")
LABELS = {
    "msr_action3d": msr_action3d.LABELS,
    "utd_mhad": utd_mhad.LABELS,
    "nw_ucla": tuple(nw_ucla.LABELS.values()),
    "sbu": sbu.LABELS,
    "kimore": kimore.LABELS,
    "ntu": NTU_LABELS,
    "bandai_namco_1": (*BANDAI, "walk", "walk back", "walk left", "walk right"),
}


def table(tmp_path, text):
    (tmp_path / "t.yaml").write_text(text)
    return read_synonyms(str(tmp_path / "t.yaml"))


def test_every_label_of_the_package_exists_in_its_source():
    synonyms = read_synonyms()
    for title, sources in synonyms.classes.items():
        assert len(sources) > 1, title
        for source, labels in sources.items():
            assert set(labels) <= set(LABELS[source]), (title, source)


def test_utd_and_msr_share_the_eleven_names_of_the_published_floor():
    one = match_labels(
        read_synonyms(), {("utd_mhad",): LABELS["utd_mhad"]}, (("msr_action3d",), LABELS["msr_action3d"])
    )
    assert len(one) == len(set(one.values())) == 11
    assert one["high arm wave"] == "wave"
    assert one["draw x"] == "draw x"
    back = match_labels(
        read_synonyms(), {("msr_action3d",): LABELS["msr_action3d"]}, (("utd_mhad",), LABELS["utd_mhad"])
    )
    assert {ours: theirs for theirs, ours in back.items()} == one


def test_several_training_sets_the_first_words_it(tmp_path):
    synonyms = table(tmp_path, "name: t\nclasses:\n  hop: {a: [hop], b: [jump], c: [leap, bound]}\n")
    sets = {("a",): ("hop", "bow"), ("b",): ("jump", "wave")}
    # "wave" is worded alike; "leap" and "bound" are both the class "hop".
    assert match_labels(synonyms, sets, (("c", "fmt"), ("leap", "bound", "wave", "sit"))) == {
        "bound": "hop",
        "leap": "hop",
        "wave": "wave",
    }


def test_hash_covers_the_classes(tmp_path):
    text = "name: {}\nclasses:\n  {}\n"
    one = table(tmp_path, text.format("a", "hop: {a: [hop], b: [jump]}"))
    assert table(tmp_path, text.format("b", "hop: {b: [jump], a: [hop]}")).hash == one.hash
    assert table(tmp_path, text.format("a", "hop: {a: [hop], b: [leap]}")).hash != one.hash
    assert f'hash: "{read_synonyms().hash}"' in PACKAGED.read_text()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("name: t\nhash: abc\nclasses:\n  hop: {a: [hop]}\n", "hash"),
        ("name: t\nclasses:\n  hop: {a: [hop]}\n  leap: {a: [hop]}\n", "each label in one class"),
        ("name: t\nclasses:\n  hop: [a]\n", "class 'hop'"),
        ("[1, 2]", "name, classes"),
        ("name: [", "YAML"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, text, match):
    with pytest.raises(SkeletonFormatError, match=match):
        table(tmp_path, text)


def test_no_table():
    with pytest.raises(SkeletonFormatError, match="no such file"):
        read_synonyms("/nowhere/t.yaml")
