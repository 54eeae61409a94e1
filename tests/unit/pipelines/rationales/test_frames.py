"""The teacher's frames are pinned: answers are paid for by how frames are drawn, so that must not change unnoticed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.draction.fixed import StickRenderer
from pipelines.config.rationales import RationalesConfig
from pipelines.config.tree import FullConfig
from pipelines.data.renderer_input import clip_input
from pipelines.rationales.frames import DRAWING_VERSION, frames_config
from pipelines.rationales.stage import recipe_of
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, NTU25

PINNED = {
    1: {
        "ntu25": "7110f99f4b68e23b",
        "coco17": "06c586ec41758e79",
    }
}
"""DRAWING_VERSION -> hash of the frames, coarse enough for the last bits of another machine."""


def clip(flat: bool) -> SkeletonSequence:
    topology = COCO17 if flat else NTU25
    joints, time = np.arange(len(topology.joints)), np.linspace(0, 2, 31)
    x = 0.3 * np.cos(joints[None] * 2.1 + time[:, None])
    y = 1 + 0.8 * np.sin(joints[None] * 0.7 + 0.3 * time[:, None])
    places = np.stack([x, y, 3 + 0.1 * x], -1)
    if flat:
        places = np.array([320.0, 100.0]) + 150 * places[..., :2]
    return SkeletonSequence(
        id="a",
        dataset="made",
        topology=topology,
        positions=places[:, None].astype(np.float32),
        fps=15.0,
        source=Source(uri="made", sha256="0", reader="test", reader_version=1),
        scale="pixels" if flat else "metric",
        image_size=(640, 480) if flat else None,
    )


def frames(flat: bool) -> np.ndarray:
    drawn = frames_config(FullConfig())
    with torch.no_grad():
        return StickRenderer(drawn).eval()([clip_input(clip(flat), drawn, None, None)])[0].numpy()


def coarse(values: np.ndarray) -> str:
    """Means of 8 x 8 blocks in 32 steps; with this offset none of them lies within 0.003 of the next step."""
    f, c, h, w = values.shape
    blocks = values.reshape(f, c, h // 8, 8, w // 8, 8).mean((3, 5))
    return hashlib.sha256(np.floor(blocks * 32 + 0.384).astype(np.uint8).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("flat", [False, True])
def test_the_frames_are_those_of_this_version(flat: bool):
    assert coarse(frames(flat)) == PINNED[DRAWING_VERSION][("ntu25", "coco17")[flat]]


def test_the_hash_notices_a_thinner_bone():
    drawn = frames_config(FullConfig())
    thin = replace(drawn, bone_radius=0.6 * drawn.bone_radius)
    with torch.no_grad():
        other = StickRenderer(thin).eval()([clip_input(clip(False), thin, None, None)])[0].numpy()
    assert coarse(other) != coarse(frames(False))


def test_frames_enter_the_key():
    def shown(**changes: object) -> str:
        return recipe_of(replace(FullConfig(), rationales=RationalesConfig(teacher="openai_api", **changes))).drawing

    assert shown() == shown()
    assert len({shown(), shown(frames=4), shown(image_size=64)}) == 3
