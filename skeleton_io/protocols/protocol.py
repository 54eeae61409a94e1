"""Metadata rows -> who trains and who tests. Protocols are data: a field of the clip and the values on each side.

Cuts validation clips from training clips only. Holds no published rules and reads no files: `files` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

Field = Literal["subject", "view", "setup", "repetition", "label", "id", "hash"]
Side = Literal["train", "test"]
REST = "*"
_BUCKETS = 10  # of clips by hash: sides in steps of ten percent


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A split rule: clips whose `field` is in `train` train, those in `test` test, all others are left out.

    Attributes:
        name: for example "cross-subject".
        field: metadata column; "hash" is the clip key's sha256 modulo 10 as text, for sets without any other rule.
        train, test: values of the field; "*" stands for every value that the other side does not name.
        exclude: ids that the protocol leaves out.
        labels: only clips with these labels take part; empty: all.
        unseen: zero-shot: labels that only ever test. A clip on the training side takes part when its label is not
            among them, one on the test side when it is; empty: labels play no role.
        source: where the rule is published.
    """

    name: str
    field: Field
    train: tuple[str, ...]
    test: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        if self.field not in get_args(Field):
            raise ValueError(f"protocol {self.name}: field must be one of {get_args(Field)}, found {self.field!r}")
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise ValueError(f"protocol {self.name}: {both} both train and test")
        if not self.train or not self.test:
            raise ValueError(f"protocol {self.name}: train and test must each name at least one {self.field}")
        if self.unseen and self.field == "label":
            raise ValueError(f"protocol {self.name}: with field label, test itself lists the unseen labels")
        outside = sorted(set(self.unseen) - set(self.labels)) if self.labels else []
        if outside:
            raise ValueError(f"protocol {self.name}: unseen labels {outside} are not among its labels")

    @property
    def hidden(self) -> tuple[str, ...]:
        """Labels that no training clip may have, sorted; the candidates of a zero-shot test. Empty: not zero-shot."""
        return tuple(sorted(self.unseen or (() if self.field != "label" or REST in self.test else self.test)))

    @property
    def hash(self) -> str:
        """Content hash (12 hex digits) over the rule, not over its name or source."""
        rule = [self.field, *(sorted(part) for part in (self.train, self.test, self.exclude, self.labels))]
        if self.unseen:
            rule.append(sorted(self.unseen))
        return hashlib.sha256(json.dumps(rule).encode()).hexdigest()[:12]

    @cached_property
    def _sets(self) -> tuple[frozenset[str], ...]:
        """Train, test, exclude, labels and unseen for look-up: a rule by id may list every clip of a large set."""
        return tuple(frozenset(part) for part in (self.train, self.test, self.exclude, self.labels, self.unseen))

    def side(self, row: Mapping[str, Any]) -> Side | None:
        """Side of one clip; None: not part of the protocol, or the field is unknown for this clip."""
        value = _bucket(row) if self.field == "hash" else row[self.field]
        train, test, exclude, labels, unseen = self._sets
        if value is None or row["id"] in exclude or (labels and row["label"] not in labels):
            return None
        side = self._by_value(value, train, test)
        if unseen and (row["label"] in unseen) != (side == "test"):
            return None
        return side

    def _by_value(self, value: str, train: frozenset[str], test: frozenset[str]) -> Side | None:
        if value in train:
            return "train"
        if value in test:
            return "test"
        if REST in train:
            return "train"
        return "test" if REST in test else None

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back."""
        parts = {name: list(getattr(self, name)) for name in ("train", "test", "exclude", "labels")}
        if self.unseen:  # shard sets written before there were zero-shot protocols keep their bytes
            parts["unseen"] = list(self.unseen)
        return {"name": self.name, "field": self.field, **parts, "source": self.source}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Protocol:
        """Inverse of `to_json`; `exclude`, `labels`, `unseen` and `source` may be absent.

        Raises:
            ValueError: a key is missing or unknown, or the rule contradicts itself.
        """
        lists = ("train", "test", "exclude", "labels", "unseen")
        unknown = sorted(set(data) - {"name", "field", "source", *lists})
        missing = [key for key in ("name", "field", "train", "test") if key not in data]
        if unknown or missing:
            raise ValueError(f"protocol: unknown keys {unknown}, missing keys {missing}")
        train, test, exclude, labels, unseen = (
            tuple(str(v) for v in data[key]) if key in data else () for key in lists
        )
        return Protocol(
            name=str(data["name"]),
            field=data["field"],
            train=train,
            test=test,
            exclude=exclude,
            labels=labels,
            unseen=unseen,
            source=str(data["source"]) if "source" in data else "",
        )


def assign(protocol: Protocol, rows: Iterable[Mapping[str, Any]]) -> dict[str, Side | None]:
    """Key "dataset/id" -> side, for metadata rows (as `ShardSet.meta().to_pylist()`) of one set."""
    return {f"{row['dataset']}/{row['id']}": protocol.side(row) for row in rows}


def validation_split(train_keys: Iterable[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Cuts validation clips from training clips: those whose hash (of seed and key) is smallest.

    The order of the keys does not matter, and one clip more or less moves at most one other clip.

    Returns:
        (training keys, validation keys), both sorted; at least one stays on each side where share > 0 and there are
        two clips or more.

    Raises:
        ValueError: share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"share of validation clips must be in [0, 1), found {share}")
    ranked = sorted(set(train_keys), key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).hexdigest())
    count = round(share * len(ranked))
    if share > 0 and len(ranked) > 1:
        count = min(max(count, 1), len(ranked) - 1)
    return sorted(ranked[count:]), sorted(ranked[:count])


def find_protocol(protocols: Sequence[Protocol], name: str | None) -> Protocol:
    """The protocol of that name; None: the default, which is the first.

    Raises:
        ValueError: no such protocol; lists the names.
    """
    if name is None and protocols:
        return protocols[0]
    protocol = next((p for p in protocols if p.name == name), None)
    if protocol is None:
        raise ValueError(f"no protocol {name!r}; there is {', '.join(p.name for p in protocols) or 'none'}")
    return protocol


def _bucket(row: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(f"{row['dataset']}/{row['id']}".encode()).digest()
    return str(int.from_bytes(digest[:8], "big") % _BUCKETS)


HASHED = Protocol(name="hashed", field="hash", train=(REST,), test=("0", "1"), source="20 % of the clips by hash")
"""For sets that come without a rule. Says little: clips of one person fall on both sides."""
