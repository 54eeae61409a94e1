"""Bodies to draw: a standing person in the record's convention, in several topologies."""

import numpy as np
import pytest
import torch

from models.config import RendererConfig
from models.draction.camera import fit_camera
from models.draction.frames import velocity
from models.draction.renderer import ClipInput
from models.draction.template import SkeletonSpec
from skeleton_io.record.topologies import TOPOLOGIES
from skeleton_io.record.topology import Topology

# Height (m) and distance from the middle (m) of the joints of a standing person, arms down.
_STANDING = {
    "pelvis": (1.0, 0), "spine": (1.2, 0), "chest": (1.4, 0), "neck": (1.5, 0), "head": (1.65, 0), "nose": (1.62, 0),
    "eye": (1.66, 0.03), "ear": (1.65, 0.07), "shoulder": (1.4, 0.18), "elbow": (1.15, 0.22), "wrist": (0.9, 0.24),
    "hand": (0.82, 0.24), "hand_tip": (0.75, 0.24), "thumb": (0.8, 0.2), "hip": (0.95, 0.1), "knee": (0.5, 0.11),
    "ankle": (0.08, 0.11), "foot": (0.03, 0.12), "head_top": (1.75, 0), "clavicle": (1.42, 0.06), "heel": (0.02, 0.1),
    "toes": (0.02, 0.13), "big_toe": (0.02, 0.12), "small_toe": (0.02, 0.14),
}  # fmt: skip


def spec_of(topology: Topology) -> SkeletonSpec:
    side, limb, order = zip(*topology.meanings, strict=True)
    return SkeletonSpec(topology.name, topology.joints, topology.bones, side, limb, order)


def standing(topology: Topology, facing: float, raised: str = "", frames: int = 6) -> np.ndarray:
    """(T, 1, J, 3): a person whose right is at facing * x (+1 faces the sensor, at -z; -1 faces +z).

    The arm of the side `raised` points up.
    """
    pose = np.zeros((len(topology.joints), 3), np.float32)
    for j, joint in enumerate(topology.joints):
        side, _, part = joint.partition("_") if joint.startswith(("left_", "right_")) else ("centre", "", joint)
        height, out = _STANDING[part]
        if side == raised and part in ("elbow", "wrist", "hand", "hand_tip", "thumb"):
            height = 1.4 + (1.4 - height)
        pose[j] = {"left": -out, "right": out, "centre": 0.0}[side] * facing, height, 0.05 * facing * (part == "foot")
    sway = np.linspace(0, 0.1, frames, dtype=np.float32)[:, None, None, None] * np.array([0, 0.1, 1], np.float32)
    return (pose + sway + np.array([0.2, -1.0, 3.0], np.float32)).astype(np.float32)


def clip_of(topology: Topology, positions: np.ndarray, cfg: RendererConfig) -> ClipInput:
    spec, world = spec_of(topology), torch.from_numpy(positions)
    moved = torch.from_numpy(velocity(positions, 30.0, cfg.velocity_stride_s))
    return ClipInput(spec, world[: cfg.frames], moved[: cfg.frames], fit_camera(world, spec, cfg))


@pytest.fixture(scope="session")
def body():
    """The functions above, by name."""

    class Body:
        topologies = TOPOLOGIES
        spec = staticmethod(spec_of)
        standing = staticmethod(standing)
        clip = staticmethod(clip_of)

    return Body


@pytest.fixture
def cfg():
    return RendererConfig(frames=3, image_size=64, samples_per_bone=5)
