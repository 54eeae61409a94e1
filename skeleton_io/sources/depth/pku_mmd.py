"""PKU-MMD skeletons (Kinect v2, text: 2 persons x 25 joints x 3 numbers a line) and interval labels -> clips.

Metres in the sensor's frame, which is the record's: +x towards the person's right, +y up, +z away. A label file of the
same name in a folder beside the skeletons' one cuts the recording: one clip per interval. Without labels the whole
recording is one clip. Liu et al., arXiv 1703.07475.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import NTU25
from skeleton_io.sources.decoders.table_text import read_numbers
from skeleton_io.sources.depth.pku_mmd_labels import PKU_LABELS
from skeleton_io.sources.shared.files import (
    ClipOrError,
    FileSource,
    Listing,
    SourceFile,
    check_present,
    number,
    zeros_to_nan,
)
from skeleton_io.sources.shared.tracks import Track, assign_slots

FPS = 30.0  # Kinect v2
LABEL_FOLDERS = (
    ("Train_Label_PKU_final", "Label_PKUMMD", "Label_PKU_final", "Train_Label_PKU", "Label_PKUMMD_v2")
    + ("Label", "Labels", "label", "labels")
)  # fmt: skip
"""Where the labels of `Skeletons/0002-L.txt` are looked for: in these folders beside it, or beside its own folder."""
_PERSONS = 2
_UNSEEN, _CLEAR = 0.5, 0.1  # metres
_MOST_INTERVALS = 100_000
_NAME = re.compile(r"(\d{4}|A\d\dN\d\d)-([LMR])")


def parse(file: SourceFile) -> Iterator[ClipOrError]:
    """A clip per interval, with an error as a value for one that cannot be cut; or the whole recording."""
    joints = len(NTU25.joints)
    table = read_numbers(file, file.text(), _PERSONS * joints * 3)
    positions = zeros_to_nan(table.reshape(-1, _PERSONS, joints, 3))
    check_present(file, positions)
    positions = unswap(positions)
    labels = _labels(file)
    if labels is None:
        yield _clip(file, file.item.id, positions, None, None)
        return
    for count, line in enumerate(labels.decode("utf-8-sig", "replace").split("\n"), 1):
        if not line.strip():
            continue
        if count > _MOST_INTERVALS:
            raise file.error("label file", f"up to {_MOST_INTERVALS} lines", "more")
        yield _interval(file, positions, line, count)


def unswap(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 2, J, 3) with the persons' places set right where they exchange from one frame to the next.

    They do if the bodies' centres move less in total when crossed, by more than `_CLEAR`; a person who is not seen in
    one of the two frames counts as moving by `_UNSEEN`.
    """
    present = np.isfinite(positions).all(-1, keepdims=True)
    count = present.sum(2)
    centres = np.where(present, positions, 0).sum(2, dtype=np.float64) / np.maximum(count, 1)
    centres[count[..., 0] == 0] = np.nan
    # steps[t, a, b]: from place a in frame t to place b in the next.
    steps = np.linalg.norm(centres[1:, None, :] - centres[:-1, :, None], axis=-1)
    steps[np.isnan(steps)] = _UNSEEN
    exchange = steps[:, 0, 1] + steps[:, 1, 0] + _CLEAR < steps[:, 0, 0] + steps[:, 1, 1]
    is_swapped = np.concatenate([[0], np.cumsum(exchange) % 2]).astype(bool)
    return np.where(is_swapped[:, None, None, None], positions[:, ::-1], positions)


def _labels(file: SourceFile) -> bytes | None:
    # The folder above is not looked into where the skeletons lie at the top of the set's.
    for above in ("", "../", "../Label/") if "/" in file.item.path else ("",):
        for folder in LABEL_FOLDERS:
            data = file.beside(f"{above}{folder}/{file.stem}.txt")
            if data is not None:
                return data
    return None


def _interval(file: SourceFile, positions: NDArray[np.float32], line: str, count: int) -> ClipOrError:
    """The clip of one line "action, first frame, last frame, confidence", frames from 0, both included."""
    place = f"label line {count}"
    words = [word.strip() for word in line.split(",")]
    if len(words) < 3 or not all(word.isascii() and word.isdigit() and len(word) < 12 for word in words[:3]):
        return file.error(place, "action, start, end, confidence", repr(line.strip()[:60]))
    action, start, end = (int(word) for word in words[:3])
    if not 1 <= action <= len(PKU_LABELS):
        return file.error(place, f"an action from 1 to {len(PKU_LABELS)}", str(action))
    if not start <= end or start >= len(positions):
        return file.error(place, f"an interval within {len(positions)} frames", f"{start} to {end}")
    part = positions[start : end + 1]
    if not np.isfinite(part).any():
        return file.error(place, "a joint that is present", f"nobody from frame {start} to {end}")
    return _clip(file, f"{file.item.id}_{count:03d}", part, PKU_LABELS[action - 1], (count, start, end, len(positions)))


def _clip(
    file: SourceFile,
    name: str,
    positions: NDArray[np.float32],
    label: str | None,
    interval: tuple[int, int, int, int] | None,
) -> SkeletonSequence:
    tracks = []
    for slot in range(_PERSONS):
        frames = np.flatnonzero(np.isfinite(positions[:, slot]).any((1, 2)))
        if len(frames):
            points = positions[frames, slot].astype(np.float64)
            tracks.append(
                Track(
                    id=str(slot + 1),
                    frames=frames,
                    positions=points,
                    confidence=np.asarray(np.isfinite(points).all(-1), np.float64),
                )
            )
    slots = assign_slots(tracks, len(positions), FPS)
    notes = list(slots.notes)
    if interval is not None:
        _, start, end, frames = interval
        notes.insert(0, f"frames {start} to {min(end, frames - 1)} of the recording")
        if end >= frames:
            notes.insert(1, f"the label ends at frame {end}, the recording before it")
    match = _NAME.fullmatch(file.stem)
    return SkeletonSequence(
        id=name,
        dataset=file.dataset,
        topology=NTU25,
        positions=slots.positions,
        fps=FPS,
        track_ids=slots.ids,
        source=file.source,
        label=label,
        setup=match.group(1) if match else None,
        view=match.group(2) if match else None,
        repetition=number(str(interval[0])) if interval else None,
        licence=file.licence,
        notes=tuple(notes),
    )


def _sniff(path: str, head: bytes) -> bool:
    """A first line of 150 numbers."""
    line, complete, _ = head.partition(b"\n")
    return bool(complete) and len(line.split()) == _PERSONS * len(NTU25.joints) * 3


SOURCE = FileSource(
    name="pku_mmd",
    version=1,
    # Label files have the same names: a folder that says so is none of skeletons.
    pattern=r"(?:(?![^/]*[Ll]abel)[^/]+/)*((?:\d{4}|A\d\dN\d\d)-[LMR])\.txt",
    parse=parse,
    sniff=_sniff,
    companions=r"(?:.*/)?[^/]*[Ll]abel[^/]*/(?:.*/)?[^/]+\.txt",
    licence="research use by agreement (Liu et al. 2017)",
    listing=Listing(title="PKU-MMD text and interval labels", files="0002-L.txt", joints="25", dims="3", persons="2"),
)
