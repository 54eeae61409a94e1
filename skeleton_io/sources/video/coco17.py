"""COCO-17 keypoints of a video as pose estimators write them (JSON) -> clips in pixels.

Three layouts:
- AlphaPose: [{image_id, keypoints: [x, y, score] * 17, score, idx}, ...], or as its PoseFlow tracker writes it,
  {image name: [{keypoints, idx}, ...], ...};
- MMPose: {instance_info: [{frame_id, instances: [{keypoints: [[x, y] * 17], keypoint_scores: [17]}, ...]}, ...]},
  or that list alone;
- a wrapper with what the others leave out: {image_size: [W, H], fps, label, subject, view, repetition, captions,
  annotations: [as AlphaPose, or with track_id]}.
The record's axes: x = W - x_px (towards the image's left), y = H - y_px (up). A keypoint of score 0 is missing.
Without identities, detections are linked from frame to frame by distance.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import COCO17
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile
from skeleton_io.sources.shared.linking import MOST_FRAMES, Detection, make_pixel_clip, scored_points, video_facts

_JOINTS = len(COCO17.joints)
_TRACK_FIELDS = ("track_id", "idx", "track")
_FRAME_FIELDS = ("image_id", "frame", "frame_id")


@dataclass(frozen=True, kw_only=True)
class _Person:
    """One person in one frame: points (17, 3) as x, y in pixels and score; `track` where the file has one."""

    frame: str
    track: str | None
    points: NDArray[np.float64]


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file."""
    try:
        content = json.loads(file.text())
    except (ValueError, RecursionError) as error:
        raise file.error("whole file", "JSON", str(error)) from None
    if isinstance(content, dict) and content and all(_is_image(key, value) for key, value in content.items()):
        content = [{**person, "image_id": name} for name, people in content.items() for person in people]
    about = video_facts(file, content if isinstance(content, dict) else {})
    persons = _detections(file, content)
    if not persons:
        raise file.error("whole file", "at least one detection", "none")
    numbers = _frame_numbers(file, sorted({person.frame for person in persons}))
    detections = [
        Detection(frame=numbers[person.frame], points=person.points, track=person.track) for person in persons
    ]
    return [make_pixel_clip(file, COCO17, detections, about)]


def _is_image(key: str, value: Any) -> bool:
    """Whether an entry is {image name: [people]}, as AlphaPose writes tracked people."""
    return (
        re.fullmatch(r".*\d.*\.\w{3,4}", key) is not None
        and isinstance(value, list)
        and all(isinstance(person, dict) for person in value)
    )


def _detections(file: SourceFile, content: Any) -> list[_Person]:
    """All detections in the order of the file."""
    if isinstance(content, dict):
        key = next((name for name in ("annotations", "instance_info") if name in content), None)
        if key is None:
            raise file.error("whole file", "annotations or instance_info", ", ".join(list(content)[:8]) or "{}")
        content = content[key]
    if not isinstance(content, list):
        raise file.error("whole file", "a list of detections", type(content).__name__)
    persons = []
    for place, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise file.error(f"entry {place}", "an object", repr(entry)[:40])
        frame_key = next((name for name in _FRAME_FIELDS if name in entry), None)
        if frame_key is None:
            raise file.error(f"entry {place}", f"one of {', '.join(_FRAME_FIELDS)}", ", ".join(entry) or "{}")
        people = entry.get("instances", [entry])
        if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
            raise file.error(f"entry {place}, instances", "a list of people", type(people).__name__)
        for person in people:
            track_key = next((name for name in _TRACK_FIELDS if name in person), None)
            track = None if track_key is None else _track_name(person[track_key])
            points = _points(file, f"entry {place}", person)
            persons.append(_Person(frame=str(entry[frame_key]), track=track, points=points))
    return persons


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
    return scored_points(file, points, f"{place}, keypoints")


def _frame_numbers(file: SourceFile, names: list[str]) -> dict[str, int]:
    """Frame name -> index from 0: the number at the end of the name, else the rank of the name."""
    matches = [re.search(r"(\d+)(?:\.[A-Za-z]+)?$", name) for name in names]
    # int() of thousands of digits takes long, and no video has 10^12 frames.
    values = [int(match.group(1)[:12]) for match in matches if match]
    if len(values) < len(names) or len(set(values)) < len(names):
        return {name: place for place, name in enumerate(names)}
    if max(values) - min(values) >= MOST_FRAMES:
        span = f"{min(values)} to {max(values)}"
        raise file.error("frame numbers", f"a clip of less than {MOST_FRAMES} frames", span)
    return {name: value - min(values) for name, value in zip(names, values, strict=True)}


def sniff(path: str, head: bytes) -> bool:
    """Whether the first bytes are those of one of the three layouts. MMPose may begin with pages of meta_info."""
    if b'"instance_info"' in head or head.lstrip().startswith(b'{"meta_info"'):
        return True
    return b'"keypoints"' in head and b'"image_id"' in head


def _sniff(path: str, head: bytes) -> bool:
    words = (b'"keypoints"', b'"instance_info"', b'"annotations"', b'"image_id"')
    return any(word in head for word in words) and b"pose_keypoints_2d" not in head


SOURCE = FileSource(
    name="coco17",
    version=1,
    pattern=r"(?:.*/)?([^/]+)\.json",
    parse=parse,
    sniff=_sniff,
    listing=Listing(
        title="COCO-17 keypoint JSON, AlphaPose and MMPose",
        files="*.json (AlphaPose, MMPose)",
        joints="17",
        dims="2",
        persons="any",
    ),
)
