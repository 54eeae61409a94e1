"""MSR-Action3D skeletons in real-world coordinates (text) -> clips.

Four numbers a line (x y z confidence), 20 lines a frame, no header. Metres in the Kinect's frame, which is the
record's: +x towards the person's right, +y up, +z away. Li, Zhang, Liu, CVPR4HB 2010.
"""

from __future__ import annotations

import re

import numpy as np

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import MSR20
from skeleton_io.sources.decoders.table_text import read_numbers
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, number, zeros_to_nan

FPS = 15.0  # depth maps at about 15 Hz, as the paper says
LABELS = (
    ("high arm wave", "horizontal arm wave", "hammer", "hand catch", "forward punch", "high throw", "draw x")
    + ("draw tick", "draw circle", "hand clap", "two hand wave", "side boxing", "bend", "forward kick")
    + ("side kick", "jogging", "tennis swing", "tennis serve", "golf swing", "pickup and throw")
)
_NAME = re.compile(r"a(\d+)_s(\d+)_e(\d+)")


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file. A confidence of 0 does not mean missing here: it stands beside good spine and foot joints."""
    table = read_numbers(file, file.text(), 4)
    joints = len(MSR20.joints)
    if len(table) % joints:
        raise file.error("end of file", f"a multiple of {joints} lines", f"{len(table)} lines")
    frames = table.reshape(-1, 1, joints, 4)
    positions = zeros_to_nan(frames[..., :3])
    check_present(file, positions)
    name = _NAME.match(file.stem)
    action, subject, take = (number(part) for part in name.groups()) if name else (None, None, None)
    if action is not None and not 1 <= int(action) <= len(LABELS):
        raise file.error("file name", f"action 1 to {len(LABELS)}", action)
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=MSR20,
            positions=positions,
            confidence=np.clip(frames[..., 3], 0, 1).astype(np.float32),
            fps=FPS,
            source=file.source,
            label=LABELS[int(action) - 1] if action else None,
            subject=subject,
            repetition=take,
            licence=file.licence,
        )
    ]


SOURCE = FileSource(
    name="msr_action3d",
    version=1,
    pattern=r"(?:.*/)?(a\d\d_s\d\d_e\d\d)_skeleton3D\.txt",
    parse=parse,
    licence="not stated; research use (Li, Zhang, Liu 2010)",
    listing=Listing(title="MSR-Action3D text", files="a01_s02_e03_skeleton3D.txt", joints="20", dims="3", persons="1"),
)
