"""Files of any layout, described by an `ArraysDefinition` instead of code -> clips.

npy, npz, csv, txt, json, mat and parquet. The definition comes from a YAML (`loading.load_definition`) and travels to
other processes as its JSON text. Guesses nothing: `skeleton_io.describe.draft` drafts definitions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.arrays.checks import TEXTS
from skeleton_io.sources.arrays.content import Table, as_array, open_content, pick
from skeleton_io.sources.arrays.definition import ArraysDefinition, From
from skeleton_io.sources.arrays.fields import Clip, companion_pattern, read_segments, read_text
from skeleton_io.sources.arrays.layout import unfold
from skeleton_io.sources.arrays.loading import from_json
from skeleton_io.sources.arrays.table import Raw, read_table
from skeleton_io.sources.arrays.values import convert, file_joints, order_persons, rate_and_times
from skeleton_io.sources.shared.files import ClipOrError, FileSource, SourceFile, check_present
from skeleton_io.sources.shared.side_files import plain_label

VERSION = 1
"""Raised whenever the same definition makes other records."""


def source_from(definition: ArraysDefinition) -> FileSource:
    """The source that reads files as the definition says."""
    digest = hashlib.sha256(f"{VERSION} {definition.to_json()}".encode()).hexdigest()
    return FileSource(
        name="arrays",
        # 28 bits of the hash: the column holds 32 with a sign.
        version=int(digest[:7], 16),
        pattern=definition.files,
        parse=_Parser(definition.to_json()),
        licence=definition.licence,
        companions=companion_pattern(definition),
        identify=identify,
    )


def identify(match: re.Match[str]) -> str:
    """Id of a file: the group `id`, else the file's name without folders and suffix."""
    name = match.groupdict().get("id")
    return name if name else match.string.rsplit("/", 1)[-1].rsplit(".", 1)[0]


@dataclass(frozen=True)
class _Parser:
    """`parse` of one definition, which travels as text."""

    definition: str

    def __call__(self, file: SourceFile) -> Iterator[ClipOrError]:
        return parse(from_json(self.definition), file)


def parse(d: ArraysDefinition, file: SourceFile) -> Iterator[ClipOrError]:
    """Clips of one file; an error as a value for each that could not be read, where the file holds several."""
    match = re.fullmatch(d.files, file.item.path)
    groups = {key: value for key, value in (match.groupdict() if match else {}).items() if value is not None}
    pieces = list(_pieces(d, file, open_content(file, d.read), groups))
    for clip in pieces:
        try:
            yield from _clips(d, clip)
        except SkeletonFormatError as error:
            if len(pieces) == 1:
                raise
            yield error
        except (ValueError, FloatingPointError) as error:
            problem = _from_message(clip, str(error))
            if len(pieces) == 1:
                raise problem from None
            yield problem


def _from_message(clip: Clip, message: str) -> SkeletonFormatError:
    expected, _, found = message.partition(", found ")
    return clip.file.error(f"clip {clip.id}", expected.removeprefix(f"{clip.id}: "), found or "something else")


def _pieces(d: ArraysDefinition, file: SourceFile, content: Any, groups: dict[str, str]) -> Iterator[Clip]:
    """Parts of the file that hold a clip each (or an array with the axis N)."""
    name = file.item.id
    if d.clips is None or d.clips.lengths:
        yield Clip(file=file, id=name, content=content, whole=content, groups=groups)
    elif d.clips.column is not None:
        if not isinstance(content, Table):
            raise file.error("definition, clips.column", "a table", type(content).__name__)
        rows: dict[str, list[int]] = {}
        for row, value in enumerate(content.texts(content.place(d.clips.column))):
            rows.setdefault(value, []).append(row)
        for value, which in rows.items():
            part = content.rows(np.array(which, np.int64))
            yield Clip(file=file, id=f"{name}.{value}", content=part, whole=content, groups=groups)
    elif d.clips.names:
        if not isinstance(content, dict):
            raise file.error("definition, clips.names", "named arrays or an object", type(content).__name__)
        for key, value in content.items():
            match = re.fullmatch(d.clips.names, key)
            if match:
                own = {k: v for k, v in match.groupdict().items() if v is not None}
                yield Clip(file=file, id=f"{name}.{key}", content=value, whole=content, groups=groups | own)
    else:
        entries = pick(file, content, d.clips.list)
        if not isinstance(entries, list):
            raise file.error(d.clips.list, "a list of clips", type(entries).__name__)
        for place, entry in enumerate(entries):
            yield Clip(file=file, id=f"{name}.{place}", content=entry, whole=content, groups=groups)


def _clips(d: ArraysDefinition, clip: Clip) -> Iterator[ClipOrError]:
    """The clips of a piece: several only with the axis N."""
    joints = file_joints(d)
    raws = read_table(d, clip.content, joints) if isinstance(clip.content, Table) else _read_arrays(d, clip, joints)
    several = "N" in [axis.strip() for axis in re.split("[,*]", d.layout)]
    lengths = None
    if d.clips is not None and d.clips.lengths:
        lengths = as_array(clip.file, clip.value(d.clips.lengths), d.clips.lengths).reshape(-1)
        if len(lengths) != len(raws):
            raise clip.file.error(d.clips.lengths, f"{len(raws)} lengths", str(len(lengths)))
    confidence = _own_confidence(d, clip, joints)
    for number, raw in enumerate(raws):
        own = clip
        if several:
            own = Clip(
                file=clip.file,
                id=f"{clip.id}.{number}",
                content=clip.content,
                whole=clip.whole,
                groups=clip.groups,
                number=number,
                count=len(raws),
            )
        sure = None if confidence is None else confidence[number if len(confidence) > 1 else 0]
        try:
            if lengths is not None:
                raw, sure = _cut(raw, sure, lengths[number])
            yield _sequence(d, own, raw, sure)
        except SkeletonFormatError as error:
            if not several:
                raise
            yield error
        except (ValueError, FloatingPointError) as error:
            if not several:
                raise
            yield _from_message(own, str(error))


def _cut(raw: Raw, sure: NDArray | None, length: float) -> tuple[Raw, NDArray | None]:
    frames = raw.values.shape[0]
    if not (length == int(length) and 0 < length <= frames):
        raise ValueError(f"a length from 1 to {frames}, found {length:g}")
    part = slice(0, int(length))
    return Raw(values=raw.values[part], persons=raw.persons), None if sure is None else sure[part]


def _read_arrays(d: ArraysDefinition, clip: Clip, joints: tuple[str, ...]) -> list[Raw]:
    """Coordinates of a tree."""
    if d.columns is not None or d.rows is not None:
        raise clip.file.error("definition", "no columns and rows for a file that is no table", "them")
    content = clip.content
    key = d.read.key
    if isinstance(content, dict) and not key:
        arrays = [name for name, value in content.items() if np.ndim(value) > 1]
        if len(arrays) != 1:
            raise clip.file.error("definition, read.key", "the name of the array", ", ".join(map(str, content))[:200])
        key = arrays[0]
    value = _pick(d, clip, content, key, joints) if key else content
    array = as_array(clip.file, value, key or "whole file")
    sizes = {"J": len(joints), "C": len(d.coordinates)} | ({"P": d.persons} if d.persons else {})
    if array.size == 0:
        raise clip.file.error(key or "whole file", "numbers", f"an empty array {array.shape}")
    return [Raw(values=part) for part in unfold(array, d.layout, sizes)]


def _pick(d: ArraysDefinition, clip: Clip, content: Any, key: str, joints: tuple[str, ...]) -> Any:
    return pick(clip.file, content, key, d.read.joint_names or joints, d.read.axis_names or d.coordinates)


def _own_confidence(d: ArraysDefinition, clip: Clip, joints: tuple[str, ...]) -> NDArray[np.float64] | None:
    """(N, T, P, J) of an array beside the coordinates."""
    if not d.confidence.key:
        return None
    if isinstance(clip.content, Table):
        raise clip.file.error("definition, confidence.key", "a file with named arrays", "a table")
    value = _pick(d, clip, clip.content, d.confidence.key, joints)
    array = as_array(clip.file, value, d.confidence.key)
    sizes = {"J": len(joints)} | ({"P": d.persons} if d.persons else {})
    return unfold(array, d.confidence.layout, sizes)[..., 0]


def _sequence(d: ArraysDefinition, clip: Clip, raw: Raw, sure: NDArray[np.float64] | None) -> SkeletonSequence:
    file = clip.file
    if sure is not None and sure.shape != raw.values.shape[:3]:
        raise file.error(d.confidence.key, f"confidences {raw.values.shape[:3]}", str(sure.shape))
    if np.isinf(raw.values).any():
        raise file.error("coordinates", "finite numbers", "an infinite value")
    values = convert(d, raw.values, sure, _image_size(d, clip))
    check_present(file, values.positions)
    slots, ids, notes = order_persons(d, values, raw.persons)
    side_fields = file.side.clips.get(clip.id, file.fields)
    fps, stamps = rate_and_times(d, _moments(d, clip, raw), side_fields.get("fps") or _fps(d, clip))
    frames = values.positions.shape[0]
    starts = np.arange(frames) / fps if stamps is None else stamps
    return SkeletonSequence(
        id=clip.id,
        dataset=file.dataset,
        topology=d.skeleton,
        positions=np.ascontiguousarray(values.positions[:, slots]),
        confidence=None if values.confidence is None else np.ascontiguousarray(values.confidence[:, slots]),
        fps=fps,
        timestamps=stamps,
        source=file.source,
        scale=values.scale,
        image_size=values.image_size,
        track_ids=ids,
        licence=file.licence,
        source_transform=values.transform,
        notes=notes,
        segments=() if d.segments is None else read_segments(clip, d.segments, starts, raw.rows, fps),
        **_texts(d, clip),
    )


def _texts(d: ArraysDefinition, clip: Clip) -> dict[str, Any]:
    """Label, subject, ...: what the definition says, else the path's group of that name."""
    texts: dict[str, Any] = {}
    for name in TEXTS:
        source = getattr(d, name)
        texts[name] = read_text(clip, name, source) if source is not None else clip.groups.get(name)
    if texts["label"] is not None:
        code = clip.file.side.names.get(texts["label"], texts["label"])
        texts["label"] = plain_label(code)
    captions = [read_text(clip, "captions", source) for source in d.captions]
    texts["captions"] = tuple(caption for caption in captions if caption)
    return texts


def _image_size(d: ArraysDefinition, clip: Clip) -> tuple[int, int] | None:
    side_fields = clip.file.side.clips.get(clip.id, clip.file.fields)
    if "image_size" in side_fields:
        return side_fields["image_size"]
    if d.image_size is None:
        return None
    width, height = d.image_size
    sizes = []
    for side in (width, height):
        number: Any = side
        if isinstance(side, str):
            values = np.asarray(clip.value(side)).reshape(-1)
            number = values[0] if len(values) == 1 and values.dtype.kind in "iuf" else 0
        if not 0 < number < 2**31:
            raise clip.file.error(f"image_size, {side}", "a positive number", repr(number)[:60])
        sizes.append(int(number))
    return sizes[0], sizes[1]


def _fps(d: ArraysDefinition, clip: Clip) -> float | None:
    if not isinstance(d.fps, From):
        return d.fps
    raw = read_text(clip, "fps", d.fps)
    try:
        fps = float(raw) if raw is not None else None
    except ValueError:
        fps = -1.0
    if fps is not None and not 0 < fps < 1e6:
        raise clip.file.error("fps", "frames per second", repr(raw)[:60])
    return fps


def _moments(d: ArraysDefinition, clip: Clip, raw: Raw) -> NDArray[np.float64] | None:
    """(T,) times in the file's unit."""
    if d.time is None:
        return None
    frames = raw.values.shape[0]
    if d.time.column is not None:
        if not isinstance(clip.content, Table) or raw.rows is None:
            raise clip.file.error("definition, time.column", "a table", type(clip.content).__name__)
        cells = clip.content.numbers([clip.content.place(d.time.column)])[:, 0]
        present = raw.rows >= 0
        return np.interp(np.arange(frames), np.flatnonzero(present), cells[raw.rows[present]])
    moments = as_array(clip.file, clip.value(d.time.key), d.time.key).reshape(-1)
    if len(moments) < frames:
        raise clip.file.error(d.time.key, f"{frames} times", str(len(moments)))
    return moments[:frames]
