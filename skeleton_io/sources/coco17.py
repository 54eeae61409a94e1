"""COCO-17 keypoints of a video as pose estimators write them (JSON) -> clips in pixels.

Three layouts:
- AlphaPose: [{image_id, keypoints: [x, y, score] * 17, score, idx}, ...];
- MMPose: {instance_info: [{frame_id, instances: [{keypoints: [[x, y] * 17], keypoint_scores: [17]}, ...]}, ...]},
  or that list alone;
- a wrapper with what the others leave out: {image_size: [W, H], fps, label, subject, view, repetition, captions,
  annotations: [as AlphaPose, or with track_id]}.
The record's axes: x = W - x_px (towards the image's left), y = H - y_px (up). A keypoint of score 0 is missing.
Without identities, detections are linked from frame to frame by distance.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from skeleton_io.sequence import SkeletonSequence
from skeleton_io.sources.files import FileSource, SourceFile, check_present
from skeleton_io.sources.side_files import plain_label
from skeleton_io.sources.tracks import Track, persons
from skeleton_io.topologies import COCO17

FPS = 30.0
"""Where neither the file nor clips.json says."""
LINK_SIZES = 0.5
"""A detection continues the one before if their keypoints are at most this many body sizes apart, on average."""
_MOST_FRAMES = 200_000
_JOINTS = len(COCO17.joints)
_TRACK_FIELDS = ("track_id", "idx", "track")
_FRAME_FIELDS = ("image_id", "frame", "frame_id")


@dataclass(frozen=True, kw_only=True)
class _Detection:
    """One person in one frame: points (17, 3) as x, y in pixels and score; `track` where the file has one."""

    frame: str
    track: str | None
    points: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _About:
    """What the wrapper or the side file says about the clip."""

    image_size: tuple[int, int] | None
    fps: float
    label: str | None
    subject: str | None
    view: str | None
    repetition: str | None
    captions: tuple[str, ...]


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file."""
    try:
        content = json.loads(file.text())
    except (ValueError, RecursionError) as error:
        raise file.error("whole file", "JSON", str(error)) from None
    about = _about(file, content if isinstance(content, dict) else {})
    found = _detections(file, content)
    if not found:
        raise file.error("whole file", "at least one detection", "none")
    numbers = _frame_numbers(file, found)
    tracks = _tracks(file, found, numbers)
    slots = persons(tracks, max(numbers.values()) + 1, about.fps)
    size, notes = about.image_size, slots.notes
    if size is None:
        width, height = np.nanmax(slots.positions, axis=(0, 1, 2))
        size = (max(1, math.ceil(width)), max(1, math.ceil(height)))
        notes += (f"image size not given: {size[0]} x {size[1]} taken from the keypoints",)
    positions = np.array(size, np.float32) - slots.positions
    check_present(file, positions)
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=COCO17,
            positions=positions,
            confidence=slots.confidence,
            fps=about.fps,
            scale="pixels",
            image_size=size,
            track_ids=slots.ids,
            source=file.source,
            label=about.label,
            subject=about.subject,
            view=about.view,
            repetition=about.repetition,
            captions=about.captions,
            licence=file.licence,
            source_transform=f"x = {size[0]} - x_px; y = {size[1]} - y_px",
            notes=notes,
        )
    ]


def _about(file: SourceFile, content: dict[str, Any]) -> _About:
    given = {**content, **file.fields}

    def text(key: str) -> str | None:
        value = given.get(key)
        if value is not None and not isinstance(value, str | int):
            raise file.error(key, "text", repr(value)[:40])
        return None if value is None else str(value)

    size, fps, captions = given.get("image_size"), given.get("fps", FPS), given.get("captions", ())
    if size is not None and not (
        isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(n, int) and 0 < n < 100_000 for n in size)
    ):
        raise file.error("image_size", "[width, height] in pixels", repr(size)[:40])
    if not (isinstance(fps, int | float) and 0 < fps < 100_000):
        raise file.error("fps", "frames per second above 0", repr(fps)[:40])
    if not (isinstance(captions, list | tuple) and all(isinstance(caption, str) for caption in captions)):
        raise file.error("captions", "a list of texts", repr(captions)[:40])
    label = text("label")
    return _About(
        image_size=None if size is None else (size[0], size[1]),
        fps=float(fps),
        label=None if label is None else plain_label(label),
        subject=text("subject"),
        view=text("view"),
        repetition=text("repetition"),
        captions=tuple(captions),
    )


def _detections(file: SourceFile, content: Any) -> list[_Detection]:
    """All detections in the order of the file."""
    if isinstance(content, dict):
        key = next((name for name in ("annotations", "instance_info") if name in content), None)
        if key is None:
            raise file.error("whole file", "annotations or instance_info", ", ".join(list(content)[:8]) or "{}")
        content = content[key]
    if not isinstance(content, list):
        raise file.error("whole file", "a list of detections", type(content).__name__)
    found = []
    for place, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise file.error(f"entry {place}", "an object", repr(entry)[:40])
        frame_key = next((name for name in _FRAME_FIELDS if name in entry), None)
        if frame_key is None:
            raise file.error(f"entry {place}", f"one of {', '.join(_FRAME_FIELDS)}", ", ".join(entry) or "{}")
        people = entry.get("instances", [entry])
        for person in people:
            track_key = next((name for name in _TRACK_FIELDS if name in person), None)
            track = None if track_key is None else _track_name(person[track_key])
            points = _points(file, f"entry {place}", person)
            found.append(_Detection(frame=str(entry[frame_key]), track=track, points=points))
    return found


def _track_name(value: Any) -> str | None:
    """AlphaPose writes idx as a number, 1.0 or [1.0]."""
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None or value == -1:
        return None
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _points(file: SourceFile, place: str, person: dict[str, Any]) -> NDArray[np.float64]:
    if "keypoints" not in person:
        raise file.error(place, "keypoints", ", ".join(person) or "{}")
    try:
        points = np.array(person["keypoints"], np.float64)
    except (ValueError, TypeError) as error:
        raise file.error(f"{place}, keypoints", "numbers", str(error)) from None
    if points.shape == (_JOINTS, 2):
        scores = np.array(person["keypoint_scores"] if "keypoint_scores" in person else [1.0] * _JOINTS, np.float64)
        if scores.shape != (_JOINTS,):
            raise file.error(f"{place}, keypoint_scores", f"{_JOINTS} numbers", str(scores.shape))
        points = np.concatenate([points, scores[:, None]], -1)
    if points.size != 3 * _JOINTS:
        raise file.error(f"{place}, keypoints", f"{3 * _JOINTS} numbers (x, y, score)", str(points.size))
    points = points.reshape(_JOINTS, 3)
    if (np.abs(points[np.isfinite(points)]) > 1e6).any():
        raise file.error(f"{place}, keypoints", "pixels", f"{np.nanmax(np.abs(points)):g}")
    missing = ~(points[:, 2] > 0) | (points[:, :2] == 0).all(-1) | ~np.isfinite(points).all(-1)
    points[missing] = (np.nan, np.nan, 0.0)
    return points


def _frame_numbers(file: SourceFile, found: list[_Detection]) -> dict[str, int]:
    """Frame name -> index from 0: the number at the end of the name, else the rank of the name."""
    names = sorted({detection.frame for detection in found})
    matches = [re.search(r"(\d+)(?:\.[A-Za-z]+)?$", name) for name in names]
    values = [int(match.group(1)[:12]) for match in matches if match]
    if len(values) < len(names) or len(set(values)) < len(names):
        return {name: place for place, name in enumerate(names)}
    if max(values) - min(values) >= _MOST_FRAMES:
        span = f"{min(values)} to {max(values)}"
        raise file.error("frame numbers", f"a clip of less than {_MOST_FRAMES} frames", span)
    return {name: value - min(values) for name, value in zip(names, values, strict=True)}


def _tracks(file: SourceFile, found: list[_Detection], numbers: dict[str, int]) -> list[Track]:
    frames: dict[int, list[_Detection]] = {}
    for detection in found:
        frames.setdefault(numbers[detection.frame], []).append(detection)
    named: dict[str, dict[int, NDArray[np.float64]]] = {}
    if all(detection.track is not None for detection in found):
        for frame, people in sorted(frames.items()):
            for person in people:
                track = named.setdefault(str(person.track), {})
                if frame in track:
                    raise file.error(f"frame {frame}", "each track once", f"track {person.track} twice")
                track[frame] = person.points
    else:
        named = _link({frame: [p.points for p in people] for frame, people in sorted(frames.items())})
    tracks = []
    for name, seen in named.items():
        points = np.stack([seen[frame] for frame in sorted(seen)])
        if np.isfinite(points[..., :2]).any():
            tracks.append(
                Track(
                    id=name,
                    frames=np.array(sorted(seen)),
                    positions=points[..., :2],
                    confidence=np.clip(points[..., 2], 0, 1),
                )
            )
    if not tracks:
        raise file.error("whole file", "a keypoint that is present", "none")
    return tracks


def _link(frames: dict[int, list[NDArray[np.float64]]]) -> dict[str, dict[int, NDArray[np.float64]]]:
    """Tracks from detections without identity: least total distance between one frame and the next that has any."""
    named: dict[str, dict[int, NDArray[np.float64]]] = {}
    last: list[tuple[str, NDArray[np.float64]]] = []
    for frame, people in frames.items():
        cost = np.array([[_apart(old, new) for new in people] for _, old in last]).reshape(len(last), len(people))
        rows, columns = linear_sum_assignment(np.minimum(cost, 2 * LINK_SIZES))
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        chosen = {column: last[row][0] for row, column in pairs if cost[row, column] <= LINK_SIZES}
        last = []
        for place, points in enumerate(people):
            name = chosen[place] if place in chosen else str(len(named))
            named.setdefault(name, {})[frame] = points
            last.append((name, points))
    return named


def _apart(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Mean distance of shared keypoints in body sizes; infinite without any."""
    shared = np.isfinite(old).all(-1) & np.isfinite(new).all(-1)
    if not shared.any():
        return math.inf
    known = old[np.isfinite(old).all(-1), :2]
    size = float(np.linalg.norm(known.max(0) - known.min(0)))
    distance = float(np.linalg.norm(old[shared, :2] - new[shared, :2], axis=-1).mean())
    return distance / size if size > 0 else math.inf


SOURCE = FileSource(name="coco17", version=1, pattern=r"(?:.*/)?([^/]+)\.json", parse=parse)
