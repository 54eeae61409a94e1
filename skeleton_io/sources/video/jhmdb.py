"""JHMDB ground-truth joints as DD-Net's release pickles them (GT_train_1.pkl ... GT_test_3.pkl) -> clips in 2D.

{"pose": [(T, 15, 2), ...], "label": [text, ...]}: the set's `pos_world`, centred on the body and divided by its size, y
down; no names of the videos. The six files are the same clips cut three ways. They are read together: a clip that
several files hold becomes one record, whose `setup` tells its side in split 1, 2 and 3 ("train train test"), which the
published protocols read. Its id is its label and a hash of its numbers. Jhuang et al., ICCV 2013.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import JHMDB15
from skeleton_io.sources.decoders.pickles import load_pickle
from skeleton_io.sources.shared.files import ClipOrError, FileSource, Listing, SourceFile
from skeleton_io.sources.shared.side_files import plain_label

FPS = 30.0
"""Of HMDB51, from which the videos are."""
SPLITS = 3
_JOINTS = len(JHMDB15.joints)
_NAME = re.compile(r"(?:.*/)?GT_(train|test)_([1-3])\.pkl")
_LARGEST = 1e4  # coordinates are in body sizes; more is another content


@dataclass
class _Clip:
    """One clip and where it was found."""

    label: str
    points: NDArray[np.float64]
    sides: list[str] = field(default_factory=lambda: ["absent"] * SPLITS)


def parse(file: SourceFile) -> Iterator[ClipOrError]:
    """Every clip of the files once, sorted by id; an error for each clip or file that could not be read."""
    clips: dict[str, _Clip] = {}
    for path, data in file.parts:
        name = _NAME.fullmatch(path)
        if name is None:
            raise file.error("file name", "GT_train_1.pkl to GT_test_3.pkl", path)
        try:
            content = _content(file, data, path)
        except SkeletonFormatError as error:
            yield error
            continue
        for place, (points, label) in enumerate(content):
            try:
                clip = _clip(file, points, label, f"{path}, pose {place}")
            except SkeletonFormatError as error:
                yield error
                continue
            digest = hashlib.sha256(clip.points.tobytes()).hexdigest()[:10]
            entry = clips.setdefault(f"{clip.label.replace(' ', '_')}_{digest}", clip)
            split = int(name.group(2)) - 1
            if entry.sides[split] not in ("absent", name.group(1)):
                yield file.error(f"{path}, pose {place}", "a clip that is on one side of the split", "it on both")
            entry.sides[split] = name.group(1)
    for key in sorted(clips):
        yield _record(file, key, clips[key])


def _content(file: SourceFile, data: bytes, path: str) -> list[tuple[Any, Any]]:
    """(joints, label) per clip, unchecked."""
    content = load_pickle(data, file, path)
    if not isinstance(content, dict) or not {"pose", "label"} <= set(content):
        raise file.error(path, "a dict with pose and label", type(content).__name__)
    poses, labels = content["pose"], content["label"]
    if not isinstance(poses, list) or not isinstance(labels, list) or len(poses) != len(labels):
        raise file.error(path, "two lists of one length", f"{type(poses).__name__} and {type(labels).__name__}")
    return list(zip(poses, labels, strict=True))


def _clip(file: SourceFile, points: Any, label: Any, place: str) -> _Clip:
    if not isinstance(points, np.ndarray) or points.dtype.kind not in "fiu" or points.shape[1:] != (_JOINTS, 2):
        found = f"{points.dtype} {points.shape}" if isinstance(points, np.ndarray) else type(points).__name__
        raise file.error(place, f"numbers (frames, {_JOINTS}, 2)", found)
    if not isinstance(label, str) or not label.strip():
        raise file.error(place, "a label", type(label).__name__)
    values = np.ascontiguousarray(points, np.float64)
    if not np.isfinite(values).any() or (np.abs(values[~np.isnan(values)]) > _LARGEST).any():
        raise file.error(place, f"coordinates within {_LARGEST:g}", "none, or larger ones")
    return _Clip(plain_label(label[:200]), values)


def _record(file: SourceFile, key: str, clip: _Clip) -> SkeletonSequence:
    positions = (-clip.points[:, None]).astype(np.float32) + np.float32(0)  # no negative zeros
    return SkeletonSequence(
        id=key,
        dataset=file.dataset,
        topology=JHMDB15,
        positions=positions,
        fps=FPS,
        scale="normalised",
        source=file.source,
        label=clip.label,
        setup=" ".join(clip.sides),
        licence=file.licence,
        source_transform="x = -x_file; y = -y_file",
    )


def _one_item(match: re.Match[str]) -> str:
    return "jhmdb"


SOURCE = FileSource(
    name="jhmdb",
    version=1,
    pattern=_NAME.pattern,
    parse=parse,
    licence="not stated; research use (Jhuang et al. 2013)",
    grouped=True,
    identify=_one_item,
    listing=Listing(
        title="JHMDB pickles, read without executing anything",
        files="GT_train_1.pkl, GT_test_1.pkl",
        joints="15",
        dims="2",
        persons="1",
    ),
)
