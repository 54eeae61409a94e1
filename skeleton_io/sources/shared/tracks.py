"""Detections with an identity per frame -> person slots that keep one identity: joins, drops, orders. Knows no format.

Rules, in this order, each leaving a note in the record:
1. A track that begins at most `JOIN_SECONDS` after another one ended, within `JOIN_SIZES` body sizes of where that
   one ended, is the same person, lost and found again by the sensor.
2. A phantom is dropped: a track seen in fewer than `SHORT_FRAMES` frames, or wider than tall in most frames, as
   chairs and tables are that a depth sensor takes for people. It goes only if a longer (or, for the second rule, an
   upright) track stays: a lone person lying on the floor is kept. The label is never looked at.
3. Persons are ordered by movement, the most active first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

JOIN_SECONDS = 0.5
JOIN_SIZES = 0.5
SHORT_FRAMES = 11
"""This, 0.8 and 0.7 below are the thresholds (11, 0.8, 0.69754) of the scripts that usually clean NTU's clips: CTR-GCN,
Chen et al., ICCV 2021."""
WIDE_RATIO = 0.8
"""Width over height above which a frame's figure counts as wide."""
WIDE_SHARE = 0.7
"""Share of wide frames above which a track is a phantom."""
MOST_TRACKS = 4096
MOST_VALUES = 1 << 24
"""T * P * J * C of a clip: an hour of one person, with a wide margin below 1 GiB for what is measured on it."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """One identity: `frames` (n,) ascending, positions (n, J, C) with NaN for missing, confidence (n, J),
    orientations (n, J, 4) wxyz or None."""

    id: str
    frames: NDArray[np.int64]
    positions: NDArray[np.float64]
    confidence: NDArray[np.float64]
    orientations: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class Persons:
    """Slots over all frames: positions (T, P, J, C), confidence (T, P, J), orientations (T, P, J, 4) or None."""

    positions: NDArray[np.float32]
    confidence: NDArray[np.float32]
    orientations: NDArray[np.float32] | None
    ids: tuple[str, ...]
    notes: tuple[str, ...]


def assign_slots(tracks: list[Track], frames: int, fps: float) -> Persons:
    """Tracks -> slots, by the rules of this module.

    Args:
        tracks: at least one, with at least one frame each.
        frames: T.
        fps: frames per second.

    Raises:
        ValueError: more tracks than a scene can hold, or slots that would not fit in memory, as noise makes them.
    """
    if len(tracks) > MOST_TRACKS:
        raise ValueError(f"{len(tracks)} tracks, at most {MOST_TRACKS} can be told apart")
    tracks, notes = _join(sorted(tracks, key=lambda t: (int(t.frames[0]), t.id)), fps)
    tracks, drop_notes = _drop_phantoms(tracks)
    tracks.sort(key=lambda t: (-measure_activity(t), int(t.frames[0]), t.id))
    joints, axes = tracks[0].positions.shape[1:]
    if frames * len(tracks) * joints * axes > MOST_VALUES:
        raise ValueError(f"{frames} frames of {len(tracks)} persons: more than {MOST_VALUES} coordinates in one clip")
    positions = np.full((frames, len(tracks), joints, axes), np.nan, np.float32)
    confidence = np.zeros((frames, len(tracks), joints), np.float32)
    oriented = any(t.orientations is not None for t in tracks)
    orientations = np.full((frames, len(tracks), joints, 4), np.nan, np.float32) if oriented else None
    for slot, track in enumerate(tracks):
        positions[track.frames, slot] = track.positions
        confidence[track.frames, slot] = track.confidence
        if orientations is not None and track.orientations is not None:
            orientations[track.frames, slot] = track.orientations
    return Persons(
        positions=positions,
        confidence=confidence,
        orientations=orientations,
        ids=tuple(t.id for t in tracks),
        notes=(*notes, *drop_notes),
    )


def measure_activity(track: Track) -> float:
    """Variance over time summed over joints and axes, times the number of frames: jitter counts little, path much."""
    present = np.isfinite(track.positions)
    count = np.maximum(present.sum(0), 1)
    values = np.where(present, track.positions, 0.0)
    mean = values.sum(0) / count
    spread = np.where(present, track.positions - mean, 0.0) ** 2
    return float((spread.sum(0) / count).sum() * len(track.frames))


def _centre(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(J, C) -> (C,) mean of the joints that are present; NaN if none is."""
    present = points[np.isfinite(points).all(-1)]
    return present.mean(0) if len(present) else np.full(points.shape[-1], np.nan)


def _extent(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(J, C) -> (C,) size of the bounding box; zeros if nothing is present."""
    present = points[np.isfinite(points).all(-1)]
    return present.max(0) - present.min(0) if len(present) else np.zeros(points.shape[-1])


def _join(tracks: list[Track], fps: float) -> tuple[list[Track], list[str]]:
    chains: list[Track] = []
    notes: list[str] = []
    for track in tracks:
        begin = _centre(track.positions[0])
        candidates = []
        for place, earlier in enumerate(chains):
            gap = int(track.frames[0] - earlier.frames[-1])
            if not 0 < gap <= JOIN_SECONDS * fps:
                continue
            distance = float(np.linalg.norm(begin - _centre(earlier.positions[-1])))
            size = float(np.linalg.norm(_extent(earlier.positions[-1])))
            # Compared this way round, a NaN distance joins nothing.
            if distance <= JOIN_SIZES * size:
                candidates.append((distance, place))
        if not candidates:
            chains.append(track)
            continue
        place = min(candidates)[1]
        notes.append(f"track {track.id} continues track {chains[place].id}: lost and found again")
        chains[place] = _chain(chains[place], track)
    return chains, notes


def _chain(first: Track, second: Track) -> Track:
    orientations = None
    if first.orientations is not None and second.orientations is not None:
        orientations = np.concatenate([first.orientations, second.orientations])
    return Track(
        id=first.id,
        frames=np.concatenate([first.frames, second.frames]),
        positions=np.concatenate([first.positions, second.positions]),
        confidence=np.concatenate([first.confidence, second.confidence]),
        orientations=orientations,
    )


def _is_wide(track: Track) -> bool:
    present = np.isfinite(track.positions).all(-1, keepdims=True)
    high = np.where(present, track.positions, -np.inf).max(1)
    low = np.where(present, track.positions, np.inf).min(1)
    extents = np.where(np.isfinite(high), high - low, 0.0)
    width = np.linalg.norm(extents[:, [0]], axis=-1)
    return bool((width > WIDE_RATIO * extents[:, 1]).mean() > WIDE_SHARE)


def _drop_phantoms(tracks: list[Track]) -> tuple[list[Track], list[str]]:
    notes: list[str] = []
    longest = max(len(track.frames) for track in tracks)
    persons = []
    for track in tracks:
        count = len(track.frames)
        if count < SHORT_FRAMES and count < longest:
            notes.append(f"track {track.id} dropped: seen in only {count} frames")
        else:
            persons.append(track)
    wide = [_is_wide(track) for track in persons] if len(persons) > 1 else [False]
    if any(wide) and not all(wide):
        notes += [
            f"track {track.id} dropped: wider than {WIDE_RATIO:g} of its height in most frames, so no upright person"
            for track, phantom in zip(persons, wide, strict=True)
            if phantom
        ]
        persons = [track for track, phantom in zip(persons, wide, strict=True) if not phantom]
    return persons, notes
