"""Human3.6M as VideoPose3D packs it (data_3d_h36m.npz) -> a clip per subject and action; 17 of the 32 joints.

`positions_3d` is a pickled dictionary {subject: {action: (T, 32, 3)}}, which is read without executing anything. An
archive of plain arrays named SUBJECT/ACTION is read too; 17 joints in VideoPose3D's order are taken as is. Metres,
z up in the file, 50 frames per second. Ionescu et al., TPAMI 2014; Pavllo et al., CVPR 2019.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import H36M17
from skeleton_io.sources.decoders import npy
from skeleton_io.sources.decoders.npy import read_members, read_object_pickle
from skeleton_io.sources.decoders.pickles import load_pickle
from skeleton_io.sources.shared.files import ClipOrError, FileSource, Listing, SourceFile, check_present
from skeleton_io.sources.shared.forward_kinematics import check_size, y_up
from skeleton_io.sources.shared.side_files import plain_label

FPS = 50.0
JOINTS_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Of the 32; the others are ends of feet and hands that did not move, and doubles."""
_KEY = "positions_3d"
_NAME = re.compile(r"(.*?)(?:[ _](\d+))?$", re.DOTALL)


def parse(file: SourceFile) -> Iterator[ClipOrError]:
    """A clip, or an error, per subject and action, in the file's order."""
    names: set[str] = set()
    for subject, action, values in _motions(file):
        place = f"{subject}, {action}"[:80]
        name = re.sub(r"\W+", "_", f"{subject}_{action}")
        if name in names:
            yield file.error(place, "each motion once", "it again")
            continue
        names.add(name)
        shape = np.shape(values) if isinstance(values, np.ndarray) else ()
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or not shape or shape[0] == 0:
            yield file.error(place, "an array of reals", f"{type(values).__name__} {shape}")
        elif shape[1:] not in ((32, 3), (17, 3)):
            yield file.error(place, "shape (T, 32, 3) or (T, 17, 3)", str(shape))
        else:
            yield _clip(file, name, (subject, action), values)


def _clip(file: SourceFile, name: str, motion: tuple[str, str], values: np.ndarray[Any, Any]) -> ClipOrError:
    subject, action = motion
    match = _NAME.fullmatch(action)
    label, repetition = (match[1], match[2]) if match else (action, None)
    try:
        check_size(file, len(values), len(JOINTS_OF_32))
        joints = values[:, JOINTS_OF_32] if values.shape[1] == 32 else values
        positions, _ = y_up(joints.astype(np.float64))
        check_present(file, positions)
        return SkeletonSequence(
            id=name,
            dataset=file.dataset,
            topology=H36M17,
            positions=positions[:, None].astype(np.float32),
            fps=file.fields.get("fps", FPS),
            source=file.source,
            label=plain_label(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)) or None,
            subject=subject,
            repetition=repetition,
            licence=file.licence,
            source_transform="z was up: (x, y, z) -> (x, z, -y)",
        )
    except SkeletonFormatError as error:
        return file.error(f"{subject}, {action}"[:80], error.expected, error.found)
    except (ValueError, FloatingPointError) as error:
        return file.error(f"{subject}, {action}"[:80], "finite coordinates", str(error)[:80])


def _motions(file: SourceFile) -> Iterator[tuple[str, str, object]]:
    """(subject, action, whatever the file holds there)."""
    members = read_members(file.data, file, {_KEY})
    if _KEY not in members:
        for name, values in npy.read_npz(file.data, file).items():
            subject, _, action = name.replace("/", "_").partition("_")
            yield subject, action, values
        return
    _, pickle = read_object_pickle(members.pop(_KEY), file, _KEY)
    content = load_pickle(pickle, file, _KEY)
    if isinstance(content, np.ndarray) and content.shape == () and content.dtype == object:
        content = content.item()
    if not isinstance(content, dict):
        raise file.error(_KEY, "{subject: {action: array}}", type(content).__name__)
    for subject, actions in content.items():
        if not isinstance(subject, str) or not isinstance(actions, dict):
            raise file.error(_KEY, "{subject: {action: array}}", f"{type(actions).__name__} of {subject!a}"[:80])
        for action, values in actions.items():
            yield subject, str(action) if isinstance(action, str | int) else "?", values


def _sniff(path: str, head: bytes) -> bool:
    return head[:2] == b"PK"


SOURCE = FileSource(
    name="human36m",
    version=1,
    pattern=r"(?:.*/)?([^/]*(?:h36m|human36m|human3\.6m)[^/]*)\.npz",
    parse=parse,
    sniff=_sniff,
    listing=Listing(title="Human3.6M npz of VideoPose3D", files="data_3d_h36m.npz", joints="17", dims="3", persons="1"),
)
