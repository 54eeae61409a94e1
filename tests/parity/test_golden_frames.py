"""The authors' released weights, drawn by our renderer, against the frames that their renderer made."""

import numpy as np
import pytest
import torch

from models.config import RendererConfig
from models.draction.camera import identity_camera
from models.draction.frames import velocity
from models.draction.renderer import ClipInput
from models.draction.template import SkeletonSpec
from models.draction.weights import import_released

CLIPS = ("S001C001P001R001A023", "S001C001P002R001A058")
# (max, mean) absolute difference allowed, in units of 1/255. The golden frames are rounded to whole units.
LIMITS = {"reference": (1.0, 0.001), "tiled": (2.0, 0.05)}
# The exact rasteriser takes seconds a frame at this size: it draws the first, a middle and the last frame.
FRAMES = {"reference": [0, 5, 11], "tiled": list(range(12))}
SPEC = SkeletonSpec("released25", tuple(f"j{i}" for i in range(25)), (), ("centre",) * 25, ("other",) * 25, (0.0,) * 25)


def first_two_bodies(path):
    """(T, P, 25, 3) of the release's reading: the first two bodies of each frame, no tracking; NaN where none is."""
    lines = iter(path.read_text().split("\n"))
    frames = int(next(lines))
    positions = np.full((frames, 2, 25, 3), np.nan, np.float32)
    for t in range(frames):
        for body in range(int(next(lines))):
            next(lines)
            joints = [[float(x) for x in next(lines).split()[:3]] for _ in range(int(next(lines)))]
            if body < 2:
                positions[t, body] = joints
    seen = np.isfinite(positions).any((0, 2, 3))
    return positions[:, seen]


@pytest.fixture(scope="module", params=CLIPS)
def clip(request, shared_data):
    folder = shared_data / "golden" / "draction"
    return folder, np.load(folder / f"{request.param}.npz"), first_two_bodies(folder / f"{request.param}.skeleton")


def draw(folder, golden, positions, rasterizer):
    size = int(golden["image_size"])
    chosen = golden["frame_indices"][FRAMES[rasterizer]]
    cfg = RendererConfig(
        frames=len(chosen), image_size=size, fov_deg=float(golden["fov_degrees"]), rasterizer=rasterizer
    )
    renderer = import_released(folder / f"{golden['weights']}.safetensors", cfg)
    moved = velocity(positions, fps=30.0, stride_s=int(golden["velocity_stride"]) / 30)
    world = torch.from_numpy(positions)
    clip = ClipInput(SPEC, world[chosen], torch.from_numpy(moved)[chosen], identity_camera(renderer.cfg, world))
    with torch.no_grad():
        return renderer([clip])[0].permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("rasterizer", LIMITS)
def test_frames_match(clip, rasterizer):
    folder, golden, positions = clip
    frames = draw(folder, golden, positions, rasterizer)
    assert golden["frames"].max() > 50, "the golden frames must show something"
    # compared as the golden frames are stored: whole units
    difference = np.abs(np.round(frames * 255) - golden["frames"][FRAMES[rasterizer]])
    largest, mean = LIMITS[rasterizer]
    print(f"{rasterizer}: max {difference.max():.0f}/255, mean {difference.mean():.6f}/255")
    assert difference.max() <= largest
    assert difference.mean() < mean
