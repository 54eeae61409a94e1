"""What the rendering benchmarks draw and how they measure: bodies as flat lists of Gaussians, CPU time, memory."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from baselines.per_gaussian import rasterize_per_gaussian
from torch import Tensor

from models.config import RendererConfig
from models.draction.camera import fit_camera
from models.draction.rasterize.projection import Raster
from models.draction.rasterize.reference import rasterize
from models.draction.rasterize.tiled import rasterize_tiled
from models.draction.template import SkeletonSpec, template_of
from skeleton_io.record.topologies import NTU25

RADIUS_M = 0.020
"""Of every Gaussian, as in the authors' checkpoints."""
LEAVES = ("positions", "radii", "opacities", "colours", "rotation", "translation", "focal", "cx", "cy")

METHODS: dict[str, Callable[..., Tensor]] = {
    "loop": rasterize_per_gaussian,
    "reference": rasterize,
    "tiled, PyTorch": lambda *args: rasterize_tiled(*args, core="torch"),
    "tiled, C++": lambda *args: rasterize_tiled(*args, core="native"),
    "tiled, Triton": lambda *args: rasterize_tiled(*args, core="triton"),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """G Gaussians in I images, and the weighting of the pixels that is differentiated.

    Attributes:
        leaves: what gradients are taken for, in the order of LEAVES.
        image: (G,) which image each is in.
        size: side of an image, pixels.
        weights: (I, 3, size, size).
    """

    leaves: list[Tensor]
    image: Tensor
    size: int
    weights: Tensor

    def draw(self, method: str) -> Tensor:
        """(I, 3, size, size)."""
        place, radius, opacity, colour, rotation, shift, focal, cx, cy = self.leaves
        raster = Raster(focal, cx, cy, self.size, self.size, 0.0)
        return METHODS[method](place @ rotation.T + shift, radius, opacity, colour, self.image, raster)

    def step(self, method: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Forward and backward: the image and the gradients of the leaves."""
        image = self.draw(method)
        return image.detach(), torch.autograd.grad(image, self.leaves, self.weights)

    def frame(self, i: int) -> Scene:
        """One image alone; its leaves are views, detached."""
        rows = (self.image == i).nonzero().squeeze(1)
        by_row = [x.detach()[rows] for x in self.leaves[:4]]
        leaves = [
            *by_row,
            *(x.detach().clone() for x in self.leaves[4:6]),
            *(x.detach()[i : i + 1] for x in self.leaves[6:]),
        ]
        wanted = self.leaves[0].requires_grad
        index = torch.zeros_like(rows)
        return Scene([x.requires_grad_(wanted) for x in leaves], index, self.size, self.weights[i : i + 1])

    def to(self, device: str) -> Scene:
        """The same on a device."""
        leaves = [x.detach().to(device).requires_grad_(x.requires_grad) for x in self.leaves]
        return Scene(leaves, self.image.to(device), self.size, self.weights.to(device))


def ntu_spec() -> SkeletonSpec:
    """Kinect v2: 25 joints."""
    side, limb, order = zip(*NTU25.meanings, strict=True)
    return SkeletonSpec(NTU25.name, NTU25.joints, NTU25.bones, side, limb, order)


def waving_body(frames: int, seed: int) -> np.ndarray:
    """(T, 1, 25, 3): a body of human proportions whose arms and legs swing."""
    rng = np.random.default_rng(seed)
    height = {"torso": 1.2, "head": 1.65, "arm": 1.2, "hand": 0.85, "leg": 0.5, "foot": 0.05, "other": 1.0}
    side = {"left": -0.25, "right": 0.25, "centre": 0.0}
    pose = np.array(
        [(side[m.side], height[m.limb] - 0.4 * m.order * (m.limb in ("arm", "leg")), 0) for m in NTU25.meanings]
    )
    pose[[0, 1, 2, 20], 1] = 1.0, 1.25, 1.5, 1.4
    time_s = np.linspace(0, 2 * np.pi, frames)[:, None, None]
    swing = rng.normal(0, 0.12, (25, 3)) * np.sin(time_s + rng.uniform(0, 3, (25, 1)))
    return (pose + swing + [0, 0, 3])[:, None].astype(np.float32)


def scene(
    size: int = 448, frames: int = 12, persons: int = 1, clips: int = 1, samples: int = 10, backward: bool = True
) -> Scene:
    """Clips of persons side by side, framed by the `fit` camera: 25 + 24 * samples Gaussians for each person."""
    cfg = RendererConfig(frames=frames, image_size=size, samples_per_bone=samples)
    spec = ntu_spec()
    template = template_of(spec, samples, torch.device("cpu"))
    blend = template.blend
    places, intrinsics = [], []
    for clip in range(clips):
        bodies = [waving_body(frames, 10 * clip + p) + np.array([0.7 * p, 0, 0], np.float32) for p in range(persons)]
        world = torch.from_numpy(np.concatenate(bodies, axis=1))
        camera = fit_camera(world, spec, cfg)
        places.append(blend @ (template.ordered(world) @ camera.rotation.T + camera.translation))
        intrinsics += [[camera.focal_px, camera.cx, camera.cy]] * frames
    place = torch.stack(places)  # (B, F, P, N, 3)
    images, each = clips * frames, persons * len(blend)
    rng = torch.Generator().manual_seed(0)
    opacity = (0.3 + 0.65 * torch.rand(each, generator=rng)).repeat(images)
    colour = torch.rand(each, 3, generator=rng).repeat(images, 1)
    radius = torch.full((images * each,), RADIUS_M)
    camera = [torch.eye(3), torch.zeros(3), *torch.tensor(intrinsics).T.contiguous()]
    leaves = [x.clone().requires_grad_(backward) for x in (place.reshape(-1, 3), radius, opacity, colour, *camera)]
    weights = torch.randn(images, 3, size, size, generator=rng)
    return Scene(leaves, torch.arange(images).repeat_interleave(each), size, weights)


def measure(action: Callable[[], object], runs: int) -> dict[str, float]:
    """Median CPU and wall-clock seconds of `runs` after one warm-up."""
    action()
    taken = [clocked(action) for _ in range(runs)]
    return {clock: statistics.median(t[clock] for t in taken) for clock in ("cpu", "wall")}


def clocked(action: Callable[[], object]) -> dict[str, float]:
    """CPU and wall-clock seconds of one run."""
    started = time.process_time(), time.perf_counter()
    action()
    return {"cpu": time.process_time() - started[0], "wall": time.perf_counter() - started[1]}


def additional_mib(action: Callable[[], object]) -> float:
    """MiB of memory that one run adds at its peak to what the process holds before; Linux with glibc."""
    action()  # whatever is loaded or built once
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free is not held
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at what is held now
    held = _status_mib("VmRSS")
    action()
    return _status_mib("VmHWM") - held


def _status_mib(field: str) -> float:
    """A size from /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))
