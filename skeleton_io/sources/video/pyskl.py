"""pyskl annotation pickles, 2D and 3D, as its releases and `skel export --to pyskl` write them -> clips.

{"split": {name: [frame_dir, ...]}, "annotations": [{"frame_dir", "label", "keypoint" (M, T, V, 2 or 3),
"keypoint_score" (M, T, V), "img_shape" (height, width), "total_frames"}, ...]}, or the list of annotations alone. The
pickle is read by `pickles`, which executes nothing. A file <stem>.labels.json beside it names labels, joints and bones,
as our export writes it; without it the number of joints tells the topology. Splits become protocols. Who is a person
is what the file says: slots without any joint are dropped, none are joined. Duan et al., ACM MM 2022.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import Scale, SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, KINECT20, NTU25, OPENPOSE18
from skeleton_io.record.topology import Topology
from skeleton_io.sources.decoders.pickles import load_pickle
from skeleton_io.sources.depth.ntu_labels import NTU_LABELS
from skeleton_io.sources.shared.files import ClipOrError, FileSource, Item, Listing, SourceFile, number
from skeleton_io.sources.shared.side_files import SideInfo, plain_label
from skeleton_io.sources.shared.tracks import Track, measure_activity

FPS = 30.0
"""Where neither the annotation nor clips.json says; pyskl's releases do not."""
_TOPOLOGIES = {(2, 17): COCO17, (2, 18): OPENPOSE18, (2, 25): NTU25, (3, 25): NTU25, (3, 20): KINECT20}
"""(C, V) -> joints, as pyskl's layouts nturgb+d, coco and openpose."""
_NTU_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
_SPLIT = re.compile(r"(.*?)[_-]?(train|val|test)(\d*)")
_LARGEST = 1e6  # pixels or metres


@dataclass(frozen=True, kw_only=True)
class _About:
    """What stands beside the annotations: names of labels by number, joints where the file is ours."""

    labels: tuple[str, ...]
    topology: Topology | None


def parse(file: SourceFile) -> Iterator[ClipOrError]:
    """One clip per annotation, in the order of the file; an error for each that could not be read."""
    about = _about(file)
    annotations, _ = _content(file, load_pickle(file.data, file))
    ids: set[str] = set()
    for place, annotation in enumerate(annotations):
        try:
            clip = _clip(file, annotation, about, f"annotation {place}")
            if clip.id in ids:
                raise file.error(f"annotation {place}", "a frame_dir of its own", f"{clip.id[:80]!r} again")
            ids.add(clip.id)
            yield clip
        except SkeletonFormatError as error:
            yield error
        except ValueError as error:
            yield file.error(f"annotation {place}", "a clip", " ".join(str(error).split())[:200])


def _content(file: SourceFile, content: Any) -> tuple[list[Any], dict[str, list[Any]]]:
    """Annotations and splits, their entries unchecked."""
    splits: Any = {}
    if isinstance(content, dict):
        if "annotations" not in content:
            found = ", ".join(str(key)[:20] for key in list(content)[:8])
            raise file.error("whole file", "annotations", found or "an empty dict")
        splits = content.get("split", {})
        content = content["annotations"]
    if not isinstance(content, list) or not isinstance(splits, dict):
        raise file.error("whole file", "a list of annotations", type(content).__name__)
    return content, {str(name): ids for name, ids in splits.items() if isinstance(ids, list)}


def _about(file: SourceFile) -> _About:
    name = f"{file.stem}.labels.json"
    data = file.beside(name)
    if data is None:
        return _About(labels=(), topology=None)
    try:
        content = json.loads(data)
        labels = content["labels"]
        topology = Topology.from_json(content) if "joints" in content else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SkeletonFormatError(name, "whole file", "labels, joints and bones", str(error)[:120]) from None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise SkeletonFormatError(name, "labels", "a list of texts", type(labels).__name__)
    return _About(labels=tuple(plain_label(label) for label in labels), topology=topology)


def _clip(file: SourceFile, annotation: Any, about: _About, place: str) -> SkeletonSequence:
    if not isinstance(annotation, dict) or "frame_dir" not in annotation or "keypoint" not in annotation:
        raise file.error(place, "a dict with frame_dir and keypoint", type(annotation).__name__)
    name = annotation["frame_dir"]
    if not isinstance(name, str) or not name.strip():
        raise file.error(f"{place}, frame_dir", "text", type(name).__name__)
    points = _numbers(file, annotation["keypoint"], 4, f"{place}, keypoint")
    persons, frames, joints, axes = points.shape
    score = None
    if annotation.get("keypoint_score") is not None:
        score = _numbers(file, annotation["keypoint_score"], 3, f"{place}, keypoint_score")
        if score.shape != (persons, frames, joints):
            raise file.error(f"{place}, keypoint_score", f"shape {(persons, frames, joints)}", str(score.shape))
    topology = _topology(file, about, axes, joints, place)
    missing = (points == 0).all(-1) | ~np.isfinite(points).all(-1)
    if score is not None and axes == 2:  # in 3D, sensors give score 0 to joints that they guess
        missing |= ~(score > 0)
    points[missing] = np.nan
    slots = _order(points)
    if not slots:
        raise file.error(f"{place}, keypoint", "a joint that is present", "none")
    points = points[slots]
    if (np.abs(points[np.isfinite(points)]) > _LARGEST).any():
        raise file.error(f"{place}, keypoint", f"coordinates within {_LARGEST:g}", "larger ones")
    side_fields = file.side.clips.get(name, file.fields)
    positions, scale, size, transform, notes = _to_record_frame(
        file, points, annotation, side_fields.get("image_size"), place
    )
    if score is not None:
        score = np.where(missing, 0, np.clip(np.nan_to_num(score), 0, 1))[slots].swapaxes(0, 1).astype(np.float32)
    parts = _NTU_NAME.fullmatch(name)
    setup, view, subject, repetition, _ = (number(part) for part in parts.groups()) if parts else (None,) * 5
    return SkeletonSequence(
        id=name,
        dataset=file.dataset,
        topology=topology,
        positions=positions,
        confidence=score,
        fps=_rate(file, annotation, side_fields.get("fps"), place),
        scale=scale,
        image_size=size,
        track_ids=tuple(str(slot) for slot in slots),
        source=file.source,
        label=_label(file, annotation, about, name, place),
        subject=subject,
        view=view,
        setup=setup,
        repetition=repetition,
        licence=file.licence,
        source_transform=transform,
        notes=notes,
    )


def _numbers(file: SourceFile, values: Any, dimensions: int, place: str) -> NDArray[np.float64]:
    """A copy in float64. Only arrays: lists in a pickle may be nested without end."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or values.ndim != dimensions:
        found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise file.error(place, f"an array of numbers with {dimensions} axes", found)
    if 0 in values.shape:
        raise file.error(place, "at least one person, frame and joint", str(values.shape))
    return np.array(values, np.float64)


def _topology(file: SourceFile, about: _About, axes: int, joints: int, place: str) -> Topology:
    if about.topology is not None and len(about.topology.joints) == joints and axes in (2, 3):
        return about.topology
    if (axes, joints) not in _TOPOLOGIES:
        expected = ", ".join(f"{v} joints in {c}D" for c, v in _TOPOLOGIES)
        raise file.error(f"{place}, keypoint", f"{expected}; others with <stem>.labels.json", f"{joints} in {axes}D")
    return _TOPOLOGIES[axes, joints]


def _order(points: NDArray[np.float64]) -> list[int]:
    """Slots that hold anybody, the most active first."""
    slots = [slot for slot in range(len(points)) if np.isfinite(points[slot]).any()]
    frames, score = np.arange(points.shape[1]), np.zeros(points.shape[1:3])
    tracks = {slot: Track(id="", frames=frames, positions=points[slot], confidence=score) for slot in slots}
    return sorted(slots, key=lambda slot: -measure_activity(tracks[slot]))


def _to_record_frame(
    file: SourceFile, points: NDArray[np.float64], annotation: dict[str, Any], size: Any, place: str
) -> tuple[NDArray[np.float32], Scale, tuple[int, int] | None, str, tuple[str, ...]]:
    """(M, T, V, C) of the file -> (T, M, V, C) in the record's frame, scale, image size, transform, notes."""
    points = points.swapaxes(0, 1)
    if points.shape[-1] == 3:
        scale: Scale = "normalised" if annotation.get("scale") == "normalised" else "metric"
        return np.ascontiguousarray(points, np.float32), scale, None, "", ()
    notes: tuple[str, ...] = ()
    if size is None:
        size = _image_size(file, annotation, place)
    if size is None:
        width, height = np.nanmax(points, axis=(0, 1, 2))
        size = max(1, int(np.ceil(width))), max(1, int(np.ceil(height)))
        notes = (f"image size not given: {size[0]} x {size[1]} taken from the keypoints",)
    positions = (np.array(size, np.float64) - points).astype(np.float32)
    return positions, "pixels", (size[0], size[1]), f"x = {size[0]} - x_px; y = {size[1]} - y_px", notes


def _image_size(file: SourceFile, annotation: dict[str, Any], place: str) -> tuple[int, int] | None:
    """(width, height); pyskl writes (height, width)."""
    shape = next((annotation[key] for key in ("img_shape", "original_shape") if key in annotation), None)
    if isinstance(shape, np.ndarray) and shape.ndim == 1 and len(shape) == 2 and shape.dtype.kind in "iu":
        shape = shape.tolist()
    if shape is None:
        return None
    if not isinstance(shape, tuple | list) or len(shape) != 2 or any(type(n) is not int for n in shape):
        raise file.error(f"{place}, img_shape", "(height, width)", type(shape).__name__)
    if not all(0 < side < 100_000 for side in shape):
        raise file.error(f"{place}, img_shape", "sides from 1 to 99,999 pixels", f"{shape[0]}, {shape[1]}"[:60])
    return shape[1], shape[0]


def _rate(file: SourceFile, annotation: dict[str, Any], side_fps: float | None, place: str) -> float:
    fps = annotation.get("fps", FPS) if side_fps is None else side_fps
    if not isinstance(fps, int | float) or not 0 < fps < 100_000:
        raise file.error(f"{place}, fps", "frames per second above 0", type(fps).__name__)
    return float(fps)


def _label(file: SourceFile, annotation: dict[str, Any], about: _About, name: str, place: str) -> str | None:
    """Name of the label: of the file beside, of labels.json by number, of NTU's table by the clip's name."""
    label = annotation.get("label")
    if isinstance(label, str):
        return plain_label(label)
    if label is None:
        return None
    if type(label) is not int or label < 0:
        raise file.error(f"{place}, label", "a number from 0", type(label).__name__)
    if about.labels:
        if label >= len(about.labels):
            raise file.error(f"{place}, label", f"0 to {len(about.labels) - 1}", str(label))
        return about.labels[label]
    if str(label) in file.side.names:
        return file.side.names[str(label)]
    parts = _NTU_NAME.fullmatch(name)
    if parts and 1 <= int(parts.group(5)) <= len(NTU_LABELS):
        return NTU_LABELS[int(parts.group(5)) - 1]
    return f"class {label}"


def protocols(root: str, items: list[Item]) -> tuple[Protocol, ...]:
    """Splits of all pickles of a folder. xsub_train and xsub_val (or _test) make the protocol "xsub".

    Raises:
        SkeletonFormatError: a pickle that cannot be read.
    """
    rules: dict[str, dict[str, list[str]]] = {}
    for item in items:
        data = storage.read_bytes(storage.join(root, item.path))
        file = SourceFile(
            item=item,
            dataset="",
            data=data,
            source=Source(uri="", sha256="", reader="", reader_version=1),
            licence=None,
            side=SideInfo(),
        )
        try:
            _, splits = _content(file, load_pickle(data, file))
        except SkeletonFormatError:
            continue  # `parse` says so, and the item goes to the quarantine
        for split, ids in splits.items():
            name = _SPLIT.fullmatch(split)
            if name:
                rule = f"{name.group(1) or 'split'}{name.group(3)}"
                sides = rules.setdefault(rule, {"train": [], "val": [], "test": []})
                sides[name.group(2)] += [clip for clip in ids if isinstance(clip, str)]
    return tuple(rule for name, sides in rules.items() for rule in _protocol(name, sides))


def _protocol(name: str, sides: dict[str, list[str]]) -> list[Protocol]:
    """A rule where it has two sides. With a validation and a test part, the validation part is left out."""
    test = sides["test"] or sides["val"]
    train_ids, test_ids = dict.fromkeys(sides["train"]), dict.fromkeys(test)
    if not train_ids or not test_ids or set(train_ids) & set(test_ids):
        return []
    return [Protocol(name=name, field="id", train=tuple(train_ids), test=tuple(test_ids), source="the annotation file")]


def _sniff(path: str, head: bytes) -> bool:
    return any(word in head for word in (b"frame_dir", b"annotations", b"split"))


SOURCE = FileSource(
    name="pyskl",
    version=1,
    pattern=r"(?:.*/)?([^/]+)\.(?:pkl|pickle)",
    parse=parse,
    sniff=_sniff,
    companions=r"(?:.*/)?[^/]+\.labels\.json",
    protocols=protocols,
    listing=Listing(
        title="pyskl annotation pickles", files="*.pkl (annotations)", joints="17 or 25", dims="2 or 3", persons="any"
    ),
)
