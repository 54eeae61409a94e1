"""Ratios of the tiled rasteriser to the exact one and to a Python loop over Gaussians; the cost of a training batch.

    python benchmarks/render.py --out benchmarks/results/render.md

Every case runs in a process of its own, so that peak memory is its own, on one thread; the figure is the least CPU time
of several runs after a warm-up, since other work may share the machine. Compare ratios, not milliseconds, between
machines.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from baselines.per_gaussian import rasterize_per_gaussian  # noqa: E402

from models.config import RendererConfig  # noqa: E402
from models.draction.camera import fit_camera  # noqa: E402
from models.draction.frames import velocity  # noqa: E402
from models.draction.projection import Raster  # noqa: E402
from models.draction.rasterize import rasterize  # noqa: E402
from models.draction.rasterize_tiled import rasterize_tiled  # noqa: E402
from models.draction.renderer import ClipInput, Renderer  # noqa: E402
from models.draction.template import SkeletonSpec  # noqa: E402
from skeleton_io.topologies import NTU25  # noqa: E402

METHODS = {"loop": rasterize_per_gaussian, "exact": rasterize, "tiled": rasterize_tiled}
# (name, method, pixels, frames, with backward, runs). The slow ones draw fewer frames; times are given per frame.
CASES = (
    ("448 px, 265 Gaussians", "loop", 448, 1, False, 2),
    ("448 px, 265 Gaussians", "exact", 448, 1, False, 2),
    ("448 px, 265 Gaussians", "tiled", 448, 12, False, 5),
    ("448 px, 265 Gaussians", "loop", 448, 1, True, 1),
    ("448 px, 265 Gaussians", "exact", 448, 1, True, 1),
    ("448 px, 265 Gaussians", "tiled", 448, 12, True, 5),
    ("96 px, 265 Gaussians", "loop", 96, 1, True, 2),
    ("96 px, 265 Gaussians", "exact", 96, 1, True, 2),
    ("96 px, 265 Gaussians", "tiled", 96, 64, True, 10),
)


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


def clips(count: int, cfg: RendererConfig) -> list[ClipInput]:
    """Clips of one person, ready to draw."""
    side, limb, order = zip(*NTU25.meanings, strict=True)
    spec = SkeletonSpec(NTU25.name, NTU25.joints, NTU25.bones, side, limb, order)
    result = []
    for seed in range(count):
        body = waving_body(cfg.frames, seed)
        moved = torch.from_numpy(velocity(body, 30.0, cfg.velocity_stride_s))
        world = torch.from_numpy(body)
        result.append(ClipInput(spec, world, moved, fit_camera(world, spec, cfg)))
    return result


def best(action: Callable[[], None], runs: int) -> float:
    """Least CPU time in seconds over `runs`, after one warm-up."""
    action()
    times = []
    for _ in range(runs):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def peak_mib() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rasterise_case(method: str, pixels: int, frames: int, backward: bool, runs: int) -> tuple[float, float]:
    """(milliseconds for each frame, MiB above what the process held before) of one rasteriser on flat Gaussians."""
    flat = _flat_scene(pixels, frames)
    before = peak_mib()

    def action() -> None:
        leaves = [x.requires_grad_(backward) for x in (y.detach() for y in flat[0])]
        image = METHODS[method](*leaves, *flat[1:])
        if backward:
            image.backward(torch.ones_like(image))

    return best(action, runs) * 1e3 / frames, peak_mib() - before


def _flat_scene(pixels: int, frames: int) -> tuple[list[Tensor], Tensor, Raster]:
    """What `Renderer` hands to its rasteriser for one clip."""
    cfg = RendererConfig(frames=frames, image_size=pixels, samples_per_bone=10)
    renderer = Renderer(cfg)
    clip = clips(1, cfg)[0]
    with torch.no_grad():
        body = renderer._body([0], [clip], clip.positions.device)
        rgb, opacity = renderer.paint(body)
    camera = clip.camera
    raster = Raster(
        *torch.tensor([[camera.focal_px, camera.cx, camera.cy]] * frames).unbind(1), pixels, pixels, cfg.blur_px
    )
    return [body.place, body.radius, opacity, rgb], body.image, raster


def training_case() -> tuple[float, float]:
    """(milliseconds for each clip, MiB), forward and backward of a whole Renderer: 8 clips x 8 frames at 96 px."""
    cfg = RendererConfig(frames=8, image_size=96, samples_per_bone=8)
    renderer, batch = Renderer(cfg), clips(8, cfg)
    before = peak_mib()

    def action() -> None:
        image = renderer(batch)
        image.backward(torch.ones_like(image))

    return best(action, 20) * 1e3 / 8, peak_mib() - before


def report() -> str:
    """Run every case in its own process and write the table."""
    lines = [
        "# Rendering", "",
        f"`python benchmarks/render.py`: {platform.machine()}, torch {torch.__version__}, one thread, "
        "one person of 25 joints (265 Gaussians), float32, least CPU time of several runs.", "",
        "| scene | pass | method | ms per frame | peak memory MiB (frames at once) | times faster than the loop |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    loop: dict[tuple[str, bool], float] = {}
    for i, (name, method, _, frames, backward, _) in enumerate(CASES):
        took, memory = _in_process(str(i))
        loop.setdefault((name, backward), took)
        passes = "forward + backward" if backward else "forward"
        ratio = loop[name, backward] / took
        lines.append(f"| {name} | {passes} | {method} | {took:.2f} | {memory:.0f} ({frames}) | {ratio:.1f} |")
    took, memory = _in_process("training")
    lines += [
        "",
        f"Training batch, the whole renderer, forward + backward to its weights: 8 clips x 8 frames, 96 px, "
        f"217 Gaussians: {took:.2f} ms per clip, {memory:.0f} MiB.",
    ]
    return "\n".join(lines) + "\n"


def _in_process(case: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "--case", case]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    took, memory = json.loads(done.stdout.splitlines()[-1])
    return took, memory


def main() -> None:
    """Parse the command line; `--case` is how the script calls itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.case:
        result = training_case() if arguments.case == "training" else rasterise_case(*CASES[int(arguments.case)][1:])
        print(json.dumps(result))
        return
    text = report()
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
