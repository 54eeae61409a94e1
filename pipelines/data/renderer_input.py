"""Clips -> what the renderer draws, and the frames themselves.

Turns a topology into the models' spec, lifts 2D, takes velocity on the original frames, chooses frames, augments and
places the camera. All chances come from the generator that is handed in. An exported model carries this file along, so
it imports nothing but the models and the topology.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from models.config import RendererConfig
from models.draction.camera import Camera, clip_camera
from models.draction.frames import select_frames, velocity
from models.draction.lift import lift_2d, metric_scale
from models.draction.renderer import ClipInput, SceneRenderer
from models.draction.template import SkeletonSpec
from skeleton_io.record.topology import Topology

if TYPE_CHECKING:
    from pipelines.config.train import AugmentConfig


class Motion(Protocol):
    """What is needed of a clip: a `SkeletonSequence` of the record has it, and so has the clip of an exported model."""

    @property
    def topology(self) -> Topology:
        """Names of the J joints, and the bones between them."""
        ...

    @property
    def positions(self) -> NDArray[np.float32]:
        """(T, P, J, 3), or (T, P, J, 2) in an image; NaN = missing."""
        ...

    @property
    def scale(self) -> str:
        """`metric` for metres; anything else is brought to human size."""
        ...

    @property
    def fps(self) -> float:
        """Frames per second."""
        ...

    @property
    def timestamps(self) -> NDArray[np.float64] | None:
        """(T,) seconds, where the frames are not evenly spaced."""
        ...


@lru_cache(maxsize=256)
def skeleton_spec(topology: Topology) -> SkeletonSpec:
    """The models' view of a topology."""
    meanings = topology.meanings
    return SkeletonSpec(
        name=topology.name,
        joint_names=topology.joints,
        bones=topology.bones,
        side=tuple(m.side for m in meanings),
        limb=tuple(m.limb for m in meanings),
        order=tuple(m.order for m in meanings),
    )


def metric_positions(seq: Motion) -> NDArray[np.float32]:
    """(T, P, J, 3) metres: 2D on a plane before the sensor, normalised 3D brought to human size."""
    if seq.scale == "metric" and seq.positions.shape[-1] == 3:
        return seq.positions
    spec, positions = skeleton_spec(seq.topology), torch.from_numpy(np.array(seq.positions))
    if positions.shape[-1] == 2:
        return lift_2d(positions, spec).numpy()
    return (positions * metric_scale(positions, spec)).numpy()


def random_crop(frames: int, share: float, rng: np.random.Generator) -> slice:
    """A random stretch that leaves out at most `share` of the frames, at least one frame long."""
    length = max(1, round(frames * (1 - share * rng.random())))
    start = int(rng.integers(0, frames - length + 1))
    return slice(start, start + length)


def camera_for(positions: torch.Tensor, spec: SkeletonSpec, cfg: RendererConfig, yaw: float) -> Camera:
    """The camera that the configuration asks for, with a pose for each of its views; yaw in radians."""
    return clip_camera(positions, spec, cfg, yaw)


def clip_input(
    seq: Motion,
    cfg: RendererConfig,
    frame_rng: np.random.Generator | None,
    augment: AugmentConfig | None,
    frame_indices: NDArray[np.int64] | None = None,
) -> ClipInput:
    """One clip, ready to draw.

    Args:
        seq: the clip.
        cfg: number of frames, velocity stride, camera.
        frame_rng: draws frames and augmentation (training); None takes the middle frame of each segment.
        augment: random changes; needs `frame_rng`.
        frame_indices: (M,) frames of the clip to draw; None: `cfg.moments` of them are selected.

    Returns:
        positions and velocity (M, P, J, 3), metres and metres over the stride, with M = cfg.moments: F where there
        is one view.

    Raises:
        ValueError: augmentation without a generator.
    """
    spec, positions = skeleton_spec(seq.topology), metric_positions(seq)
    yaw, noise, stretch = 0.0, 0.0, slice(0, len(positions))
    if augment is not None:
        if frame_rng is None:
            raise ValueError("clip_input: augmentation needs a generator")
        # Always the same draws in the same order: switching one change off leaves the others as they were.
        yaw = np.deg2rad(augment.yaw_deg) * frame_rng.uniform(-1, 1)
        positions = positions * np.float32(1 + augment.scale * frame_rng.uniform(-1, 1))
        stretch, noise = random_crop(len(positions), augment.crop, frame_rng), augment.noise_m
    velocities = velocity(positions, seq.fps, cfg.velocity_stride_s, seq.timestamps)[stretch]
    positions = positions[stretch]
    camera = camera_for(torch.from_numpy(np.ascontiguousarray(positions)), spec, cfg, float(yaw))
    if frame_indices is None:
        frame_indices = select_frames(len(positions), cfg.moments, frame_rng)
    positions, velocities = positions[frame_indices], velocities[frame_indices]
    if noise and frame_rng is not None:
        offsets = frame_rng.standard_normal(positions.shape, dtype=np.float32) * np.float32(noise)
        offsets[..., seq.positions.shape[-1] :] = 0  # a lifted clip stays a plane
        positions = positions + offsets
    return ClipInput(spec, torch.from_numpy(positions), torch.from_numpy(velocities), camera)


def on_device(clip: ClipInput, device: torch.device) -> ClipInput:
    """The clip with its tensors on `device`; the renderer draws where the positions are."""
    return dataclasses.replace(clip, positions=clip.positions.to(device), velocity=clip.velocity.to(device))


def render(clips: Motion | Sequence[Motion], renderer: SceneRenderer) -> torch.Tensor:
    """Frames of clips as the model sees them, on the renderer's device; gradients reach the renderer's weights.

    Args:
        clips: one clip, or B of them, of any topologies.
        renderer: DrAction or a fixed one; its configuration says how many frames are drawn, how large, and by which
            camera.

    Returns:
        (F, 3, H, W) float32 in [0, 1] with a black background; (B, F, 3, H, W) for several clips.

    Raises:
        ValueError: no clip, or one that does not fit the renderer's weights.
    """
    if not isinstance(clips, Sequence):
        return render([clips], renderer)[0]
    device = renderer.get_buffer("unit").device
    return renderer([on_device(clip_input(clip, renderer.cfg, None, None), device) for clip in clips])
