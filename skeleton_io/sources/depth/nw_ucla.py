"""Northwestern-UCLA Multiview Action 3D in the JSON release of CTR-GCN -> clips.

{file_name, skeletons[frame][20][3], label}. Metres in the Kinect v1's frame, which is the record's: +x towards the
person's right, +y up, +z away. Wang et al., CVPR 2014. Clips of a single frame occur and are kept.
"""

from __future__ import annotations

import json
import re

import numpy as np

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import KINECT20
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, number, zeros_to_nan

FPS = 12.0
"""Not published. Estimated: sitting down and standing up last 21 to 23 frames here, 55 frames at 30 Hz in UTD-MHAD."""
LABELS = {
    "1": "pick up with one hand",
    "2": "pick up with two hands",
    "3": "drop trash",
    "4": "walk around",
    "5": "sit down",
    "6": "stand up",
    "8": "donning",
    "9": "doffing",
    "11": "throw",
    "12": "carry",
}
"""Action number in the file name -> label; the file's own dense number (1 to 10) is not used."""
_NAME = re.compile(r"a(\d+)_s(\d+)_e(\d+)_v(\d+)")


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file."""
    try:
        content = json.loads(file.text())
    except ValueError as error:
        raise file.error("whole file", "JSON", str(error)) from None
    if not isinstance(content, dict) or "skeletons" not in content:
        raise file.error("whole file", "an object with skeletons", type(content).__name__)
    joints = len(KINECT20.joints)
    for place, frame in enumerate(content["skeletons"]):
        if len(frame) != joints or any(len(joint) != 3 for joint in frame):
            raise file.error(f"skeletons[{place}]", f"{joints} joints of 3 numbers", f"{len(frame)} joints")
    array = np.array(content["skeletons"])
    if array.ndim != 3 or array.dtype.kind not in "fiu":
        raise file.error("skeletons", f"numbers (frames, {joints}, 3)", f"{array.dtype} {array.shape}")
    positions = zeros_to_nan(array[:, None])
    check_present(file, positions)
    name = _NAME.match(file.stem)
    action, subject, take, view = (number(part) for part in name.groups()) if name else (None,) * 4
    if action is not None and action not in LABELS:
        raise file.error("file name", f"an action of {', '.join(LABELS)}", action)
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=KINECT20,
            positions=positions,
            fps=FPS,
            source=file.source,
            label=LABELS[action] if action else None,
            subject=subject,
            view=view,
            repetition=take,
            licence=file.licence,
        )
    ]


SOURCE = FileSource(
    name="nw_ucla",
    version=1,
    pattern=r"(?:.*/)?(a\d\d_s\d\d_e\d\d_v\d\d)\.json",
    parse=parse,
    licence="not stated for the set (Wang et al. 2014); the JSON release is CC BY-NC 4.0",
    listing=Listing(title="Northwestern-UCLA JSON", files="a08_s02_e01_v03.json", joints="20", dims="3", persons="1"),
)
