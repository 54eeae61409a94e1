"""labels.json, clips.json, protocols.json and exclusion lists beside a set's files -> what they say of its clips.

Knows no format. Reads no clip.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError

EXCLUDE_LISTS = (
    "exclude.txt",
    "NTU_RGBD_samples_with_missing_skeletons.txt",
    "NTU_RGBD120_samples_with_missing_skeletons.txt",
)
"""Lists of clips to leave out: the user's own, and the official ones of NTU RGB+D under their own names."""
SIDE_FILES = ("labels.json", "clips.json", "protocols.json", *EXCLUDE_LISTS)
"""Files in a set's folder that describe clips and hold none."""
CLIP_TEXTS = ("label", "subject", "view", "setup", "repetition", "captions")
"""Fields of clips.json that replace the record's own."""
_CLIP_FIELDS = (*CLIP_TEXTS, "image_size", "fps")


@dataclass(frozen=True, kw_only=True)
class SideInfo:
    """What labels.json and clips.json say.

    Attributes:
        names: code -> label, from labels.json ({"A001": "wave"}).
        clips: file stem or clip id -> fields that win over the file's own, from clips.json, then from labels.json
            where its values are objects.
        excluded: file stems and clip ids of the lists (`EXCLUDE_LISTS`), which go to the quarantine unread.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    clips: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    excluded: frozenset[str] = frozenset()


def plain_label(text: str) -> str:
    """A label as the records keep it: lower case, single spaces."""
    return " ".join(text.replace("_", " ").split()).lower()


def side_info(root: str) -> SideInfo:
    """labels.json, clips.json and the exclusion lists of a set's folder; empty where there are none.

    Raises:
        SkeletonFormatError: not JSON, or an entry that is not understood.
    """
    return _side_info(root, tuple(storage.stamp(storage.join(root, name)) for name in SIDE_FILES))


@lru_cache(maxsize=16)
def _side_info(root: str, stamps: tuple[int, ...]) -> SideInfo:
    """`stamps` only makes a changed file be read again."""
    names: dict[str, str] = {}
    clips: dict[str, dict[str, Any]] = {}
    for name in SIDE_FILES[:2]:
        for key, value in read_side(root, name, {}).items():
            place = f"entry {key!r}"
            if isinstance(value, str) and name == "labels.json":
                names[key] = plain_label(value)
            elif isinstance(value, dict):
                clips[key] = {**clips.get(key, {}), **_clip_fields(value, name, place)}
            else:
                raise SkeletonFormatError(name, place, "an object with label, subject, ...", repr(value)[:80])
    return SideInfo(names=names, clips=clips, excluded=_excluded(root))


def read_side(root: str, name: str, absent: Any) -> Any:
    """JSON of a side file of the same type as `absent`, which stands for a file that is not there.

    Raises:
        SkeletonFormatError: not JSON, or another type.
    """
    uri = storage.join(root, name)
    if not storage.exists(uri):
        return absent
    try:
        content = json.loads(storage.read_text(uri))
    except ValueError as error:
        raise SkeletonFormatError(name, "whole file", "JSON", str(error)) from None
    if not isinstance(content, type(absent)):
        raise SkeletonFormatError(name, "whole file", f"a JSON {type(absent).__name__}", type(content).__name__)
    return content


def _clip_fields(value: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    unknown = sorted(set(value) - set(_CLIP_FIELDS))
    if unknown:
        raise SkeletonFormatError(name, place, f"fields among {', '.join(_CLIP_FIELDS)}", ", ".join(unknown))
    fields: dict[str, Any] = {}
    for key, content in value.items():
        if content is None:
            continue
        fields[key] = _clip_value(key, content)
        if fields[key] is None:
            raise SkeletonFormatError(name, f"{place}, {key}", "a value of that field", repr(content)[:80])
    return fields


def _clip_value(key: str, content: Any) -> Any:
    """Value in the record's form, None where it is not one."""
    if key == "captions":
        return tuple(content) if isinstance(content, list) and all(isinstance(c, str) for c in content) else None
    if key == "image_size":
        fine = isinstance(content, list) and len(content) == 2 and all(type(c) is int and c > 0 for c in content)
        return tuple(content) if fine else None
    if key == "fps":
        return float(content) if isinstance(content, int | float) and content > 0 else None
    if not isinstance(content, str | int):
        return None
    return plain_label(str(content)) if key == "label" else str(content)


def _excluded(root: str) -> frozenset[str]:
    """Names of all the lists, without folders and the suffix `.skeleton`.

    A list may keep its introduction: a sentence is no clip's name and excludes nothing.
    """
    uris = [storage.join(root, name) for name in EXCLUDE_LISTS]
    lines = [line.strip() for uri in uris if storage.exists(uri) for line in storage.read_text(uri).splitlines()]
    names = (line.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".skeleton") for line in lines)
    return frozenset(name for name in names if name)
