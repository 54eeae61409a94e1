"""The rasterisers against a Python loop over Gaussians, against the floor, and how their time grows.

    python benchmarks/render.py --out benchmarks/results/render.md

One clip: 12 frames, 448 x 448, 265 Gaussians of 20 mm at 2.5 m. Every case runs in a process of its own, so that peak
memory is its own. Ratios are of CPU time on one thread, since other work may share the machine; wall-clock times on
two threads stand beside them. The fast cores' figures are medians of nine runs, the loop's are one clip's after a
warm-up.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import render_cuda  # noqa: E402
import render_mllm  # noqa: E402
from render_scene import LEAVES, measure, scene  # noqa: E402

from models.draction.projection import Raster, project  # noqa: E402
from models.draction.tiles import TILE, Tiles, bin_gaussians  # noqa: E402

FAST = ("tiled, C++", "tiled, PyTorch")
STATED = {"forward": 3.6, "backward": 1.0, "gib": 4.7}  # the authors' renderer, one frame, on such a machine
FLOOR_EXPONENTIALS = 2_400_000
STANDARD: dict[str, int] = {"size": 448, "frames": 12, "persons": 1, "clips": 1, "samples": 10}
GROWTH = {
    "size": (112, 224, 336, 448, 896),
    "frames": (6, 12, 24, 48),
    "samples": (4, 10, 24, 48),
    "persons": (1, 2, 3, 6),
    "clips": (1, 2, 4, 8),
}


def loop_case(threads: int, keep: Path) -> dict[str, Any]:
    """The loop over one clip, frame by frame: times and memory of one frame and of all; its result into `keep`."""
    torch.set_num_threads(threads)
    whole = scene()
    first = whole.frame(0)
    result: dict[str, Any] = {"frame": measure(lambda: first.step("loop"), 1)}
    result["frame forward"] = measure(lambda: first.draw("loop"), 1)
    frames, images, gradients = [whole.frame(i) for i in range(12)], [], []

    def clip() -> None:
        for one in frames:
            image, found = one.step("loop")
            images.append(image)
            gradients.append(found)

    def forward() -> None:
        with torch.no_grad():
            for one in frames:
                one.draw("loop")

    result["step"], result["forward"] = _once(clip), _once(forward)
    by_leaf = list(zip(*gradients, strict=True))
    pose = [torch.stack(x).sum(0) for x in by_leaf[4:6]]
    joined = [*(torch.cat(x) for x in by_leaf[:4]), *pose, *(torch.cat(x) for x in by_leaf[6:])]
    save(keep, torch.cat(images), joined)
    return result


def _once(action: Any) -> dict[str, float]:
    """Times of a single run, for what was warmed up already."""
    import time

    started = time.process_time(), time.perf_counter()
    action()
    return {"cpu": time.process_time() - started[0], "wall": time.perf_counter() - started[1]}


def fast_case(method: str, threads: int, keep: Path | None, **sizes: int) -> dict[str, Any]:
    """A fast core over whole clips: forward, step, memory; the standard clip's result into `keep`."""
    torch.set_num_threads(threads)
    whole = scene(**(STANDARD | sizes))
    result: dict[str, Any] = {"step": measure(lambda: whole.step(method), 9)}
    with torch.no_grad():
        result["forward"] = measure(lambda: whole.draw(method), 9)
    result["pairs"] = len(lists_of(whole).gaussian) * TILE * TILE
    if keep is not None:
        image, found = whole.step(method)
        save(keep, image, found)
    return result


def save(path: Path, image: torch.Tensor, gradients: Any) -> None:
    """Image and gradients, for `parity`."""
    named = {"image": image} | dict(zip(LEAVES, gradients, strict=True))
    save_file({name: tensor.contiguous() for name, tensor in named.items()}, path)


def lists_of(whole: Any) -> Tiles:
    """The tiles' lists of a scene."""
    place, radius, opacity, _, _, _, *intrinsics = (x.detach() for x in whole.leaves)
    raster = Raster(*intrinsics, whole.size, whole.size, 0.0)
    return bin_gaussians(project(place, radius, whole.image, raster), place[:, 2], opacity, whole.image, raster)


def floor_case() -> dict[str, float]:
    """CPU seconds of 2.4 M exponentials in one fused pass, on one thread: exp and exp2."""
    torch.set_num_threads(1)
    x, out = -8 * torch.rand(FLOOR_EXPONENTIALS), torch.empty(FLOOR_EXPONENTIALS)
    exp, exp2 = measure(lambda: torch.exp(x, out=out), 21), measure(lambda: torch.exp2(x, out=out), 21)
    return {"exp": exp["cpu"], "exp2": exp2["cpu"]}


def parity(loop: Path, fast: Path) -> str:
    """Differences of image and gradients, in words."""
    expected, found = load_file(loop), load_file(fast)
    difference = (expected["image"] - found["image"]).abs()
    pairs = [(found[name], expected[name]) for name in LEAVES]
    errors = {n: float((a - b).norm() / b.norm()) for n, (a, b) in zip(LEAVES[:4], pairs, strict=False)}
    camera = [torch.cat([x.flatten() for x in side]) for side in zip(*pairs[4:], strict=True)]
    errors["camera"] = float((camera[0] - camera[1]).norm() / camera[1].norm())
    parts = ", ".join(f"{name} {100 * error:.3f} %" for name, error in errors.items())
    return (
        f"image: max {255 * float(difference.max()):.3f} / 255, mean {float(difference.mean()):.1e}; gradients: {parts}"
    )


def ratios(folder: Path, threads: int, clock: str) -> tuple[list[str], dict[str, Any]]:
    """The table of one number of threads, and the C++ core's figures."""
    kept = folder / f"loop{threads}.safetensors"
    loop = run("loop", threads=threads, keep=str(kept))
    one, forward = loop["frame"], loop["frame forward"]
    lines = [
        f"### {threads} thread{'s' * (threads > 1)}, {'CPU' if clock == 'cpu' else 'wall-clock'} time", "",
        f"The loop on one frame: {forward[clock]:.2f} s forward with a graph + "
        f"{one[clock] - forward[clock]:.2f} s backward, {one['mib'] / 1024:.1f} GiB at its peak (the authors' "
        "renderer, as stated: "
        f"{STATED['forward']} + {STATED['backward']} s, {STATED['gib']} GB).", "",
        "| method, one clip | forward s | forward + backward s | peak MiB | forward, times faster | step, times faster "
        "| step against the stated 55 s | loop's one-frame memory over its own |", "|---|---|---|---|---|---|---|---|",
        f"| loop, frame by frame | {loop['forward'][clock]:.2f} | {loop['step'][clock]:.2f} | {one['mib']:.0f} | 1 | 1 "
        f"| {55.2 / loop['step'][clock]:.1f} | 1 |",
    ]  # fmt: skip
    notes: list[str] = []
    figures: dict[str, Any] = {}
    for method in FAST:
        fast = run("fast", method=method, threads=threads, keep=str(folder / "fast.safetensors"))
        figures.setdefault(method, fast)
        step, drawn = fast["step"], fast["forward"]
        lines.append(
            f"| {method} | {drawn[clock]:.4f} | {step[clock]:.4f} | {step['mib']:.0f} | "
            f"{loop['forward'][clock] / drawn[clock]:.0f} | {loop['step'][clock] / step[clock]:.0f} | "
            f"{55.2 / step[clock]:.0f} | {one['mib'] / step['mib']:.0f} |"
        )
        notes.append(f"* Parity of {method} with the loop: {parity(kept, folder / 'fast.safetensors')}.")
    return [*lines, "", *notes, ""], figures


def growth() -> list[str]:
    """How forward + backward grows in each direction from the standard clip."""
    lines = [
        "## How the time of a step grows", "",
        "Forward + backward, CPU milliseconds, one thread; everything else as in the standard clip.", "",
        "| what | value | Gaussians an image | pairs, M | C++ ms | PyTorch ms |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for what, values in GROWTH.items():
        for value in values:
            sizes = STANDARD | {what: value}
            took = [run("fast", method=m, threads=1, keep=None, **{what: value}) for m in FAST]
            each = sizes["persons"] * (25 + 24 * sizes["samples"])
            cells = " | ".join(f"{1e3 * x['step']['cpu']:.1f}" for x in took)
            lines.append(f"| {what} | {value} | {each} | {took[0]['pairs'] / 1e6:.2f} | {cells} |")
    return [*lines, ""]


def report() -> str:
    """Run everything and write the page."""
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    lines = [
        "# Rendering", "",
        f"`python benchmarks/render.py`, {datetime.date.today()}, revision {revision.strip()}: CPU, 2 cores, "
        f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, float32. Other work shared the "
        "machine. One clip of 12 frames, 448 x 448, one person of 25 joints, 265 Gaussians of 20 mm at 2.5 m "
        "(3.1 px), no blur.", "",
        "## Against the published loop", "",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        single, figures = ratios(Path(folder), 1, "cpu")
        lines += [*single, *ratios(Path(folder), 2, "wall")[0]]
    fast, floor = figures[FAST[0]], run("floor")
    step, drawn, pairs = fast["step"]["cpu"], fast["forward"]["cpu"], fast["pairs"]
    lines += [
        "## Distance to the floor", "",
        f"2.4 M exponentials in one pass of PyTorch, one thread: {1e3 * floor['exp']:.2f} ms (exp), "
        f"{1e3 * floor['exp2']:.2f} ms (exp2, which the tiled rasteriser uses). The clip has {pairs / 1e6:.1f} M pairs "
        "of pixel and Gaussian in touched tiles and takes two exponentials for each in either pass. Forward is "
        f"{drawn / floor['exp']:.0f} times and forward + backward "
        f"{step / floor['exp']:.0f} times the floor by exp.", "",
    ]  # fmt: skip
    lines += [*growth(), *render_mllm.report(pairs, step), *render_cuda.report()]
    return "\n".join(lines).rstrip() + "\n"


def run(case: str, **arguments: Any) -> dict[str, Any]:
    """A case in a process of its own."""
    command = [sys.executable, __file__, "--case", json.dumps({"case": case} | arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one_case(case: str, threads: int = 1, keep: str | None = None, method: str = "", **sizes: int) -> dict[str, Any]:
    """What `run` asked for."""
    if case == "floor":
        return floor_case()
    if case == "loop":
        assert keep is not None
        return loop_case(threads, Path(keep))
    return fast_case(method, threads, Path(keep) if keep else None, **sizes)


def main() -> None:
    """Parse the command line; `--case` is how the script calls itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(one_case(**json.loads(arguments.case))))
        return
    torch.set_num_threads(1)
    text = report()
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
