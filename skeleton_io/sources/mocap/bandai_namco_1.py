"""Bandai-Namco-Research-Motiondataset-1 (BVH, file name dataset-1_{content}_{style}_{take}) -> clips.

Label = content ("walk-back" -> "walk back"), setup = style, and both in a caption. The hips hang below a container
joint that is composed and dropped. arXiv 2306.08861, CC BY-NC 4.0.
"""

from __future__ import annotations

import re

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.mocap.bvh import read_clip
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, number

_NAME = re.compile(r"dataset-1_([a-z-]+)_([a-z-]+)_(\d+)")


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file."""
    name = _NAME.fullmatch(file.stem)
    if name is None:
        raise file.error("file name", "dataset-1_{content}_{style}_{take}", file.stem)
    content, style, take = name.groups()
    label, manner = content.replace("-", " "), style.replace("-", " ")
    return [
        read_clip(
            file,
            label=label,
            setup=manner,
            repetition=number(take),
            captions=(f"{label}, {manner} style",),
            family="bandai",
        )
    ]


SOURCE = FileSource(
    name="bandai_namco_1",
    version=1,
    pattern=r"(?:.*/)?dataset-1_([a-z-]+_[a-z-]+_\d+)\.bvh",
    parse=parse,
    licence="CC BY-NC 4.0, Bandai Namco Research Inc.",
    listing=Listing(
        title="Bandai-Namco motion data set 1",
        files="dataset-1_walk_happy_001.bvh",
        joints="21 or 24",
        dims="3",
        persons="1",
    ),
)
