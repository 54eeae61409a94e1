"""Protocol files -> protocols: the published ones, which come with the package, by name, and any YAML or JSON file.

`sets/SET.yaml` holds `protocols` (the set's own rules, the default first; they go into its shards) and `zero_shot`
(rules that name unseen classes, for any shard set of that source). Every entry carries the hash of its rule, which is
checked when it is read. Splits no clips: `protocol` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from skeleton_io import storage, strict_yaml
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.protocol import HASHED, Protocol, find_protocol

FOLDER = Path(__file__).parent / "sets"
SUFFIXES = (".yaml", ".yml", ".json")
_SIZE_LIMIT = 1 << 26  # a rule by id may list every clip of a large set


@dataclass(frozen=True, kw_only=True)
class ProtocolFile:
    """What one file of the package holds.

    Attributes:
        source: source or set that the rules are for.
        protocols: the set's own, the default first.
        zero_shot: rules that hide classes, within one of `protocols`.
        class_ids: zero-shot protocol -> 0-based class id of each of its unseen labels, in the order of `unseen`.
    """

    source: str
    protocols: tuple[Protocol, ...]
    zero_shot: tuple[Protocol, ...]
    class_ids: dict[str, tuple[int, ...]]


@cache
def published_protocols() -> dict[str, ProtocolFile]:
    """Source -> the protocols that come with the package, sorted by source.

    Raises:
        SkeletonFormatError: a file of the package was changed without its hash.
    """
    return {path.stem: _read_protocol_file(path.stem) for path in sorted(FOLDER.glob("*.yaml"))}


def protocols_of(name: str) -> tuple[Protocol, ...]:
    """Published rules of a set or source, the default first; `HASHED` alone where there is none."""
    return _read_protocol_file(name).protocols if (FOLDER / f"{name}.yaml").is_file() else (HASHED,)


def default_protocol(name: str) -> str:
    """Name of the protocol that a set uses where the configuration names none."""
    return protocols_of(name)[0].name


def is_file(name: str) -> bool:
    """Whether the value of `data.protocols` is a path or URI of a file, not a name."""
    return name.lower().endswith(SUFFIXES)


def choose_protocol(own: Sequence[Protocol], name: str | None) -> Protocol:
    """The protocol that a configuration means for one set.

    Args:
        own: the set's protocols in its shards, the default first.
        name: one of them, a published protocol whose name no other set has, or the path of a file; None: the default.

    Raises:
        ValueError: no such protocol.
        SkeletonFormatError: the file is not a protocol.
    """
    if name is None or any(rule.name == name for rule in own):
        return find_protocol(own, name)
    if is_file(name):
        return read_protocol(name, own)
    rules = [rule for package in published_protocols().values() for rule in (*package.zero_shot, *package.protocols)]
    by_hash = {rule.hash: rule for rule in rules if rule.name == name}
    # A name that several sets use says nothing here. Shards that are older than a rule still know it by its name.
    protocol = next(iter(by_hash.values())) if len(by_hash) == 1 else None
    if protocol is None:
        here = ", ".join(rule.name for rule in own) or "none"
        raise ValueError(f"no protocol {name!r}; there is {here}, what `skel protocols` lists, or the path of a YAML")
    return protocol


def read_protocol(uri: str, own: Sequence[Protocol] = ()) -> Protocol:
    """One protocol from a YAML or JSON file.

    Args:
        uri: path or fsspec URI; the file holds name and either field, train, test or `within`, the name of another.
        own: what `within` may name.

    Raises:
        SkeletonFormatError: no such file, not YAML or JSON, not a protocol, or a hash that is not that of its rule.
    """
    if not storage.exists(uri):
        raise SkeletonFormatError(uri, "whole file", "a protocol", "no such file")
    data = storage.read_bytes(uri)
    if len(data) > _SIZE_LIMIT:
        raise SkeletonFormatError(uri, "whole file", f"at most {_SIZE_LIMIT} bytes", f"{len(data)}")
    try:
        text = data.decode("utf-8-sig")
        entry = json.loads(text) if uri.lower().endswith(".json") else strict_yaml.parse(text)
    except (ValueError, RecursionError) as error:
        raise SkeletonFormatError(uri, "whole file", "YAML or JSON", " ".join(str(error).split())) from None
    return _protocol(uri, "whole file", entry, own)[0]


def to_yaml(protocol: Protocol, comment: str = "") -> str:
    """A protocol as the text of a file that `read_protocol` reads back; empty lists are left out."""
    plain = {key: value for key, value in protocol.to_json().items() if value}
    head = {"name": plain.pop("name"), "hash": protocol.hash}
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    return lines + strict_yaml.dump({**head, **plain}, width=110)


@cache
def _read_protocol_file(name: str) -> ProtocolFile:
    path = FOLDER / f"{name}.yaml"
    data = strict_yaml.parse(path.read_text(encoding="utf-8"), packaged=True)
    rules = tuple(_protocol(path.name, f"protocols {n}", entry, ())[0] for n, entry in enumerate(data["protocols"]))
    entries = data.get("zero_shot", [])
    hidden = [_protocol(path.name, f"zero_shot {n}", entry, rules) for n, entry in enumerate(entries)]
    ids = {protocol.name: ids for protocol, ids in hidden}
    return ProtocolFile(source=name, protocols=rules, zero_shot=tuple(p for p, _ in hidden), class_ids=ids)


def _protocol(uri: str, place: str, entry: Any, own: Sequence[Protocol]) -> tuple[Protocol, tuple[int, ...]]:
    """One entry -> the protocol and the class ids of its unseen labels, where it gives them."""
    if not isinstance(entry, Mapping):
        raise SkeletonFormatError(uri, place, "a mapping with name, field, train, test", type(entry).__name__)
    rule = dict(entry)
    ids: tuple[int, ...] = ()
    if isinstance(rule.get("unseen"), Mapping):
        ids = tuple(rule["unseen"])
        rule["unseen"] = list(rule["unseen"].values())
    stated_hash = rule.pop("hash") if "hash" in rule else None
    try:
        protocol = _within(rule, own) if "within" in rule else Protocol.from_json(_lists_only(rule))
    except (ValueError, TypeError) as error:
        raise SkeletonFormatError(uri, place, "a protocol", str(error)) from None
    if stated_hash is not None and str(stated_hash) != protocol.hash:
        raise SkeletonFormatError(
            uri, place, f"a rule with the hash {stated_hash}", f"{protocol.name} with {protocol.hash}"
        )
    return protocol, ids


def _within(rule: dict[str, Any], own: Sequence[Protocol]) -> Protocol:
    """A rule that takes who trains and who tests from another and hides classes."""
    base = find_protocol(own, str(rule.pop("within")))
    twice = sorted({"field", "train", "test"} & set(rule))
    if twice:
        raise ValueError(f"{', '.join(twice)} beside within, which gives them")
    protocol = Protocol.from_json(_lists_only({**rule, "field": base.field, "train": base.train, "test": base.test}))
    return replace(protocol, exclude=(*base.exclude, *protocol.exclude), labels=protocol.labels or base.labels)


def _lists_only(rule: dict[str, Any]) -> dict[str, Any]:
    """Refuses `train: 1`, which would be read letter by letter, and lists within lists."""
    for key in ("train", "test", "exclude", "labels", "unseen"):
        if key in rule and not isinstance(rule[key], list | tuple):
            raise ValueError(f"{key} must be a list, found {type(rule[key]).__name__}")
        if any(not isinstance(value, str | int) for value in rule.get(key, ())):
            raise ValueError(f"{key} must list texts or whole numbers")
    return rule
