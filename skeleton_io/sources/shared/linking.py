"""Detections of a video, with or without identity -> tracks, person slots in pixels. For all 2D formats; knows none.

A file's own identities are used where every detection has one. Otherwise detections are linked from one frame to the
next that has any, by the least total distance of their keypoints (assignment by the Hungarian method). What
follows (joining, phantoms, order) is `tracks.persons`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topology import Topology
from skeleton_io.sources.shared.files import SourceFile, check_present
from skeleton_io.sources.shared.side_files import plain_label
from skeleton_io.sources.shared.tracks import Track, assign_slots

FPS = 30.0
"""Where neither the file nor clips.json says."""
LINK_SIZES = 0.5
"""A detection continues the one before if their keypoints are at most this many body sizes apart, on average."""
MOST_FRAMES = 200_000
"""Of one clip: almost two hours of video."""
MOST_PEOPLE = 256
"""In one frame. Crowds of pose estimators stay far below; linking takes the square of it."""
_LARGEST = 1e6  # pixels


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One person in one frame: points (J, 3) as x, y and score, NaN and 0 for missing; `track` where it is known."""

    frame: int
    points: NDArray[np.float64]
    track: str | None = None


@dataclass(frozen=True, kw_only=True)
class Video:
    """What is known of the video that the detections are from."""

    fps: float
    image_size: tuple[int, int] | None
    label: str | None = None
    subject: str | None = None
    view: str | None = None
    setup: str | None = None
    repetition: str | None = None
    captions: tuple[str, ...] = ()
    frames: int | None = None
    """T where the file says; None: to the last detection."""
    notes: tuple[str, ...] = ()


def video_facts(file: SourceFile, content: Mapping[str, Any]) -> Video:
    """What a file and, winning over it, its side files say: image_size, fps, label, subject, view, captions.

    Raises:
        SkeletonFormatError: a value that its field cannot have.
    """
    fields = {**content, **file.fields}

    def text(key: str) -> str | None:
        value = fields.get(key)
        if value is not None and not isinstance(value, str | int):
            raise file.error(key, "text", repr(value)[:40])
        return None if value is None else str(value)

    size, fps, captions = fields.get("image_size"), fields.get("fps", FPS), fields.get("captions", ())
    if size is not None and not (
        isinstance(size, list | tuple) and len(size) == 2 and all(type(n) is int and 0 < n < 100_000 for n in size)
    ):
        raise file.error("image_size", "[width, height] in pixels", repr(size)[:40])
    if not (isinstance(fps, int | float) and 0 < fps < 100_000):
        raise file.error("fps", "frames per second above 0", repr(fps)[:40])
    if not (isinstance(captions, list | tuple) and all(isinstance(caption, str) for caption in captions)):
        raise file.error("captions", "a list of texts", repr(captions)[:40])
    label = text("label")
    return Video(
        image_size=None if size is None else (size[0], size[1]),
        fps=float(fps),
        label=None if label is None else plain_label(label),
        subject=text("subject"),
        view=text("view"),
        repetition=text("repetition"),
        captions=tuple(captions),
    )


def scored_points(file: SourceFile, points: NDArray[np.float64], place: str) -> NDArray[np.float64]:
    """(J, 3) x, y, score with NaN, NaN, 0 for what is missing: score 0, a keypoint at (0, 0), no number.

    Raises:
        SkeletonFormatError: coordinates that are no pixels.
    """
    points = np.array(points, np.float64)
    if (np.abs(points[np.isfinite(points)]) > _LARGEST).any():
        raise file.error(place, "pixels", "a number above a million")
    missing = ~(points[:, 2] > 0) | (points[:, :2] == 0).all(-1) | ~np.isfinite(points).all(-1)
    points[missing] = (np.nan, np.nan, 0.0)
    return points


def make_pixel_clip(
    file: SourceFile, topology: Topology, detections: Sequence[Detection], video: Video
) -> SkeletonSequence:
    """One clip of a video's detections: x = W - x_px (towards the image's left), y = H - y_px (up).

    Args:
        detections: detections with frames from 0.

    Raises:
        SkeletonFormatError: no keypoint at all, a track twice in a frame, or more frames or people than can be.
    """
    tracks = _tracks(file, detections)
    count = max(video.frames or 0, max(detection.frame for detection in detections) + 1)
    if count > MOST_FRAMES:
        raise file.error("whole file", f"at most {MOST_FRAMES} frames", str(count))
    slots = assign_slots(tracks, count, video.fps)
    size, notes = video.image_size, (*video.notes, *slots.notes)
    if size is None:
        width, height = np.nanmax(slots.positions, axis=(0, 1, 2))
        size = (max(1, math.ceil(width)), max(1, math.ceil(height)))
        notes += (f"image size not given: {size[0]} x {size[1]} taken from the keypoints",)
    positions = np.array(size, np.float32) - slots.positions
    check_present(file, positions)
    return SkeletonSequence(
        id=file.item.id,
        dataset=file.dataset,
        topology=topology,
        positions=positions,
        confidence=slots.confidence,
        fps=video.fps,
        scale="pixels",
        image_size=size,
        track_ids=slots.ids,
        source=file.source,
        label=video.label,
        subject=video.subject,
        view=video.view,
        setup=video.setup,
        repetition=video.repetition,
        captions=video.captions,
        licence=file.licence,
        source_transform=f"x = {size[0]} - x_px; y = {size[1]} - y_px",
        notes=notes,
    )


def _tracks(file: SourceFile, detections: Sequence[Detection]) -> list[Track]:
    frames: dict[int, list[Detection]] = {}
    for detection in detections:
        people = frames.setdefault(detection.frame, [])
        people.append(detection)
        if len(people) > MOST_PEOPLE:
            raise file.error(f"frame {detection.frame}", f"at most {MOST_PEOPLE} people", "more")
    by_track: dict[str, dict[int, NDArray[np.float64]]] = {}
    if all(detection.track is not None for detection in detections):
        for frame, people in sorted(frames.items()):
            for person in people:
                track = by_track.setdefault(str(person.track), {})
                if frame in track:
                    raise file.error(f"frame {frame}", "each track once", f"track {str(person.track)[:40]} twice")
                track[frame] = person.points
    else:
        by_track = link_detections({frame: [p.points for p in people] for frame, people in sorted(frames.items())})
    tracks = []
    for name, by_frame in by_track.items():
        points = np.stack([by_frame[frame] for frame in sorted(by_frame)])
        if np.isfinite(points[..., :2]).any():
            tracks.append(
                Track(
                    id=name,
                    frames=np.array(sorted(by_frame)),
                    positions=points[..., :2],
                    confidence=np.clip(points[..., 2], 0, 1),
                )
            )
    if not tracks:
        raise file.error("whole file", "a keypoint that is present", "none")
    return tracks


def link_detections(frames: dict[int, list[NDArray[np.float64]]]) -> dict[str, dict[int, NDArray[np.float64]]]:
    """Tracks from detections without identity: least total distance between one frame and the next that has any.

    Args:
        frames: frame -> (J, 3) per person, in the order of time.

    Returns:
        {name: {frame: points}}; names are numbers in the order of appearance.
    """
    by_track: dict[str, dict[int, NDArray[np.float64]]] = {}
    last: list[tuple[str, NDArray[np.float64]]] = []
    for frame, people in frames.items():
        if not people:
            continue
        cost = _apart([points for _, points in last], people)
        # Cut off, since the method refuses infinity; beyond LINK_SIZES no pair counts anyway.
        rows, columns = linear_sum_assignment(np.minimum(cost, 2 * LINK_SIZES))
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        name_of = {column: last[row][0] for row, column in pairs if cost[row, column] <= LINK_SIZES}
        last = []
        for place, points in enumerate(people):
            name = name_of[place] if place in name_of else str(len(by_track))
            by_track.setdefault(name, {})[frame] = points
            last.append((name, points))
    return by_track


def _apart(old: list[NDArray[np.float64]], new: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(old, new) mean distance of shared keypoints in body sizes of the old one; infinite without any."""
    cost = np.full((len(old), len(new)), math.inf)
    points = np.stack(new)
    present = np.isfinite(points).all(-1)
    for row, one in enumerate(old):
        mine = np.isfinite(one).all(-1)
        shared = present & mine
        if not mine.any():
            continue
        size = float(np.linalg.norm(one[mine, :2].max(0) - one[mine, :2].min(0)))
        far = np.where(shared, np.linalg.norm(points[..., :2] - one[:, :2], axis=-1), 0.0)
        if size > 0:
            counts = shared.sum(-1)
            cost[row, counts > 0] = far.sum(-1)[counts > 0] / counts[counts > 0] / size
    return cost
