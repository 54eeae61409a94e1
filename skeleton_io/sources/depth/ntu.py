"""NTU RGB+D `.skeleton` text (Kinect v2, 25 joints) -> clips.

The file: number of frames; per frame the number of bodies; per body one line (body id, 9 more numbers), the number of
joints, and a line per joint: x y z, depth and colour pixels, orientation w x y z, tracking state. Metres in the
sensor's frame, which is the record's: +x towards the person's right, +y up, +z away. Shahroudy et al., CVPR 2016.
Who becomes a person, and in which order: `tracks`. The label never decides that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import NTU25
from skeleton_io.sources.depth.ntu_labels import NTU_LABELS
from skeleton_io.sources.depth.ntu_plain import decode
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, number, zeros_to_nan
from skeleton_io.sources.shared.tracks import Track, assign_slots

FPS = 30.0  # Kinect v2
_COLUMNS = 12
_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
# Tracking state of a joint: 0 not tracked, 1 inferred, 2 tracked.
_CONFIDENCE = np.array([0.0, 0.5, 1.0])
_MOST_FRAMES = 1_000_000  # nine hours; a wrong first line must not start an endless loop


@dataclass
class _Lines:
    """Cursor over the lines of a file; counts them for the errors."""

    file: SourceFile
    lines: list[str]
    at: int = 0

    def next(self, expected: str) -> str:
        while self.at < len(self.lines) and not self.lines[self.at].strip():
            self.at += 1
        if self.at >= len(self.lines):
            raise self.error(expected, "end of file")
        self.at += 1
        return self.lines[self.at - 1]

    def count(self, expected: str, most: int) -> int:
        text = self.next(expected).strip()
        if not (text.isascii() and text.isdigit() and int(text) <= most):
            raise self.error(f"{expected} (0 to {most})", repr(text[:40]))
        return int(text)

    def error(self, expected: str, found: str) -> SkeletonFormatError:
        return self.file.error(f"line {max(self.at, 1)}", expected, found)


@dataclass
class _Occurrences:
    """Where one body id occurs: frame numbers and, for each, the line of its first joint."""

    frames: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file, NaN where a person is not seen. The pixels of a joint are not read."""
    frames, tracks = _plain_tracks(file.data) or _tracks(file)
    tracks = [track for track in tracks if np.isfinite(track.positions).any()]
    if not tracks:
        raise file.error("whole file", "a joint that is present", "only zeros")
    slots = assign_slots(tracks, frames, FPS)
    check_present(file, slots.positions)
    name = _from_name(file)
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=NTU25,
            positions=slots.positions,
            confidence=slots.confidence,
            orientations=slots.orientations,
            fps=FPS,
            track_ids=slots.ids,
            source=file.source,
            licence=file.licence,
            notes=slots.notes,
            setup=name.setup,
            view=name.view,
            subject=name.subject,
            repetition=name.repetition,
            label=name.label,
        )
    ]


def _plain_tracks(data: bytes) -> tuple[int, list[Track]] | None:
    """Frames and tracks of a file in which every line is as it should be, at a tenth of the time."""
    bodies = decode(data)
    if bodies is None:
        return None
    places: dict[str, list[int]] = {}
    for place, name in enumerate(bodies.ids):
        places.setdefault(name, []).append(place)
    tracks = []
    for name, own in places.items():
        values = bodies.values[own]
        tracks.append(_track(name, bodies.frame[own], values[..., :3], values[..., 3:], bodies.states[own]))
    return bodies.frames, tracks


def _tracks(file: SourceFile) -> tuple[int, list[Track]]:
    """Frames and tracks line by line.

    Raises:
        SkeletonFormatError: at the first line that is not as it should be.
    """
    lines = _Lines(file, file.text().split("\n"))
    frames = lines.count("number of frames", _MOST_FRAMES)
    bodies: dict[str, _Occurrences] = {}
    for frame in range(frames):
        # A Kinect v2 tracks six.
        for body in range(lines.count(f"number of bodies of frame {frame}", 6)):
            _read_body(lines, frame, body, bodies)
    if frames == 0 or not bodies:
        raise file.error("whole file", "a body in some frame", f"{frames} frames without any")
    return frames, [_line_track(lines, name, occurrences) for name, occurrences in bodies.items()]


def _read_body(lines: _Lines, frame: int, body: int, bodies: dict[str, _Occurrences]) -> None:
    header = lines.next(f"header of body {body} of frame {frame}").split()
    if len(header) != 10:
        raise lines.error("10 numbers in a body's header", f"{len(header)}")
    joints = len(NTU25.joints)
    if lines.count("number of joints", 1000) != joints:
        raise lines.error(f"{joints} joints", lines.lines[lines.at - 1].strip()[:40])
    occurrences = bodies.setdefault(header[0], _Occurrences())
    if occurrences.frames and occurrences.frames[-1] == frame:
        raise lines.error("each body once per frame", f"body {header[0]} twice in frame {frame}")
    occurrences.frames.append(frame)
    occurrences.lines.append(lines.at)
    lines.at += joints
    if lines.at > len(lines.lines) or not lines.lines[lines.at - 1].strip():
        lines.at = len(lines.lines)
        raise lines.error(f"{joints} joint lines of body {body} of frame {frame}", "end of file")


def _line_track(lines: _Lines, name: str, occurrences: _Occurrences) -> Track:
    joints = len(NTU25.joints)
    numbers = [at + joint for at in occurrences.lines for joint in range(joints)]
    values = _floats(lines, numbers).reshape(len(occurrences.frames), joints, _COLUMNS)
    states = values[..., 11]
    if not np.isin(states, (0, 1, 2)).all():
        place = int(np.argmin(np.isin(states, (0, 1, 2)).reshape(-1)))
        lines.at = numbers[place] + 1
        raise lines.error("tracking state 0, 1 or 2", f"{states.reshape(-1)[place]:g}")
    return _track(name, np.array(occurrences.frames), values[..., :3], values[..., 7:11], states.astype(np.uint8))


def _track(
    name: str,
    frames: NDArray[np.int64],
    where: NDArray[np.float64],
    turn: NDArray[np.float64],
    states: NDArray[np.uint8],
) -> Track:
    """One body's numbers (n, 25, 3), (n, 25, 4), (n, 25), with NaN for what is missing."""
    positions = zeros_to_nan(where).astype(np.float64)
    orientations = turn.copy()
    orientations[(orientations == 0).all(-1)] = np.nan
    return Track(
        id=name,
        frames=frames,
        positions=positions,
        confidence=np.where(np.isfinite(positions).all(-1), _CONFIDENCE[states], 0.0),
        orientations=orientations,
    )


def _floats(lines: _Lines, numbers: list[int]) -> NDArray[np.float64]:
    rows = [lines.lines[place].split() for place in numbers]
    for place, row in zip(numbers, rows, strict=True):
        if len(row) != _COLUMNS:
            lines.at = place + 1
            raise lines.error(f"{_COLUMNS} numbers of a joint", f"{len(row)}")
    # The same for both ways to read: what is between x y z and the orientation is not looked at.
    rows = [[*row[:3], "0", "0", "0", "0", *row[7:]] for row in rows]
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError:
        for place, row in zip(numbers, rows, strict=True):
            for value in row:
                try:
                    float(value)
                except ValueError:
                    lines.at = place + 1
                    raise lines.error("a number", repr(value[:40])) from None
        raise


@dataclass(frozen=True, kw_only=True)
class _Name:
    """What a file name of the form SsssCcccPpppRrrrAaaa says; all None for other names."""

    setup: str | None = None
    view: str | None = None
    subject: str | None = None
    repetition: str | None = None
    label: str | None = None


def _from_name(file: SourceFile) -> _Name:
    match = _NAME.search(file.stem)
    if match is None:
        return _Name()
    setup, view, subject, take, action = (number(part) for part in match.groups())
    code = f"A{int(action):03d}"
    if file.side.names:
        label = file.side.names.get(code)
    else:
        label = NTU_LABELS[int(action) - 1] if 1 <= int(action) <= len(NTU_LABELS) else None
    return _Name(setup=setup, view=view, subject=subject, repetition=take, label=label)


SOURCE = FileSource(
    name="ntu",
    version=1,
    pattern=r"(?:.*/)?([^/]+)\.skeleton",
    parse=parse,
    listing=Listing(
        title="NTU RGB+D 60 and 120 .skeleton",
        files="S001C002P003R001A023.skeleton",
        joints="25",
        dims="3",
        persons="any",
    ),
)
