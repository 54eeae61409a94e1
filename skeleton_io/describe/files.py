"""Paths of unknown files -> which of them hold clips, and a pattern of their names with what the parts may mean.

Reads no content. Letters before numbers are taken as NTU and Kinect sets use them: a or c(lass) action, s or p subject.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from skeleton_io.describe.body import CHECK, Guess
from skeleton_io.sources.arrays.content import SUFFIXES
from skeleton_io.sources.shared.side_files import SIDE_FILES

_LETTERS = {
    "a": "label",
    "action": "label",
    "s": "subject",
    "p": "subject",
    "subj": "subject",
    "subject": "subject",
    "person": "subject",
    "v": "view",
    "c": "view",
    "cam": "view",
    "camera": "view",
    "view": "view",
    "e": "repetition",
    "t": "repetition",
    "r": "repetition",
    "rep": "repetition",
    "take": "repetition",
    "trial": "repetition",
}
# Files that describe a set and hold none of its clips.
_NO_CLIPS = re.compile(r"(?i)(.*/)?(read_?me|licen[cs]e|index|metadata|mean|std|requirements|labels?|.*splits?)\.\w+")
_MOST_NAMES = 200
"""More different words than that are names of clips, no labels."""
_MOST_ALIKE = 0.9
"""Share of files with the most frequent form of name from which the others count as notes between the clips."""
_MOST_FOLDERS = 6
"""Folders tried on their own where the files of a suffix make no sense together."""
_TOKEN = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z\d]+")
# Words with - or _ between them as one; the letters that stand before a number belong to the number.
_PHRASE = re.compile(r"[A-Za-z]+(?:[-_ ][A-Za-z]+(?![A-Za-z\d]))*|\d+|[^A-Za-z\d]+")


@dataclass(frozen=True, kw_only=True)
class Naming:
    """The pattern, and for each group of it what it may fill in."""

    pattern: str
    fields: dict[str, Guess]
    reason: str


def list_file_sets(paths: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(suffix, paths) of files that may be the clips, the likeliest first: all of a suffix, then folder by folder."""
    candidates = [p for p in paths if _suffix(p) in SUFFIXES and p.rsplit("/", 1)[-1] not in SIDE_FILES]
    candidates = [p for p in candidates if not _NO_CLIPS.fullmatch(p)] or candidates
    wholes, parts = [], []
    for suffix, _ in Counter(_suffix(p) for p in candidates).most_common():
        group = [p for p in candidates if _suffix(p) == suffix]
        # A list of files or a note between hundreds of clips has another name.
        form, count = Counter(_form(p) for p in group).most_common(1)[0]
        alike = [p for p in group if _form(p) == form]
        wholes.append((suffix, alike if count >= _MOST_ALIKE * len(group) else group))
        folders = Counter(p.rpartition("/")[0] for p in group).most_common(_MOST_FOLDERS)
        for folder, _ in folders if len(folders) > 1 else []:
            parts.append((suffix, [p for p in group if p.rpartition("/")[0] == folder]))
    return wholes + parts


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _shape(tokens: Sequence[str]) -> tuple[str, ...]:
    return tuple(_kind(token) for token in tokens)


def _form(path: str) -> tuple[str, ...]:
    return _shape(_PHRASE.findall(_name(path)))


def _suffix(path: str) -> str:
    return path.rsplit(".", 1)[-1].lower() if "." in path.rsplit("/", 1)[-1] else ""


def guess_naming(paths: Sequence[str]) -> Naming:
    """A pattern that fits all paths, with groups for label, subject, view and repetition where the names tell them."""
    tokens = [_TOKEN.findall(_name(path)) for path in paths]
    words = "[A-Za-z]+"
    if len({_shape(parts) for parts in tokens}) > 1:  # sit_down_p01 beside wave_p01
        tokens, words = [_PHRASE.findall(_name(path)) for path in paths], "[A-Za-z][A-Za-z _-]*"
    suffixes = sorted({path.rsplit(".", 1)[-1] for path in paths})
    ending = rf"\.(?:{'|'.join(map(re.escape, suffixes))})" if len(suffixes) > 1 else rf"\.{re.escape(suffixes[0])}"
    shapes = {_shape(parts) for parts in tokens}
    folders, fields = _folders(paths)
    if len(shapes) > 1 or len(paths) == 1:
        same = re.escape(paths[0].rsplit("/", 1)[-1].rsplit(".", 1)[0]) if len(paths) == 1 else "[^/]+"
        stem = same
        reason = "one file" if len(paths) == 1 else "the names have no common form"
    else:
        stem, more = _stem(tokens, set(fields), words)
        fields |= more
        reason = "the form that all names have"
    if len({path.rsplit("/", 1)[-1] for path in paths}) < len(paths):
        fields.pop("id", None)
        return Naming(pattern=folders + stem + ending, fields=fields, reason=reason)
    return Naming(pattern=f"{folders}(?P<id>{stem}){ending}", fields=fields, reason=reason)


def _kind(token: str) -> str:
    return "0" if token.isdigit() else "a" if token[0].isalpha() else token


def _folders(paths: Sequence[str]) -> tuple[str, dict[str, Guess]]:
    """Pattern of the folders; a folder whose names are words may be the label."""
    parts = [path.split("/")[:-1] for path in paths]
    if len({len(p) for p in parts}) > 1 or not parts[0]:
        return r"(?:.*/)?", {}
    pieces, fields = [], {}
    for depth in range(len(parts[0])):
        names = {p[depth] for p in parts}
        word = all(re.fullmatch(r"[A-Za-z][A-Za-z _-]{2,}", name) for name in names)
        if len(names) == 1:
            pieces.append(re.escape(parts[0][depth]))
        elif word and 2 <= len(names) <= _MOST_NAMES and "label" not in fields:
            pieces.append("(?P<label>[^/]+)")
            examples = ", ".join(sorted(names)[:4])
            fields["label"] = Guess(None, f"{len(names)} folders named by words: {examples}")
        else:
            match = re.match(r"([A-Za-z]+)\d+$", parts[0][depth])
            role = _LETTERS.get(match[1].casefold(), "") if match else ""
            if role and role not in fields and all(re.fullmatch(rf"{match[1]}\d+", n) for n in names):  # type: ignore[index]
                pieces.append(rf"{match[1]}(?P<{role}>\d+)")  # type: ignore[index]
                fields[role] = Guess(None, f"{CHECK}folders such as {parts[0][depth]}")
            else:
                pieces.append("[^/]+")
    return "".join(f"{piece}/" for piece in pieces), fields


def _stem(tokens: list[list[str]], names_in_use: set[str], words: str) -> tuple[str, dict[str, Guess]]:
    """Pattern of names with the same form, and what its parts may mean."""
    pattern, fields = "", {}
    for place, token in enumerate(tokens[0]):
        values = {parts[place] for parts in tokens}
        before = tokens[0][place - 1].casefold() if place and tokens[0][place - 1].isalpha() else ""
        if token.isdigit():
            role = _LETTERS.get(before, "")
            number = rf"\d{{{len(token)}}}" if {len(v) for v in values} == {len(token)} != {1} else r"\d+"
            if role and role not in names_in_use | fields.keys():
                pattern += rf"(?P<{role}>{number})"
                fields[role] = Guess(None, f"{CHECK}the number after {tokens[0][place - 1]!r} in the file name")
            else:
                pattern += number
        elif len(values) == 1:
            pattern += re.escape(token)
        elif token[0].isalpha() and len(values) <= _MOST_NAMES and "label" not in names_in_use | fields.keys():
            pattern += f"(?P<label>{words})"
            fields["label"] = Guess(None, f"{len(values)} words in the file name: {', '.join(sorted(values)[:4])}")
        else:
            pattern += words if token[0].isalpha() else r"[^A-Za-z\d/]+"
    return pattern, fields
