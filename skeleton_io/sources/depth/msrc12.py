"""MSRC-12 Kinect gestures (text: time in microseconds, then 20 joints x 4 values a line; `.tagstream`) -> clips.

Metres in the Kinect v1's frame, which is the record's: +x towards the person's right, +y up, +z away. A tag marks the
moment at which a gesture is recognised, not an interval. Fothergill et al., CHI 2012.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import Segment, SkeletonSequence
from skeleton_io.record.topologies import KINECT20
from skeleton_io.sources.decoders.table_text import read_numbers
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, number, zeros_to_nan
from skeleton_io.sources.shared.side_files import plain_label

FPS = 30.0  # Kinect v1; the times in the file say more
LABELS = (
    ("lift outstretched arms", "duck", "push right", "goggles", "wind it up", "shoot", "bow", "throw")
    + ("had enough", "change weapon", "beat both", "kick")
)  # fmt: skip
_NAME = re.compile(r"P(\d+)_(\d+)_(\d+)([A-Za-z]?)_p(\d+)")
_TICKS = 49.875
"""Ticks of a tag's clock in a microsecond, as the set's own loader divides."""
_MOST_TAGS = 100_000  # almost an hour of a tag in every frame


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file, the whole recording; frames before the tracking starts are NaN."""
    joints = len(KINECT20.joints)
    table = read_numbers(file, file.text(), 1 + joints * 4)
    time = table[:, 0]
    if not np.isfinite(time).all() or (np.diff(time) < 0).any():
        row = int(np.argmax(~(np.diff(time, prepend=-np.inf) >= 0))) + 1
        raise file.error(f"row {row}", "times that grow", f"{time[row - 1]:g}")
    values = table[:, 1:].reshape(-1, 1, joints, 4)
    positions = zeros_to_nan(values[..., :3])
    check_present(file, positions)
    confidence = np.where(np.isfinite(positions).all(-1), np.clip(values[..., 3], 0, 1), 0).astype(np.float32)
    instruction, gesture, letter, subject = _name(file)
    segments = _tags(file, time)
    labels = {segment.label for segment in segments}
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=KINECT20,
            positions=positions,
            confidence=confidence,
            fps=FPS,
            timestamps=(time - time[0]) / 1e6,
            source=file.source,
            label=labels.pop() if len(labels) == 1 else gesture,
            segments=segments,
            subject=subject,
            setup=instruction,
            repetition=letter,
            licence=file.licence,
        )
    ]


def _name(file: SourceFile) -> tuple[str | None, str | None, str | None, str | None]:
    """Instruction, gesture, letter and subject of a name P{a}_{b}_{gesture}{letter}_p{subject}; None of another."""
    match = _NAME.fullmatch(file.stem)
    if match is None:
        return None, None, None, None
    first, second, gesture, letter, subject = match.groups()
    if not 1 <= int(gesture) <= len(LABELS):
        raise file.error("file name", f"gesture 1 to {len(LABELS)}", gesture)
    return f"{number(first)}.{number(second)}", LABELS[int(gesture) - 1], letter or None, number(subject)


def _tags(file: SourceFile, time: NDArray[np.float64]) -> tuple[Segment, ...]:
    """Tags as segments without length; none without a `.tagstream` of that name beside the file.

    Raises:
        SkeletonFormatError: no tag stream, or a tag outside the recording.
    """
    data = file.beside(f"{file.stem}.tagstream")
    if data is None and "/" in file.item.path:
        data = file.beside(f"../tagstream/{file.stem}.tagstream")
    if data is None:
        return ()
    lines = data.decode("utf-8-sig", "replace").split("\n")
    if lines[0].replace(" ", "").strip() != "XQPCTick;Tag" or len(lines) > _MOST_TAGS:
        raise file.error("tagstream line 1", "XQPCTick;Tag", repr(lines[0][:40]))
    segments = []
    for place, line in enumerate(lines[1:], 2):
        tick, _, tag = line.strip().partition(";")
        if not tick and not tag:
            continue
        if not (tick.strip().isascii() and tick.strip().isdigit() and len(tick) < 40 and tag.strip()):
            raise file.error(f"tagstream line {place}", "tick;tag", repr(line[:60]))
        moment = int(tick) / _TICKS
        if not time[0] <= moment <= time[-1]:
            raise file.error(
                f"tagstream line {place}", f"a time from {time[0]:.0f} to {time[-1]:.0f} us", f"{moment:.0f}"
            )
        seconds = float(moment - time[0]) / 1e6
        segments.append(Segment(start=seconds, end=seconds, label=_tag_label(tag)))
    return tuple(segments)


def _tag_label(tag: str) -> str:
    """ "G7 take a bow" and the like by its number; another tag in its own words."""
    code = re.match(r"\s*G(\d{1,2})(?!\d)", tag)
    is_known = code is not None and 1 <= int(code.group(1)) <= len(LABELS)
    return LABELS[int(code.group(1)) - 1] if code is not None and is_known else plain_label(tag)


def _sniff(path: str, head: bytes) -> bool:
    """Lines of 81 numbers separated by blanks, the first a whole one."""
    line, complete, _ = head.partition(b"\n")
    words = line.split()
    return bool(complete) and len(words) == 81 and words[0].isdigit()


SOURCE = FileSource(
    name="msrc12",
    version=1,
    pattern=r"(?:.*/)?(P\d+_\d+_\d+[A-Za-z]?_p\d+)\.csv",
    parse=parse,
    sniff=_sniff,
    companions=r"(?:.*/)?P\d+_\d+_\d+[A-Za-z]?_p\d+\.tagstream",
    licence="Microsoft Research licence, non-commercial (Fothergill et al. 2012)",
    listing=Listing(title="MSRC-12 text and tag streams", files="P1_1_1_p06.csv", joints="20", dims="3", persons="1"),
)
