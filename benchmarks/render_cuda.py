"""The CUDA part of the rendering benchmark: cores, the loop, gsplat where installed, and the bandwidth limit."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable

import torch
from render_scene import Scene, scene


def report() -> list[str]:
    """Lines for the results page; without a GPU they say so."""
    title = ["## On a GPU", ""]
    if not torch.cuda.is_available():
        return [*title, "No GPU on this machine: nothing in this section was measured.", ""]
    whole = scene().to("cuda")
    lines = [
        *title,
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}; medians of 20, milliseconds a clip.",
        "",
    ]
    lines += ["| method | forward | forward + backward |", "|---|---|---|"]
    for method in ("tiled, Triton", "tiled, PyTorch"):
        forward, step = timed(lambda m=method: drawn(whole, m)), timed(lambda m=method: whole.step(m))
        lines.append(f"| {method} | {forward:.2f} | {step:.2f} |")
    one = whole.frame(0)
    forward, step = 12 * timed(lambda: drawn(one, "loop"), 3), 12 * timed(lambda: one.step("loop"), 3)
    lines.append(f"| loop, 12 times one frame | {forward:.0f} | {step:.0f} |")
    lines.append(_gsplat(whole))
    # What must move at least: the image is written, then read with its gradient.
    moved = whole.weights.numel() * 4
    copied = torch.empty(1 << 28, device="cuda")
    rate = 2 * copied.numel() * 4 / (timed(lambda: copied.clone()) / 1e3)
    limit = [1e3 * n * moved / rate for n in (1, 3)]
    lines.append(f"| bandwidth limit ({rate / 1e12:.2f} TB/s in a copy) | {limit[0]:.3f} | {limit[1]:.3f} |")
    return [*lines, ""]


def drawn(whole: Scene, method: str) -> torch.Tensor:
    """Forward without a graph."""
    with torch.no_grad():
        return whole.draw(method)


def timed(action: Callable[[], object], runs: int = 20) -> float:
    """Median milliseconds of `runs` after three warm-ups."""
    for _ in range(3):
        action()
    times = []
    for _ in range(runs):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        action()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def _gsplat(whole: Scene) -> str:
    """gsplat draws alpha = o w, not 1 - exp(-o w), and stops early: another image of these Gaussians, for the time."""
    try:
        gsplat = importlib.import_module("gsplat")
    except ImportError:
        return "| gsplat | not installed | not installed |"
    frames = whole.weights.shape[0]
    place, radius, opacity, colour = whole.leaves[:4]
    means = place.view(frames, -1, 3)
    quaternions = torch.tensor([1.0, 0, 0, 0], device="cuda").expand(*means.shape[:2], 4)
    intrinsics = torch.zeros(frames, 1, 3, 3, device="cuda")
    intrinsics[:, 0, 0, 0] = intrinsics[:, 0, 1, 1] = whole.leaves[6].detach()
    intrinsics[:, 0, :2, 2] = torch.stack([x.detach() for x in whole.leaves[7:]], -1)
    intrinsics[:, 0, 2, 2] = 1
    views = torch.eye(4, device="cuda").expand(frames, 1, 4, 4)

    def draw() -> torch.Tensor:
        image, _, _ = gsplat.rasterization(
            means, quaternions, radius.view(frames, -1, 1).expand(-1, -1, 3), opacity.view(frames, -1),
            colour.view(frames, -1, 3), views, intrinsics, whole.size, whole.size,
        )  # fmt: skip
        return image[:, 0].permute(0, 3, 1, 2)

    def step() -> None:
        torch.autograd.grad(draw(), whole.leaves[:4], whole.weights)

    with torch.no_grad():
        forward = timed(draw)
    return f"| gsplat (another alpha) | {forward:.2f} | {timed(step):.2f} |"
