"""MediaPipe Pose (33 landmarks) of a video, as JSON or csv -> clips: metres where world landmarks are there, else 2D.

MediaPipe itself writes no files; read are the layouts that its results are dumped in, one file a clip:
- JSON: a list of frames, or {"frames": [...]} with image_size, fps, label, subject, view, captions beside it. A frame
  is null (nobody), or an object with `pose_world_landmarks` and/or `pose_landmarks` (also poseWorldLandmarks,
  worldLandmarks, poseLandmarks, landmarks), each 33 landmarks or, as the Tasks API gives them, a list of people with
  33 each; a landmark is {"x", "y", "z", "visibility"} or [x, y, z, visibility]. `frame` or `timestamp_ms` is optional.
- csv: `mediapipe_table`.

World landmarks: metres from the middle of the hips, x right and y down in the image, z away from the camera; they
become x = -x, y = -y. Image landmarks: parts of width and height; they become pixels where the image size is known,
else normalised with x = 1 - x, y = 1 - y; their z is no length and is dropped. Visibility is the confidence and makes
nothing missing. Bazarevsky et al., 2020; https://ai.google.dev/edge/mediapipe/solutions/vision/pose_landmarker.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import Scale, SkeletonSequence
from skeleton_io.record.topologies import MEDIAPIPE33
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present
from skeleton_io.sources.shared.linking import MOST_FRAMES, MOST_PEOPLE, Video, link_detections, video_facts
from skeleton_io.sources.shared.tracks import Track, assign_slots
from skeleton_io.sources.video.mediapipe_table import read_table

_JOINTS = len(MEDIAPIPE33.joints)
_WORLD = ("pose_world_landmarks", "poseWorldLandmarks", "worldLandmarks", "world_landmarks")
_IMAGE = ("pose_landmarks", "poseLandmarks", "landmarks")
_LARGEST = 1e4  # metres, or shares of the image
People = list[NDArray[np.float64]]
"""People of a frame, (33, 4) each: x, y, z, visibility."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What a file holds: frame -> people, and their times where the file gives them."""

    people: dict[int, People]
    world: bool
    count: int
    timestamps: NDArray[np.float64] | None = None


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file."""
    if file.item.path.lower().endswith(".csv"):
        table = read_table(file)
        about = video_facts(file, {} if table.label is None else {"label": table.label})
        return [_clip(file, Frames(people=table.people, world=table.world, count=table.count), about)]
    try:
        content = json.loads(file.text())
    except (ValueError, RecursionError) as error:
        raise file.error("whole file", "JSON", str(error)[:120]) from None
    frames = content.get("frames") if isinstance(content, dict) else content
    if not isinstance(frames, list) or not frames:
        raise file.error("whole file", "a list of frames", type(frames).__name__)
    return [_clip(file, _frames(file, frames), video_facts(file, content if isinstance(content, dict) else {}))]


def _frames(file: SourceFile, frames: list[Any]) -> Frames:
    """World landmarks where any frame has them, else image landmarks."""
    world = any(_part(frame, _WORLD) for frame in frames)
    people: dict[int, People] = {}
    numbers, times = [], []
    for place, frame in enumerate(frames):
        if frame is not None and not isinstance(frame, dict):
            raise file.error(f"frame {place}", "an object or null", type(frame).__name__)
        fields = frame or {}
        numbers.append(fields.get("frame", place))
        times.append(fields.get("timestamp_ms"))
        landmarks = _part(frame, _WORLD if world else _IMAGE)
        people[place] = _people(file, landmarks, f"frame {place}") if landmarks else []
    if any(type(number) is not int for number in numbers) or (np.diff(numbers) <= 0).any():
        raise file.error("frame", "whole numbers that grow", "others")
    count = numbers[-1] - numbers[0] + 1
    if count > MOST_FRAMES:
        raise file.error("frame", f"a clip of at most {MOST_FRAMES} frames", f"{numbers[0]} to {numbers[-1]}")
    timestamps = None
    if all(isinstance(time, int | float) for time in times) and count == len(times):
        timestamps = (np.array(times, np.float64) - times[0]) / 1000
        if not np.isfinite(timestamps).all() or (np.diff(timestamps) <= 0).any():
            raise file.error("timestamp_ms", "times that grow", "others")
    first = numbers[0]
    by_number = {number - first: people[place] for place, number in enumerate(numbers)}
    return Frames(people=by_number, world=world, count=count, timestamps=timestamps)


def _part(frame: Any, names: tuple[str, ...]) -> Any:
    """Landmarks of a frame under any of their names; None where there are none."""
    landmarks = next((frame[name] for name in names if frame.get(name)), None) if isinstance(frame, dict) else None
    return landmarks["landmark"] if isinstance(landmarks, dict) and "landmark" in landmarks else landmarks


def _people(file: SourceFile, landmarks: Any, place: str) -> People:
    if not isinstance(landmarks, list):
        raise file.error(place, "a list of landmarks", type(landmarks).__name__)
    # The Tasks API gives a list of people; the older Solutions API one person.
    several = isinstance(landmarks[0], list) and len(landmarks[0]) == _JOINTS
    people = landmarks if several else [landmarks]
    if len(people) > MOST_PEOPLE:
        raise file.error(place, f"at most {MOST_PEOPLE} people", str(len(people)))
    return [_landmarks(file, person, f"{place}, person {number}") for number, person in enumerate(people)]


def _landmarks(file: SourceFile, person: Any, place: str) -> NDArray[np.float64]:
    if not isinstance(person, list) or len(person) != _JOINTS:
        found = str(len(person)) if isinstance(person, list) else type(person).__name__
        raise file.error(place, f"{_JOINTS} landmarks", found)
    rows = []
    for landmark in person:
        if isinstance(landmark, Mapping):
            row = [landmark.get("x"), landmark.get("y"), landmark.get("z", 0.0), landmark.get("visibility", 1.0)]
        else:
            row = [*landmark, 1.0][:4] if isinstance(landmark, list) and len(landmark) in (3, 4) else [None]
        if len(row) != 4 or not all(value is None or isinstance(value, int | float) for value in row):
            raise file.error(place, "landmarks of x, y, z and visibility", type(landmark).__name__)
        rows.append([np.nan if value is None else float(value) for value in row])
    return np.array(rows, np.float64)


def _clip(file: SourceFile, frames: Frames, about: Video) -> SkeletonSequence:
    slots = assign_slots(_tracks(file, frames), frames.count, about.fps)
    values, size = slots.positions, None
    scale: Scale = "metric"
    if frames.world:
        # The middle of the hips is the origin of every frame: the person does not travel.
        positions, transform = values * np.array([-1, -1, 1], np.float32), "x = -x; y = -y (origin: middle of the hips)"
    elif about.image_size is not None:
        scale, size = "pixels", about.image_size
        positions = np.array(size, np.float32) * (1 - values)
        transform = f"x = {size[0]} (1 - x); y = {size[1]} (1 - y)"
    else:
        scale, positions, transform = "normalised", 1 - values, "x = 1 - x; y = 1 - y (parts of width and height)"
    check_present(file, positions)
    return SkeletonSequence(
        id=file.item.id,
        dataset=file.dataset,
        topology=MEDIAPIPE33,
        positions=np.ascontiguousarray(positions, np.float32),
        confidence=slots.confidence,
        fps=about.fps,
        timestamps=frames.timestamps,
        scale=scale,
        image_size=size,
        track_ids=slots.ids,
        source=file.source,
        label=about.label,
        subject=about.subject,
        view=about.view,
        repetition=about.repetition,
        captions=about.captions,
        licence=file.licence,
        source_transform=transform,
        notes=slots.notes,
    )


def _tracks(file: SourceFile, frames: Frames) -> list[Track]:
    """MediaPipe gives no identities: its order is kept for metres, which have no place in the scene; 2D is linked."""
    axes = 3 if frames.world else 2
    by_track: dict[str, dict[int, NDArray[np.float64]]] = {}
    if frames.world:
        for frame, people in frames.people.items():
            for slot, points in enumerate(people):
                by_track.setdefault(str(slot), {})[frame] = points
    else:
        flat = {frame: [p[:, [0, 1, 3]] for p in people] for frame, people in frames.people.items()}
        by_track = link_detections(flat)
    tracks = []
    for name, by_frame in by_track.items():
        points = np.stack([by_frame[frame] for frame in sorted(by_frame)])
        places, score = points[..., :axes].copy(), points[..., -1]
        places[(places == 0).all(-1) | ~np.isfinite(places).all(-1)] = np.nan
        present = np.isfinite(places).all(-1)
        if (np.abs(places[present]) > _LARGEST).any():
            raise file.error("landmarks", "metres or parts of the image", f"numbers above {_LARGEST:g}")
        if present.any():
            score = np.where(present, np.clip(np.nan_to_num(score, nan=1.0), 0, 1), 0)
            tracks.append(Track(id=name, frames=np.array(sorted(by_frame)), positions=places, confidence=score))
    if not tracks:
        raise file.error("whole file", "a landmark", "none")
    return tracks


def _sniff(path: str, head: bytes) -> bool:
    if path.lower().endswith(".csv"):
        line = head.partition(b"\n")[0].lower()
        words = (b"x33", b"nose_x", b"left_eye_inner", b"x_0,", b"x0,", b"landmark")
        return any(word in line for word in words) and (b"vis" in line or b"v33" in line or b"left_eye_inner" in line)
    return any(f'"{name}"'.encode() in head for name in (*_WORLD, *_IMAGE))


SOURCE = FileSource(
    name="mediapipe",
    version=1,
    pattern=r"(?:.*/)?([^/]+)\.(?:json|csv)",
    parse=parse,
    sniff=_sniff,
    listing=Listing(title="MediaPipe pose", files="*.json", joints="33", dims="3", persons="1"),
)
