"""UTD-MHAD skeletons (MATLAB v5, variable d_skel of 20 joints x 3 x frames) -> clips.

Metres in the Kinect v1's frame, which is the record's: +x towards the person's right, +y up, +z away.
Chen, Jafari, Kehtarnavaz, ICIP 2015.
"""

from __future__ import annotations

import re

import numpy as np

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import UTD20
from skeleton_io.sources.decoders.mat5 import read_mat5
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, number, zeros_to_nan

FPS = 30.0  # Kinect v1
LABELS = (
    ("swipe left", "swipe right", "wave", "clap", "throw", "arm cross", "basketball shoot", "draw x")
    + ("draw circle clockwise", "draw circle counter clockwise", "draw triangle", "bowling", "boxing")
    + ("baseball swing", "tennis swing", "arm curl", "tennis serve", "push", "knock", "catch", "pickup and throw")
    + ("jog", "walk", "sit to stand", "stand to sit", "lunge", "squat")
)
_NAME = re.compile(r"a(\d+)_s(\d+)_t(\d+)")


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file."""
    content = read_mat5(file)
    if "d_skel" not in content:
        raise file.error("variables", "numbers d_skel", ", ".join(content)[:80] or "none")
    array = content["d_skel"]
    joints = len(UTD20.joints)
    if array.ndim != 3 or array.shape[:2] != (joints, 3) or array.shape[2] < 1:
        raise file.error("d_skel", f"numbers ({joints}, 3, frames)", f"{array.dtype} {array.shape}")
    positions = zeros_to_nan(np.asarray(array.transpose(2, 0, 1)[:, None], np.float64))
    check_present(file, positions)
    name = _NAME.match(file.stem)
    action, subject, take = (number(part) for part in name.groups()) if name else (None, None, None)
    if action is not None and not 1 <= int(action) <= len(LABELS):
        raise file.error("file name", f"action 1 to {len(LABELS)}", action)
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=UTD20,
            positions=np.ascontiguousarray(positions),
            fps=FPS,
            source=file.source,
            label=LABELS[int(action) - 1] if action else None,
            subject=subject,
            repetition=take,
            licence=file.licence,
        )
    ]


SOURCE = FileSource(
    name="utd_mhad",
    version=1,
    pattern=r"(?:.*/)?(a\d+_s\d+_t\d+)_skeleton\.mat",
    parse=parse,
    licence="not stated; research use (Chen, Jafari, Kehtarnavaz 2015)",
    listing=Listing(title="UTD-MHAD MATLAB files", files="a1_s2_t3_skeleton.mat", joints="20", dims="3", persons="1"),
)
