"""KIMORE rehabilitation exercises (Kinect v2, csv without a header: 25 joints x (x, y, z, tracking state)) -> clips.

Metres in the sensor's frame, which is the record's: +x towards the person's right, +y up, +z away. The clinical score
in `label.csv` beside the file becomes the clip's `setup`. Capecci et al., IEEE TNSRE 27(7), 2019.
"""

from __future__ import annotations

import re

import numpy as np

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import NTU25
from skeleton_io.sources.decoders.table_text import read_numbers
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, zeros_to_nan

FPS = 30.0  # Kinect v2
LABELS = ("lift arms", "tilt trunk sideways", "rotate trunk", "rotate pelvis", "squat")
"""Exercises Es1 to Es5."""
# Tracking state of a joint: 0 not tracked, 1 inferred, 2 tracked.
_CONFIDENCE = np.array([0.0, 0.5, 1.0])
_COLUMNS = 4


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file: the repetitions follow each other in it and nothing says where one ends."""
    joints = len(NTU25.joints)
    # The set's own files end each line with a separator.
    table = read_numbers(file, re.sub(r",[ \t\r]*(?=\n|$)", "", file.text()), joints * _COLUMNS, ",")
    values = table.reshape(-1, 1, joints, _COLUMNS)
    states = values[..., 3]
    valid = np.isin(states, (0, 1, 2))
    if not valid.all():
        row = int(np.argmin(valid.all((1, 2))))
        raise file.error(f"row {row + 1}", "tracking state 0, 1 or 2", f"{states[row][~valid[row]][0]:g}")
    positions = zeros_to_nan(values[..., :3])
    check_present(file, positions)
    present = np.isfinite(positions).all(-1)
    exercise = re.search(r"(?:^|/)Es([1-5])(?:/|$)", file.item.path)
    subject = re.search(r"(?:^|/)([A-Z]+_ID\d+)(?:/|$)", file.item.path)
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=NTU25,
            positions=positions,
            confidence=np.where(present, _CONFIDENCE[states.astype(int)], 0).astype(np.float32),
            fps=FPS,
            source=file.source,
            label=LABELS[int(exercise.group(1)) - 1] if exercise else None,
            subject=subject.group(1) if subject else None,
            setup=_score(file),
            licence=file.licence,
        )
    ]


def _score(file: SourceFile) -> str | None:
    """Text of the score; None without a label.csv.

    Raises:
        SkeletonFormatError: it holds no number.
    """
    data = file.beside("label.csv")
    if data is None:
        return None
    text = data.decode("utf-8-sig", "replace").strip()
    if not re.fullmatch(r"\d{1,6}(\.\d{1,12})?", text):
        raise file.error("label.csv", "one number", repr(text[:40]))
    return text


def _sniff(path: str, head: bytes) -> bool:
    """A first line of 25 x 4 numbers whose every fourth is a tracking state."""
    words = head.partition(b"\n")[0].strip().rstrip(b",").split(b",")
    joints = len(NTU25.joints)
    return len(words) == joints * _COLUMNS and all(word.strip() in (b"0", b"1", b"2") for word in words[3::_COLUMNS])


def _identify(match: re.Match[str]) -> str:
    """All files have the same name; the folders tell them apart."""
    return match.group().rsplit(".", 1)[0].replace("/", ".")


SOURCE = FileSource(
    name="kimore",
    version=1,
    pattern=r"(?:.*/)?(?:input|JointPosition\d*)\.csv",
    parse=parse,
    sniff=_sniff,
    companions=r"(?:.*/)?label\.csv",
    identify=_identify,
    licence="not stated with the files; research use (Capecci et al. 2019)",
    listing=Listing(title="KIMORE csv and scores", files="input.csv", joints="25", dims="3", persons="1"),
)
