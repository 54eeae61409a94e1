"""Metadata rows -> who trains and who tests. Protocols are data: a field of the clip and the values on each side.

The published ones are listed per set, the default first; a set's folder may bring its own. Cuts validation clips from
training clips only. Reads no files.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

Field = Literal["subject", "view", "setup", "repetition", "label", "id", "hash"]
Side = Literal["train", "test"]
REST = "*"
_BUCKETS = 10


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A split rule: clips whose `field` is in `train` train, those in `test` test, all others are left out.

    Attributes:
        name: for example "cross-subject".
        field: metadata column; "hash" is the clip key's sha256 modulo 10 as text, for sets without any other rule.
        train, test: values of the field; "*" stands for every value that the other side does not name.
        exclude: ids that the protocol leaves out.
        labels: only clips with these labels take part; empty: all.
        source: where the rule is published.
    """

    name: str
    field: Field
    train: tuple[str, ...]
    test: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        if self.field not in get_args(Field):
            raise ValueError(f"protocol {self.name}: field must be one of {get_args(Field)}, found {self.field!r}")
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise ValueError(f"protocol {self.name}: {both} both train and test")
        if not self.train or not self.test:
            raise ValueError(f"protocol {self.name}: train and test must each name at least one {self.field}")

    @property
    def hash(self) -> str:
        """Content hash (12 hex digits) over the rule, not over its name or source."""
        rule = [self.field, *(sorted(part) for part in (self.train, self.test, self.exclude, self.labels))]
        return hashlib.sha256(json.dumps(rule).encode()).hexdigest()[:12]

    @cached_property
    def _sets(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """Train, test and exclude for look-up: a rule by id may list every clip of a large set."""
        return frozenset(self.train), frozenset(self.test), frozenset(self.exclude)

    def side(self, row: Mapping[str, Any]) -> Side | None:
        """Side of one clip; None: not part of the protocol, or the field is unknown for this clip."""
        value = _bucket(row) if self.field == "hash" else row[self.field]
        if value is None or row["id"] in self._sets[2] or (self.labels and row["label"] not in self.labels):
            return None
        train, test, _ = self._sets
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
        return {"name": self.name, "field": self.field, **parts, "source": self.source}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Protocol:
        """Inverse of `to_json`; `exclude`, `labels` and `source` may be absent.

        Raises:
            ValueError: a key is missing or unknown, or the rule contradicts itself.
        """
        lists = ("train", "test", "exclude", "labels")
        unknown = sorted(set(data) - {"name", "field", "source", *lists})
        missing = [key for key in ("name", "field", "train", "test") if key not in data]
        if unknown or missing:
            raise ValueError(f"protocol: unknown keys {unknown}, missing keys {missing}")
        train, test, exclude, labels = (tuple(str(v) for v in data[key]) if key in data else () for key in lists)
        return Protocol(
            name=str(data["name"]),
            field=data["field"],
            train=train,
            test=test,
            exclude=exclude,
            labels=labels,
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


def protocol_named(protocols: Sequence[Protocol], name: str | None) -> Protocol:
    """The protocol of that name; None: the default, which is the first.

    Raises:
        ValueError: no such protocol; lists the names.
    """
    if name is None and protocols:
        return protocols[0]
    found = next((p for p in protocols if p.name == name), None)
    if found is None:
        raise ValueError(f"no protocol {name!r}; there is {', '.join(p.name for p in protocols) or 'none'}")
    return found


def _bucket(row: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(f"{row['dataset']}/{row['id']}".encode()).digest()
    return str(int.from_bytes(digest[:8], "big") % _BUCKETS)


HASHED = Protocol(name="hashed", field="hash", train=(REST,), test=("0", "1"), source="20 % of the clips by hash")
"""For sets that come without a rule. Says little: clips of one person fall on both sides."""


def _numbers(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _msr() -> tuple[Protocol, ...]:
    names = (
        "a02_s03_e02 a04_s03_e01 a07_s04_e01 a13_s09_e01 a13_s09_e02 a13_s09_e03 a14_s03_e01 a20_s07_e01 "
        "a20_s07_e03 a20_s10_e03"
    )
    subsets = {
        "cross-subject": (),
        "AS1": ("horizontal arm wave", "hammer", "forward punch", "high throw")
        + ("hand clap", "bend", "tennis serve", "pickup and throw"),
        "AS2": ("high arm wave", "hand catch", "draw x", "draw tick")
        + ("draw circle", "two hand wave", "forward kick", "side boxing"),
        "AS3": ("high throw", "forward kick", "side kick", "jogging")
        + ("tennis swing", "tennis serve", "golf swing", "pickup and throw"),
    }
    return tuple(
        Protocol(
            name=name,
            field="subject",
            train=_numbers("1 3 5 7 9"),
            test=_numbers("2 4 6 8 10"),
            exclude=_numbers(names),
            labels=labels,
            source="Li, Zhang, Liu, CVPR4HB 2010; without the 10 files that are too noisy",
        )
        for name, labels in subsets.items()
    )


def _sbu() -> tuple[Protocol, ...]:
    folds = (
        "s01s02 s03s04 s05s02 s06s04",
        "s02s03 s02s07 s03s05 s05s03",
        "s01s03 s01s07 s07s01 s07s03",
        "s02s01 s02s06 s03s02 s03s06",
        "s04s02 s04s03 s04s06 s05s06 s06s02 s06s03",
    )
    return tuple(
        Protocol(
            name=f"fold{number}",
            field="subject",
            train=tuple(pair for other in folds if other is not fold for pair in other.split()),
            test=_numbers(fold),
            source="Yun et al., CVPRW 2012: 5 folds by pair",
        )
        for number, fold in enumerate(folds, 1)
    )


def _ntu() -> tuple[Protocol, ...]:
    first = "1 2 4 5 8 9 13 14 15 16 17 18 19 25 27 28 31 34 35 38"
    more = " 45 46 47 49 50 52 53 54 55 56 57 58 59 70 74 78 80 81 82 83 84 85 86 89 91 92 93 94 95 97 98 100 103"
    # The subjects of NTU-60 that train in both sets are the same, so one rule serves NTU-60, NTU-120 and any part.
    return (
        Protocol(
            name="cross-subject",
            field="subject",
            train=_numbers(first + more),
            test=(REST,),
            source="Liu et al., TPAMI 2019; its first 40 subjects are Shahroudy et al., CVPR 2016",
        ),
        Protocol(name="cross-view", field="view", train=("2", "3"), test=("1",), source="Shahroudy et al., CVPR 2016"),
        Protocol(
            name="cross-setup",
            field="setup",
            train=tuple(str(n) for n in range(2, 33, 2)),
            test=tuple(str(n) for n in range(1, 33, 2)),
            source="Liu et al., TPAMI 2019",
        ),
    )


def _jhmdb() -> tuple[Protocol, ...]:
    sides = ("train", "test", "absent")  # absent: the files of that split are not in the folder
    codes = [" ".join(code) for code in itertools.product(sides, repeat=3)]
    return tuple(
        Protocol(
            name=f"split{number + 1}",
            field="setup",
            train=tuple(code for code in codes if code.split()[number] == "train"),
            test=tuple(code for code in codes if code.split()[number] == "test"),
            source="Jhuang et al., ICCV 2013: three splits, the mean is reported; 14 of the 21 actions, as DD-Net",
        )
        for number in range(3)
    )


_SUBJECTS = tuple(str(number) for number in range(1, 11))
PROTOCOLS: dict[str, tuple[Protocol, ...]] = {
    "msr_action3d": _msr(),
    "utd_mhad": (
        Protocol(
            name="cross-subject",
            field="subject",
            train=_SUBJECTS[0:8:2],
            test=_SUBJECTS[1:8:2],
            source="Chen, Jafari, Kehtarnavaz, ICIP 2015",
        ),
    ),
    "nw_ucla": (
        Protocol(name="cross-view", field="view", train=("1", "2"), test=("3",), source="Wang et al., CVPR 2014"),
        Protocol(
            name="cross-subject",
            field="subject",
            train=_SUBJECTS[0::2],
            test=_SUBJECTS[1::2],
            source="odd subjects train; the paper leaves one subject out at a time",
        ),
    ),
    "sbu": _sbu(),
    "sfinge3d": (
        Protocol(
            name="dictionary",
            field="repetition",
            train=tuple(str(n) for n in range(1, 25)),
            test=tuple(str(n) for n in range(25, 37)),
            source="ours: takes 1 to 24 of the dictionary train; the set itself tests detection on its streams",
        ),
    ),
    "pku_mmd": (Protocol(name="cross-view", field="view", train=("M", "R"), test=("L",), source="Liu et al., 2017"),),
    "bandai_namco_1": (
        Protocol(
            name="cross-take",
            field="repetition",
            train=("1",),
            test=("2",),
            source="none published for recognition: first take trains, second tests",
        ),
    ),
    "human36m": (
        Protocol(
            name="cross-subject",
            field="subject",
            train=("S1", "S5", "S6", "S7", "S8"),
            test=("S9", "S11"),
            source="Pavllo et al., CVPR 2019",
        ),
    ),
    "ntu": _ntu(),
    "jhmdb": _jhmdb(),
    "kinetics_skeleton": (
        Protocol(name="official", field="setup", train=("train",), test=("val",), source="Kay et al. 2017"),
    ),
}
"""Source or set name -> its protocols, the default first."""


def default_protocol(name: str) -> str:
    """Name of the protocol that a set uses where the configuration names none."""
    return protocols_of(name)[0].name


def protocols_of(name: str) -> tuple[Protocol, ...]:
    """Published protocols of a set or format; `HASHED` alone where there is none."""
    return PROTOCOLS.get(name, (HASHED,))
