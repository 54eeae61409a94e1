"""The synthetic set, written by code that shares nothing with the readers: all clips in, all broken files named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skeleton_io.demo.dataset import DemoConfig, write_demo
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.protocol import assign
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.shards.schema import to_row
from skeleton_io.sources.registry import protocols_for, resolve


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("demo")
    cfg = DemoConfig(subjects=3, test_subjects=1, repetitions=1, actions=("wave", "shake hands", "squat"))
    return out, write_demo(out, cfg)


@pytest.mark.parametrize("name", ["demo_ntu:ntu", "demo_bvh:bvh", "demo_coco17:coco17"])
def test_demo_set(demo: tuple[Path, dict[str, Any]], name: str):
    out, summary = demo
    dataset, source = resolve(name)
    root, expected = str(out / dataset), summary["formats"][dataset]
    clips: list[SkeletonSequence] = []
    broken = set()
    for item in source.list_items(root):
        try:
            clips += source.read(root, item, dataset)
        except SkeletonFormatError as error:
            broken.add(error.path)
    assert broken == set(expected["broken"])
    assert len(clips) == expected["clips"]
    assert {clip.label for clip in clips} <= set(summary["labels"])
    assert all(clip.captions and clip.subject and clip.view for clip in clips)
    assert {clip.persons for clip in clips if clip.label == "shake hands"} <= {2}
    (rule,) = protocols_for(root, dataset, source)
    sides = list(assign(rule, [to_row(clip) for clip in clips]).values())
    assert (sides.count("train"), sides.count("test")) == (expected["train"], expected["test"])
    # Upright: the head is above the ankles, whichever way the format counts y.
    for clip in clips:
        at = clip.topology.index
        head = at["head"] if "head" in at else at["nose"]
        assert np.nanmedian(clip.positions[:, 0, head, 1] - clip.positions[:, 0, at["left_ankle"], 1]) > 0
