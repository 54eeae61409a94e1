"""Labels -> whether two of them mean the same, and how alike they are worded. English; knows no model and no set.

Used where asking about another label would be wrong ("is this toss?" of a clip labelled throw) or hard.
"""

from __future__ import annotations

from functools import lru_cache

from pipelines.scores.rules import normalise

FILLERS = frozenset(
    ("a", "an", "the", "of", "to", "with", "in", "at", "for", "by", "from")
    + ("his", "her", "their", "your", "one", "ones", "s", "something", "someone")
)
"""Words that tell no two actions apart. Directions and opposites (up, on, off, away) are kept."""
SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("throw", "toss", "hurl"),
    ("run", "jog"),
    ("hit", "strike"),
    ("lift", "raise"),
    ("take off", "remove"),
    ("put on", "wear"),
    ("phone", "telephone", "cellphone", "mobile phone"),
    ("photo", "picture", "photograph"),
    ("bicycle", "bike"),
    ("stand up", "get up"),
    ("rotate", "turn"),
)
"""Words and phrases that the labels of public sets use for the same thing."""
_VOWELS = "aeiou"


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A word without -ing, -ed, -s and a final e: "waving", "waves" and "wave" are one."""
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base != word and len(base) > 2 and any(letter in _VOWELS for letter in base):
            doubled = base[-1] == base[-2] and base[-1] not in "lsz"
            return (base[:-1] if doubled else base).removesuffix("e")
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word.removesuffix("s")
    return word.removesuffix("e") if len(word) > 3 else word


def _stems(text: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in normalise(text).split() if word not in FILLERS)


_PHRASES = {_stems(phrase): _stems(group[0]) for group in SYNONYMS for phrase in group}
_LONGEST = max(len(phrase) for phrase in _PHRASES)


@lru_cache(maxsize=8192)
def meaning(label: str) -> frozenset[str]:
    """The stems of a label's words, synonyms by their first name; words in any order mean the same."""
    words, stems = _stems(label), []
    place = 0
    while place < len(words):
        for length in range(_LONGEST, 0, -1):
            phrase = words[place : place + length]
            if len(phrase) == length and phrase in _PHRASES:
                stems += _PHRASES[phrase]
                break
        else:
            length = 1
            stems.append(words[place])
        place += length
    return frozenset(stems) or frozenset([normalise(label)])


def same_meaning(one: str, other: str) -> bool:
    """Whether two labels name one action: the same words but for inflection, filler words and synonyms."""
    return normalise(one) == normalise(other) or meaning(one) == meaning(other)


def likeness(one: str, other: str) -> float:
    """Jaccard index of words and character trigrams, in [0, 1]."""
    own, theirs = _parts(one), _parts(other)
    return len(own & theirs) / max(1, len(own | theirs))


@lru_cache(maxsize=8192)
def _parts(text: str) -> frozenset[str]:
    plain = normalise(text)
    return frozenset([*plain.split(), *(plain[i : i + 3] for i in range(len(plain) - 2))])
