"""SFINGE3D v1 hand gestures of a Leap Motion (text, 20 joints x 7 numbers a line) -> clips.

`Dictionary/{gesture}/{take}.txt` is one gesture; `Sequences/{n}.txt` is a stream whose gestures `sequencesGT.csv`
beside it names: one clip with segments. A joint is x y z and the quaternion x y z w of the bone that begins there.
The file's frame is left-handed (x right, y up, z away from the person whose hand it is); z is negated, which gives the
frame of a sensor that the person faces. Caputo et al., Computers and Graphics 91, 2020.
"""

from __future__ import annotations

import re

import numpy as np

from skeleton_io.record.sequence import Segment, SkeletonSequence
from skeleton_io.record.topologies import HAND20
from skeleton_io.sources.decoders.table_text import read_numbers
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, zeros_to_nan

FPS = 20.0
LABELS = (
    ("one", "two", "three", "four", "ok", "pinch", "grab", "expand", "tap")
    + ("swipe left", "swipe right", "swipe v", "swipe o")
)  # fmt: skip
TRANSFORM = "z = -z_file; quaternion (w, -x, -y, z)"
_VALUES = 7  # x y z and a quaternion
_TRUTH = "sequencesGT.csv"
_MOST_GESTURES = 10_000


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file: a dictionary entry with its label, or a stream with its gestures as segments."""
    kind, *name = _name(file)
    text = file.text()
    # Dictionary files separate by ";" and end their lines with it, streams separate by ",".
    separator = ";" if ";" in text[:200] else ","
    joints = len(HAND20.joints)
    table = read_numbers(file, re.sub(r"[;,][ \t\r]*(?=\n|$)", "", text), joints * _VALUES, separator)
    values = table.reshape(-1, 1, joints, _VALUES)
    positions = zeros_to_nan(values[..., :3])
    check_present(file, positions)
    positions[..., 2] *= -1
    orientations = values[..., [6, 3, 4, 5]] * np.array([1.0, -1.0, -1.0, 1.0])
    orientations[(orientations == 0).all(-1)] = np.nan
    stream = kind == "Sequences"
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=HAND20,
            positions=positions,
            orientations=orientations.astype(np.float32),
            fps=FPS,
            source=file.source,
            label=None if stream else _label(file, "folder", name[0]),
            segments=_segments(file, int(name[0]), len(table)) if stream else (),
            setup="stream" if stream else "dictionary",
            repetition=None if stream else name[1],
            licence=file.licence,
            source_transform=TRANSFORM,
        )
    ]


def _name(file: SourceFile) -> list[str]:
    """("Dictionary", gesture, take) or ("Sequences", number) from the path."""
    match = re.fullmatch(_PATTERN, file.item.path)
    if match is None:
        raise file.error("path", "Dictionary/{gesture}/{take}.txt or Sequences/{number}.txt", file.item.path)
    return [part for part in match.groups() if part]


def _label(file: SourceFile, place: str, gesture: str) -> str:
    if not (gesture.isascii() and gesture.isdigit() and 1 <= int(gesture) <= len(LABELS)):
        raise file.error(place, f"a gesture from 1 to {len(LABELS)}", repr(gesture[:40]))
    return LABELS[int(gesture) - 1]


def _segments(file: SourceFile, stream: int, frames: int) -> tuple[Segment, ...]:
    """Gestures of one stream: the line "number, count, then label, start, end of each" in frames from 0.

    Raises:
        SkeletonFormatError: a line whose count does not hold, or an interval outside the stream.
    """
    for place, line in enumerate((file.beside(_TRUTH) or b"").decode("utf-8", "replace").split("\n"), 1):
        words = [word.strip() for word in line.split(",")]
        if words[0] != str(stream):
            continue
        where = f"{_TRUTH} line {place}"
        if len(words) > 3 * _MOST_GESTURES or not all(word.isascii() and word.isdigit() for word in words):
            raise file.error(where, "whole numbers", repr(line[:60]))
        if len(words) < 2 or len(words) != 2 + 3 * int(words[1][:9]):
            raise file.error(where, "three numbers for each gesture", f"{len(words) - 2} for {words[1:2]}")
        segments = []
        for at in range(2, len(words), 3):
            start, end = (int(word[:12]) for word in words[at + 1 : at + 3])
            if not start <= end < frames:
                raise file.error(where, f"a start and an end among {frames} frames", f"{start} to {end}")
            segments.append(Segment(start=start / FPS, end=end / FPS, label=_label(file, where, words[at])))
        return tuple(segments)
    return ()


def _sniff(path: str, head: bytes) -> bool:
    """A first line of 20 x 7 values, or as much of it as the head holds."""
    line, complete, _ = head.partition(b"\n")
    count = len([value for value in re.split(rb"[;,]", line.strip()) if value])
    return count == len(HAND20.joints) * _VALUES or (not complete and count > len(HAND20.joints))


def _identify(match: re.Match[str]) -> str:
    """Dictionary_7_3 or Sequences_2."""
    return "_".join(part for part in match.groups() if part)


_PATTERN = r"(?:.*/)?(?:(Dictionary)/(\d{1,2})/(\d{1,6})|(Sequences)/(\d{1,6}))\.txt"
SOURCE = FileSource(
    name="sfinge3d",
    version=1,
    pattern=_PATTERN,
    parse=parse,
    sniff=_sniff,
    companions=r"(?:.*/)?Sequences/sequencesGT\.csv",
    identify=_identify,
    licence="not stated, please cite (Caputo et al. 2020)",
    listing=Listing(
        title="SFINGE3D text and gesture segments",
        files="Dictionary/1/2.txt, Sequences/3.txt",
        joints="20 (hand)",
        dims="3",
        persons="1",
    ),
)
