"""OpenPose keypoints, one JSON file a frame -> one clip a folder (or a name's beginning), in pixels.

{"people": [{"person_id": [n], "pose_keypoints_2d": [x, y, score] * 25, "hand_left_keypoints_2d": [...] * 21,
"hand_right_keypoints_2d"}, ...]}, and AlphaPose's `open` form. 25 joints are BODY_25, 18 COCO's with a neck.
If any hand is seen, the clip's joints are BODY_25 and both hands (`body25_hands`). Frames are numbered by their
files; people are linked over frames where person_id is -1, as OpenPose writes it. Cao et al., TPAMI 2021.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import BODY25, BODY25_HANDS, OPENPOSE18
from skeleton_io.record.topology import Topology
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile
from skeleton_io.sources.shared.linking import MOST_FRAMES, Detection, make_pixel_clip, scored_points, video_facts

_PATTERN = r"(?:(.*)/)?([^/]*?)(\d+)(?:_keypoints)?\.json"
_FRAME = re.compile(_PATTERN)
_BODIES = {len(topology.joints): topology for topology in (BODY25, OPENPOSE18)}
_HAND = 21
_BODY, _HANDS = "pose_keypoints_2d", ("hand_left_keypoints_2d", "hand_right_keypoints_2d")
_People = list[tuple[int, str | None, dict[str, NDArray[np.float64]]]]


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per group of frames."""
    numbers = _frame_numbers(file)
    people: _People = []
    for path, data in file.parts:
        people += [(numbers[path], track, points) for track, points in _people(file, path, data)]
    if not people:
        raise file.error("whole file", "at least one person", f"{len(file.parts)} frames without any")
    topology, hands = _topology(file, people)
    detections = [
        Detection(frame=frame, points=_join_parts(points, hands), track=track)
        for frame, track, points in people
    ]  # fmt: skip
    about = video_facts(file, {})
    notes = (
        ("face keypoints are not kept: they have no names",) if any("face" in parts for _, _, parts in people) else ()
    )
    last = max(numbers.values()) + 1
    return [make_pixel_clip(file, topology, detections, replace(about, frames=last, notes=notes))]


def _frame_numbers(file: SourceFile) -> dict[str, int]:
    """Path -> index from 0 by the number at the end of its name."""
    numbers = {}
    for path, _ in file.parts:
        match = _FRAME.fullmatch(path)
        if match is None:
            raise file.error(path, "a frame number at the end of the name", path.rsplit("/", 1)[-1])
        # OpenPose pads to 12 digits; int() of thousands of them would take long.
        numbers[path] = int(match.group(3)[-12:])
    first, last = min(numbers.values()), max(numbers.values())
    if last - first >= MOST_FRAMES:
        raise file.error("frame numbers", f"a clip of less than {MOST_FRAMES} frames", f"{first} to {last}")
    if len(set(numbers.values())) < len(numbers):
        raise file.error("frame numbers", "each once", f"{len(numbers)} files")
    return {path: number - first for path, number in numbers.items()}


def _people(file: SourceFile, path: str, data: bytes) -> list[tuple[str | None, dict[str, NDArray[np.float64]]]]:
    """(identity, parts by name) of each person of a frame."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise file.error(path, "JSON", str(error)[:120]) from None
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        raise file.error(path, "an object with people", type(content).__name__)
    persons = []
    for place, person in enumerate(people):
        where = f"{path}, person {place}"
        if not isinstance(person, dict) or _BODY not in person:
            raise file.error(where, _BODY, type(person).__name__)
        parts = {_BODY: _points(file, person[_BODY], tuple(_BODIES), f"{where}, {_BODY}")}
        for name in _HANDS:
            if person.get(name):
                parts[name] = _points(file, person[name], (_HAND,), f"{where}, {name}")
        if person.get("face_keypoints_2d"):
            parts["face"] = np.zeros((0, 3))
        persons.append((_identity(person.get("person_id")), parts))
    return persons


def _identity(value: Any) -> str | None:
    """person_id is [-1] where OpenPose does not track."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    return str(value) if isinstance(value, int) and value >= 0 else None


def _points(file: SourceFile, values: Any, counts: tuple[int, ...], place: str) -> NDArray[np.float64]:
    expected = " or ".join(str(3 * count) for count in counts)
    if not isinstance(values, list) or len(values) not in [3 * count for count in counts]:
        found = str(len(values)) if isinstance(values, list) else type(values).__name__
        raise file.error(place, f"{expected} numbers (x, y, score)", found)
    try:
        points = np.array(values, np.float64).reshape(len(values) // 3, 3)
    except (ValueError, TypeError) as error:
        raise file.error(place, "numbers", str(error)[:80]) from None
    return scored_points(file, points, place)


def _topology(file: SourceFile, people: _People) -> tuple[Topology, bool]:
    """Joints of the clip and whether hands are among them."""
    counts = {len(points[_BODY]) for _, _, points in people}
    if len(counts) > 1:
        raise file.error("people", "one kind of body", f"{', '.join(str(count) for count in sorted(counts))} joints")
    body = _BODIES[counts.pop()]
    hands = any(np.isfinite(points[name]).any() for _, _, points in people for name in _HANDS if name in points)
    if hands and body is BODY25:
        return BODY25_HANDS, True
    return body, False


def _join_parts(points: dict[str, NDArray[np.float64]], hands: bool) -> NDArray[np.float64]:
    """(J, 3) of body and, where the clip has them, hands; a hand that is not there is missing."""
    if not hands:
        return points[_BODY]
    absent = np.tile([np.nan, np.nan, 0.0], (_HAND, 1))
    return np.concatenate([points[_BODY], *(points.get(name, absent) for name in _HANDS)])


def _clip_name(match: re.Match[str]) -> str:
    """The folder and what stands before the frame number."""
    folder, beginning = (match.group(1) or "").replace("/", "."), match.group(2).rstrip("_-. ")
    return ".".join(part for part in (folder, beginning) if part) or "clip"


def _sniff(path: str, head: bytes) -> bool:
    return b'"people"' in head and (b'"pose_keypoints_2d"' in head or b'"people":[]' in head.replace(b" ", b""))


SOURCE = FileSource(
    name="openpose",
    version=1,
    pattern=_PATTERN,
    parse=parse,
    sniff=_sniff,
    grouped=True,
    identify=_clip_name,
    listing=Listing(
        title="OpenPose BODY_25 per-frame JSON",
        files="*_keypoints.json, one per frame",
        joints="25",
        dims="2",
        persons="any",
    ),
)
