"""Which labels mean the same: inflection, fillers and synonyms go, opposites and directions stay."""

from __future__ import annotations

import pytest

from pipelines.batches.label_meaning import likeness, meaning, same_meaning, stem

WORDS = {"wave": "waving waves waved", "sit": "sitting sits", "clap": "claps clapping", "run": "running runs"}


@pytest.mark.parametrize(("word", "others"), WORDS.items())
def test_inflection_goes(word: str, others: str) -> None:
    assert {stem(other) for other in others.split()} == {stem(word)}


@pytest.mark.parametrize("word", ["bring", "king", "kiss", "swing", "red", "string", "bus"])
def test_words_that_only_look_inflected_stay(word: str) -> None:
    assert stem(word) == word


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Clapping", "clap"),
        ("throw", "toss"),
        ("put on a hat", "wear hat"),
        ("taking off one's shoes", "remove shoes"),
        ("jogging", "run"),
        ("make a phone call", "make telephone call"),
        ("hand-clap", "clap hand"),
    ],
)
def test_the_same_action(one: str, other: str) -> None:
    assert same_meaning(one, other)
    assert same_meaning(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sit down", "stand up"),
        ("wear jacket", "take off jacket"),
        ("draw circle clockwise", "draw circle counter clockwise"),
        ("throw", "throw away"),
        ("high arm wave", "two hand wave"),
        ("walking towards", "walking apart"),
        ("nod head", "shake head"),
        ("swipe left", "swipe right"),
    ],
)
def test_opposites_and_neighbours_are_other_actions(one: str, other: str) -> None:
    assert not same_meaning(one, other)


def test_a_label_of_fillers_alone_is_itself() -> None:
    assert meaning("to the") == {"to the"}
    assert not same_meaning("to the", "at one")


def test_likeness() -> None:
    assert likeness("wave", "Wave!") == 1
    assert likeness("wave", "") == 0
    assert likeness("draw circle", "draw square") > likeness("draw circle", "sit down")
