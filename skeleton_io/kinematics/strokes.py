"""A track (T, 3) -> strokes: stretches of travel between resting or turning points, with repeated ones counted.

Knows neither joints nor persons nor files.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Two strokes belong to one back-and-forth movement when they point against each other and are about as long.
_AGAINST = -0.7
_LENGTH_RATIO = 2.2
_LEAST_CHAIN = 4  # two strokes are a gesture there and back
# Share of a stretch's highest speed below which it rests.
_REST = 0.12
# Share of a stroke's way at both ends that is not counted as part of its time.
_CREEP = 0.04


@dataclass(frozen=True)
class Stroke:
    """Travel from one place to another.

    Attributes:
        start, end: frames between which the travel happens, creeping at both ends cut off.
        change: (3,) displacement of one stroke; of the first one where strokes repeat.
        peak: highest speed, units of the track per frame.
        repetitions: 1 for a single stroke; otherwise how often a back-and-forth is done.
    """

    start: int
    end: int
    change: Array
    peak: float
    repetitions: int = 1

    @property
    def length(self) -> float:
        """Distance covered by one stroke."""
        return float(np.linalg.norm(self.change))


def find_strokes(track: Array, least: float, fps: float) -> list[Stroke]:
    """Splits a track at its corners and rests, keeps travel of at least `least` and joins runs of back-and-forth.

    Corners: polyline simplification (Douglas and Peucker 1973, tolerance 0.6 `least`), and turning points on a line.
    """
    single: list[Stroke] = []
    corners = _corners(track, 0.6 * least)
    for first, last in pairwise(corners):
        for stroke in _travels(track, first, last, fps):
            before = single[-1] if single else None
            if before and _alike(before, stroke) and stroke.start - before.end <= 0.1 * fps:
                single[-1] = _stroke(track, before.start, stroke.end)
            else:
                single.append(stroke)
    return _join_repeats([stroke for stroke in single if stroke.length >= least])


def _corners(track: Array, tolerance: float) -> list[int]:
    """Frames at which the way changes by more than `tolerance`, first and last frame included."""
    keep = {0, len(track) - 1}
    open_spans = [(0, len(track) - 1)]
    while open_spans:
        first, last = open_spans.pop()
        if last - first < 2:
            continue
        chord = track[last] - track[first]
        inside = track[first + 1 : last] - track[first]
        length = max(float(np.linalg.norm(chord)), 1e-9)
        along = inside @ chord / length
        away = np.linalg.norm(inside - np.clip(along, 0, length)[:, None] * chord / length, axis=-1)
        # Turning back on a straight line leaves no distance from the chord, only a loss of progress along it.
        loss = np.maximum.accumulate(along) - along
        if away.max() > tolerance:
            middle = first + 1 + int(away.argmax())
        elif loss.max() > tolerance:
            middle = first + 1 + int(along[: int(loss.argmax()) + 1].argmax())
        else:
            continue
        keep.add(middle)
        open_spans += [(first, middle), (middle, last)]
    return sorted(keep)


def _travels(track: Array, first: int, last: int, fps: float) -> list[Stroke]:
    """The parts of a straight stretch in which there is motion; rests of 0.1 s and more divide it."""
    speed = np.linalg.norm(np.diff(track[first : last + 1], axis=0), axis=-1)
    if not speed.size or not speed.any():
        return []
    spans = find_active_spans(speed, _REST * float(speed.max()), gap=max(0, round(0.1 * fps) - 1), least=1)
    return [_stroke(track, first + a, first + b + 1) for a, b in spans]


def _stroke(track: Array, start: int, end: int) -> Stroke:
    """The stroke between two frames; creeping into and out of it is cut off."""
    change = track[end] - track[start]
    progress = (track[start : end + 1] - track[start]) @ change / max(float(change @ change), 1e-12)
    first = int(np.flatnonzero(progress <= _CREEP)[-1])
    last = np.flatnonzero(progress >= 1 - _CREEP)
    last = last[last > first]
    steps = np.linalg.norm(np.diff(track[start : end + 1], axis=0), axis=-1)
    peak = float(steps.max()) if steps.size else 0.0
    return Stroke(start + first if last.size else start, start + int(last[0]) if last.size else end, change, peak)


def _alike(a: Stroke, b: Stroke) -> bool:
    """Whether two strokes point nearly the same way."""
    return float(a.change @ b.change) > 0.8 * max(a.length * b.length, 1e-9)


def _join_repeats(single: list[Stroke]) -> list[Stroke]:
    """Runs of at least four strokes that go back and forth -> one stroke with repetitions."""
    out: list[Stroke] = []
    at = 0
    while at < len(single):
        stop = at + 1
        while stop < len(single) and _against(single[stop - 1], single[stop]):
            stop += 1
        run = single[at:stop]
        if len(run) >= _LEAST_CHAIN:
            peak = max(stroke.peak for stroke in run)
            longest = max(run, key=lambda stroke: stroke.length)
            mean = float(np.mean([stroke.length for stroke in run]))
            # The direction of the first stroke, unless that was only the hand getting into place.
            change = run[0].change / max(run[0].length, 1e-9) * mean
            if run[0].length < 0.5 * longest.length:
                change = -run[1].change / max(run[1].length, 1e-9) * mean
            out.append(Stroke(run[0].start, run[-1].end, change, peak, (len(run) + 1) // 2))
        else:
            out += run
        at = stop
    return out


def _against(a: Stroke, b: Stroke) -> bool:
    ratio = max(a.length, b.length) / max(min(a.length, b.length), 1e-9)
    cosine = float(a.change @ b.change) / max(a.length * b.length, 1e-9)
    return cosine < _AGAINST and ratio < _LENGTH_RATIO


def find_active_spans(speed: Array, floor: float, gap: int, least: int) -> list[tuple[int, int]]:
    """Frames (first, last) in which `speed` is above `floor`; gaps up to `gap` frames are closed and spans shorter
    than `least` frames dropped."""
    spans: list[list[int]] = []
    for frame in np.flatnonzero(speed > floor):
        if spans and frame - spans[-1][1] <= gap + 1:
            spans[-1][1] = int(frame)
        else:
            spans.append([int(frame), int(frame)])
    return [(first, last) for first, last in spans if last - first + 1 >= least]
