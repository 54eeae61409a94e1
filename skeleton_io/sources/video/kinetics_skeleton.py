"""Kinetics-skeleton (the OpenPose release of ST-GCN), one JSON file a clip -> clips in pixels of 340 x 256.

{"data": [{"frame_index": n, "skeleton": [{"pose": [x, y] * 18, "score": [...] * 18}, ...]}, ...], "label",
"label_index"}, x and y as parts of width and height of videos that were scaled to 340 x 256 pixels at 30 frames per
second. The list files kinetics_train_label.json and kinetics_val_label.json name clips, labels and who trains; they
give the label that a clip lacks. Yan, Xiong, Lin, AAAI 2018.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import OPENPOSE18
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile
from skeleton_io.sources.shared.linking import MOST_FRAMES, Detection, make_pixel_clip, scored_points, video_facts
from skeleton_io.sources.shared.side_files import plain_label

IMAGE_SIZE = (340, 256)
SIDES = ("train", "val")
_JOINTS = len(OPENPOSE18.joints)


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file."""
    try:
        content = json.loads(file.text())
    except (ValueError, RecursionError) as error:
        raise file.error("whole file", "JSON", str(error)[:120]) from None
    frames = content.get("data") if isinstance(content, dict) else None
    if not isinstance(frames, list):
        raise file.error("whole file", "an object with data", type(content).__name__)
    side, entry = _list_entry(file)
    fields = {"image_size": IMAGE_SIZE, "label": content.get("label") or entry.get("label")}
    about = replace(video_facts(file, fields), setup=side)
    if about.label is not None:
        about = replace(about, label=plain_label(about.label))
    size = np.array([*(about.image_size or IMAGE_SIZE), 1.0])
    persons, numbers = [], []
    for place, frame in enumerate(frames):
        number, people = _frame(file, frame, f"data[{place}]")
        numbers.append(number)
        for person in people:
            points = _points(file, person, f"data[{place}]")
            # Scored first: a keypoint at (0, 0) is missing.
            persons.append((number, scored_points(file, points * size, f"data[{place}], pose")))
    if not persons:
        raise file.error("whole file", "a skeleton", f"{len(frames)} frames without any")
    first, last = min(numbers), max(numbers)
    if last - first >= MOST_FRAMES:
        raise file.error("frame_index", f"a clip of less than {MOST_FRAMES} frames", f"{first} to {last}")
    detections = [Detection(frame=number - first, points=points) for number, points in persons]
    return [make_pixel_clip(file, OPENPOSE18, detections, replace(about, frames=last - first + 1))]


def _frame(file: SourceFile, frame: Any, place: str) -> tuple[int, list[Any]]:
    if not isinstance(frame, dict) or not isinstance(frame.get("frame_index"), int):
        raise file.error(place, "an object with frame_index", type(frame).__name__)
    people = frame.get("skeleton", [])
    if not isinstance(people, list) or not 0 <= frame["frame_index"] < 10**9:
        raise file.error(place, "frame_index from 0 and a list as skeleton", type(people).__name__)
    return frame["frame_index"], people


def _points(file: SourceFile, person: Any, place: str) -> np.ndarray:
    if not isinstance(person, dict) or not {"pose", "score"} <= set(person):
        raise file.error(place, "skeletons with pose and score", type(person).__name__)
    try:
        pose, score = np.array(person["pose"], np.float64), np.array(person["score"], np.float64)
    except (ValueError, TypeError) as error:
        raise file.error(place, "numbers", str(error)[:80]) from None
    if pose.shape != (2 * _JOINTS,) or score.shape != (_JOINTS,):
        raise file.error(place, f"{2 * _JOINTS} numbers in pose, {_JOINTS} in score", f"{pose.size}, {score.size}")
    return np.concatenate([pose.reshape(-1, 2), score[:, None]], -1)


def _list_entry(file: SourceFile) -> tuple[str | None, Mapping[str, Any]]:
    """Side and entry of the clip in the list files; the folder kinetics_train or kinetics_val tells the side too."""
    folders = file.item.path.split("/")[:-1]
    side = next((side for side in SIDES for folder in folders if folder in (f"kinetics_{side}", side)), None)
    for name in SIDES:
        for above in ("../", ""):
            data = file.beside(f"{above}kinetics_{name}_label.json") if above == "" or folders else None
            entry = _entries(data).get(file.stem) if data else None
            if isinstance(entry, dict):
                return side or name, entry
    return side, {}


@lru_cache(maxsize=4)
def _entries(data: bytes) -> dict[str, Any]:
    """A list file serves a quarter of a million clips."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _sniff(path: str, head: bytes) -> bool:
    return b'"frame_index"' in head or (b'"data"' in head and b'"label_index"' in head)


SOURCE = FileSource(
    name="kinetics_skeleton",
    version=1,
    pattern=r"(?:.*/)?(?!kinetics_(?:train|val)_label)([^/]+)\.json",
    parse=parse,
    sniff=_sniff,
    companions=r"(?:.*/)?kinetics_(?:train|val)_label\.json",
    licence="not stated for the skeletons (Yan et al. 2018)",
    listing=Listing(title="Kinetics-skeleton JSON", files="*.json", joints="18", dims="2", persons="any"),
)
