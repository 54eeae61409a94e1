"""A shard set's metadata -> what it holds, as plain data; one clip -> its record and a picture. Starts no Ray.

The tables of `skel inspect` are in `summary_tables`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from pipelines.data.clip_store import ClipStore
from pipelines.figures import stick_figure
from pipelines.runtime.errors import UserError
from skeleton_io import storage
from skeleton_io.protocols.protocol import Protocol, assign
from skeleton_io.record.quality import FLAG_ABOVE, flags
from skeleton_io.record.sequence import SkeletonSequence

_COLUMNS = ["id", "dataset", "topology", "topology_hash", "fps", "scale", "T", "P", "J", "C", "label", "captions"]
_COLUMNS += ["subject", "view", "setup", "repetition", "quality"]
_LENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_NEAR = 5  # clips named where one is not found

Row = dict[str, Any]


def describe_shards(uri: str) -> dict[str, Any]:
    """What a shard set holds, as plain data.

    Returns:
        {"uri", "digest", "sets": {name: {clips_in, clips_out, quarantined, labelled, classes, labels {label: clips},
        subjects, clips_of_subject {subject: clips}, views, clips_of_topology {"name (hash)": clips}, frames, seconds,
        frames_per_clip [least, median, most], length_quantiles [least, quarter, half, three quarters, most],
        persons, clips_of_persons {persons: clips}, topology, joints, dimensions, fps, scale, captions, quality
        {measure: mean}, quality_worst {measure: [value, id]}, flagged {measure: clips above its limit},
        flagged_clips}}, "flag_above": {measure: limit}, "protocols": {name: [{name, field, train, test, left_out, hash,
        source}]}, "quarantine": [{dataset, path, place, reason, sha256}]}. Counts of protocols are of labelled clips.

    Raises:
        UserError: there is no finished shard set.
    """
    store = ClipStore(uri)
    rows: dict[str, list[Row]] = {name: [] for name in store.sets}
    for row in store.meta().select(_COLUMNS).to_pylist():
        rows[row["dataset"]].append(row)
    return {
        "uri": uri,
        "digest": store.digest,
        "sets": {name: store.shards.index["sets"][name] | _set(rows[name]) for name in store.sets},
        "flag_above": dict(FLAG_ABOVE),
        "protocols": {name: [_protocol(p, rows[name]) for p in store.protocols[name]] for name in store.sets},
        "quarantine": [asdict(item) for item in store.shards.quarantine()],
    }


def _set(rows: Sequence[Row]) -> dict[str, Any]:
    """Statistics of one set; everything is 0 or empty where all its clips are in quarantine."""
    labels = Counter(row["label"] for row in rows if row["label"] is not None)
    lengths = sorted(row["T"] for row in rows)
    return {
        "labelled": labels.total(),
        "classes": len(labels),
        "labels": dict(sorted(labels.items())),
        "subjects": _count(row["subject"] for row in rows),
        "clips_of_subject": _clips_of(row["subject"] for row in rows if row["subject"] is not None),
        "views": _count(row["view"] for row in rows),
        "clips_of_topology": _clips_of(f"{row['topology']} ({row['topology_hash']})" for row in rows),
        "frames": sum(lengths),
        "seconds": round(sum(row["T"] / row["fps"] for row in rows), 1),
        "frames_per_clip": [lengths[0], lengths[len(lengths) // 2], lengths[-1]] if lengths else [],
        "length_quantiles": [lengths[round(q * (len(lengths) - 1))] for q in _LENGTHS] if lengths else [],
        "persons": max((row["P"] for row in rows), default=0),
        "clips_of_persons": _clips_of(str(row["P"]) for row in rows),
        "topology": _names(row["topology"] for row in rows),
        "joints": max((row["J"] for row in rows), default=0),
        "dimensions": max((row["C"] for row in rows), default=0),
        "fps": sorted({round(row["fps"], 3) for row in rows}),
        "scale": _names(row["scale"] for row in rows),
        "captions": sum(len(row["captions"]) for row in rows),
        **_quality(rows),
    }


def _quality(rows: Sequence[Row]) -> dict[str, Any]:
    measures: dict[str, list[tuple[float, str]]] = {}
    flagged: Counter[str] = Counter()
    bad = 0
    for row in rows:
        values = {item["name"]: item["value"] for item in row["quality"]}
        for name, value in values.items():
            measures.setdefault(name, []).append((value, row["id"]))
        raised = flags(values)
        flagged.update(raised)
        bad += bool(raised)
    names = sorted(measures)
    means = {name: round(sum(value for value, _ in measures[name]) / len(measures[name]), 5) for name in names}
    worst = {name: max(measures[name], key=lambda pair: pair[0]) for name in names}
    return {
        "quality": means,
        "quality_worst": {name: [round(value, 5), clip] for name, (value, clip) in worst.items()},
        "flagged": {name: flagged[name] for name in names if name in FLAG_ABOVE},
        "flagged_clips": bad,
    }


def _clips_of(values: Iterable[str]) -> dict[str, int]:
    """Value -> clips; numbers sort as numbers."""
    counts = Counter(values)
    return {
        key: counts[key] for key in sorted(counts, key=lambda v: (not v.isdigit(), int(v) if v.isdigit() else 0, v))
    }


def _count(values: Iterable[str | None]) -> int:
    return len({value for value in values if value is not None})


def _names(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _protocol(protocol: Protocol, rows: Sequence[Row]) -> dict[str, Any]:
    labelled = [row for row in rows if row["label"] is not None]
    sides = Counter(assign(protocol, labelled).values())
    return {
        "name": protocol.name,
        "field": protocol.field,
        "train": sides["train"],
        "test": sides["test"],
        "left_out": sides[None],
        "hash": protocol.hash,
        "source": protocol.source,
    }


def find_clip(store: ClipStore, clip: str) -> SkeletonSequence:
    """A clip by its key "set/id", or by its id where one set alone has it.

    Raises:
        UserError: none or several; says which are near.
    """
    if clip in store:
        return store.clip(clip)
    matches = [key for key in store.keys if key.partition("/")[2] == clip]
    if len(matches) == 1:
        return store.clip(matches[0])
    if matches:
        raise UserError(f"several sets have a clip {clip!r}; say which: {', '.join(matches)}")
    near = [key for key in store.keys if clip.lower() in key.lower()][:_NEAR]
    hint = f"; did you mean {', '.join(near)}" if near else f"; for example {', '.join(store.keys[:2])}"
    raise UserError(f"no clip {clip!r} in {store.uri}{hint}")


def clip_facts(clip: SkeletonSequence) -> dict[str, Any]:
    """What the record of one clip says, without its arrays."""
    texts = ("label", "subject", "view", "setup", "repetition", "licence", "source_transform", "scale", "image_size")
    arrays = ("confidence", "orientations", "timestamps")
    return {
        "key": clip.key,
        "topology": f"{clip.topology.name} ({clip.topology.hash})",
        "T P J C": list(clip.positions.shape),
        "fps": round(clip.fps, 3),
        "seconds": round(clip.duration, 3),
        **{name: getattr(clip, name) for name in texts if getattr(clip, name) not in (None, "")},
        "arrays": ["positions", *(name for name in arrays if getattr(clip, name) is not None)],
        "track_ids": list(clip.track_ids),
        "captions": list(clip.captions),
        "segments": [asdict(segment) for segment in clip.segments],
        "source": asdict(clip.source),
        "quality": {name: round(value, 5) for name, value in clip.quality.items()},
        "flags": list(flags(clip.quality)),
        "notes": list(clip.notes),
    }


def draw_clip(clip: SkeletonSequence, out: str) -> None:
    """Writes the clip's picture.

    Raises:
        UserError: `out` ends in neither .gif nor .png.
    """
    makers = {".gif": stick_figure.gif, ".png": stick_figure.sheet}
    maker = next((maker for suffix, maker in makers.items() if out.lower().endswith(suffix)), None)
    if maker is None:
        raise UserError(f"--out must end in .gif (moving) or .png (sheet of frames), found {out}")
    storage.write_atomic(out, maker(clip))
