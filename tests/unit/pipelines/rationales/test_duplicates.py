"""Near copies are found, whatever their numbers, and among many texts."""

from __future__ import annotations

from pipelines.rationales.duplicates import most_alike


def test_copies_are_found_whatever_their_numbers():
    first = "The right hand goes up by 0.3 m. Then, from 0.5 to 0.9 s, the right hand goes down. Both feet stay."
    copy = first.replace("0.3", "0.4").replace("0.9", "1.9")
    near = first.replace("Both feet stay.", "The left hand stays still.")
    other = "The body turns left by 90 degrees and both persons end closer while their hands meet twice."
    values = most_alike([first, other, copy, near])
    assert values[0] == 0.0
    assert values[1] < 0.2
    assert values[2] == 1.0
    assert 0.5 < values[3] < 1.0


def test_copies_among_many():
    texts = [f"word{k} goes to word{k * 7 % 91} and word{k * 3 % 53} then word{k + 1} ends" for k in range(300)]
    letters = [text.translate(str.maketrans("0123456789", "abcdefghij")) for text in texts]
    assert max(most_alike(letters)) < 0.9
    assert most_alike([*letters, letters[17]])[-1] == 1.0
