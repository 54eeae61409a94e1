"""Words for walks, runs and limps (Foerger et al., Aalto 2013): answers.csv -> captions, motion names -> labels.

A motion's name lists what it is blended from and the percentages: `k_walk_sad_k_run_slow_100_000` is the actor k's sad
walk alone. English answers only; case and inflection are the participants' own.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter

_COLUMNS = ("survey_language", "motion", "verb", "modifier1", "modifier2", "modifier3")
_NAME = re.compile(r"((?:[kt]_[a-z]+_[a-z]+_)+)(\d{3}(?:_\d{3})*)")
_PART = re.compile(r"([kt])_([a-z]+)_([a-z]+)_")


def read_answers(text: str) -> dict[str, tuple[str, ...]]:
    """Motion -> "verb modifier modifier modifier" as answered in English, the most frequent first.

    Raises:
        KeyError: a column is absent.
    """
    counts: dict[str, Counter[str]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        cells = {column: row[column] or "" for column in _COLUMNS}
        answer = " ".join(" ".join(cells[column] for column in _COLUMNS[2:]).split()).lower()
        counter = counts.setdefault(cells["motion"], Counter())
        if cells["survey_language"] == "english" and answer:
            counter[answer] += 1
    return {m: tuple(sorted(counter, key=lambda answer: (-counter[answer], answer))) for m, counter in counts.items()}


def parse_motion_name(motion: str) -> tuple[str | None, str | None, str | None]:
    """(action, actor, manner) of a motion that is one recording; three None of a blend and of other names."""
    name = _NAME.fullmatch(motion)
    if name is None:
        return None, None, None
    parts, shares = _PART.findall(name[1]), name[2].split("_")
    whole = [part for part, share in zip(parts, shares, strict=False) if share == "100"]
    if len(parts) != len(shares) or len(whole) != 1:
        return None, None, None
    actor, action, manner = whole[0]
    return action, actor, manner
