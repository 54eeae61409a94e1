"""YAML of labels that mean the same in several sets -> which labels of one set are which of another's.

The table of the package is `synonyms.yaml`; any other file has the same form. Its hash covers the classes, not the
name, and is checked where the file gives one. Knows no clips.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skeleton_io import storage, strict_yaml
from skeleton_io.errors import SkeletonFormatError

PACKAGED = Path(__file__).with_name("synonyms.yaml")
_KEYS = {"name", "hash", "classes"}


@dataclass(frozen=True)
class Synonyms:
    """A table of classes.

    Attributes:
        name: of the table.
        classes: class -> source or set -> its labels, the preferred wording first.
    """

    name: str
    classes: Mapping[str, Mapping[str, tuple[str, ...]]]

    @property
    def hash(self) -> str:
        """Content hash (12 hex digits) of the classes, whatever their order in the file."""
        return hashlib.sha256(json.dumps(self.classes, sort_keys=True).encode()).hexdigest()[:12]

    def of(self, names: Sequence[str], labels: Sequence[str]) -> dict[str, list[str]]:
        """Class -> labels of one set, the preferred wording first; a label without an entry is a class of its own.

        Args:
            names: what the set may be called in the table: its name, its format.
            labels: of the set.
        """
        classes: dict[str, list[str]] = {}
        entered: set[str] = set()
        for title, sources in self.classes.items():
            mine = [label for name in names if name in sources for label in sources[name] if label in labels]
            if mine:
                classes[title] = list(dict.fromkeys(mine))
                entered |= set(mine)
        for label in labels:
            if label not in entered:
                classes.setdefault(label, []).append(label)
        return classes


def read_synonyms(uri: str = "") -> Synonyms:
    """A table from a file; empty: the one of the package.

    Raises:
        SkeletonFormatError: no such file, no such table, a label in two classes, or a hash that is not its content's.
    """
    place = uri or str(PACKAGED)
    if not storage.exists(place):
        raise SkeletonFormatError(place, "whole file", "a table of synonyms", "no such file")
    try:
        data = strict_yaml.parse(storage.read_text(place), packaged=not uri)
    except ValueError as error:
        raise SkeletonFormatError(place, "whole file", "YAML", " ".join(str(error).split())) from None
    if (
        not isinstance(data, dict)
        or not isinstance(data.get("classes"), dict)
        or set(data) - _KEYS
        or "name" not in data
    ):
        raise SkeletonFormatError(place, "whole file", "name, classes and perhaps hash", f"{data!r:.80}")
    table = Synonyms(str(data["name"]), _classes(place, data["classes"]))
    if "hash" in data and str(data["hash"]) != table.hash:
        raise SkeletonFormatError(place, "hash", f"{table.hash}, the hash of its classes", str(data["hash"]))
    return table


def _classes(place: str, data: Mapping[Any, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
    classes: dict[str, dict[str, tuple[str, ...]]] = {}
    class_of: dict[tuple[str, str], str] = {}
    for title, sources in data.items():
        if not isinstance(sources, dict) or not all(isinstance(labels, list) and labels for labels in sources.values()):
            raise SkeletonFormatError(place, f"class {title!r}", "source: [label, ...]", f"{sources!r:.80}")
        classes[str(title)] = {str(source): tuple(map(str, labels)) for source, labels in sources.items()}
        for source, labels in classes[str(title)].items():
            for label in labels:
                if (source, label) in class_of:
                    expected = f"each label in one class, {label!r} of {source} is in {class_of[source, label]!r}"
                    raise SkeletonFormatError(place, f"class {title!r}", expected, "it again")
                class_of[source, label] = str(title)
    return classes


def match_labels(
    table: Synonyms, train: Mapping[tuple[str, ...], Sequence[str]], test: tuple[Sequence[str], Sequence[str]]
) -> dict[str, str]:
    """Label of the test set -> wording of a training set, for the classes that both have, sorted.

    Args:
        table: what means the same.
        train: names of each training set (as in `Synonyms.of`) -> its labels; the first set that has a class words it.
        test: names and labels of the test set.
    """
    wording: dict[str, str] = {}
    for names, labels in train.items():
        for title, own in table.of(names, labels).items():
            wording.setdefault(title, own[0])
    test_classes = table.of(*test)
    return {
        label: wording[title]
        for title in sorted(test_classes)
        if title in wording
        for label in sorted(test_classes[title])
    }
