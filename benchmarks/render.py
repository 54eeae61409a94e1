"""The rasterisers against a Python loop over Gaussians, against the floor, and how their time grows.

    python benchmarks/render.py --out benchmarks/results/render.md

One clip: 12 frames, 448 x 448, 265 Gaussians of 20 mm at 2.5 m. Every case runs in a process of its own. Other work may
share the machine, so a frame of the loop and a whole clip by each fast core take turns, and a ratio is the median of
the twelve pairs (12 x the frame / the clip), its least value beside it: in CPU time on one thread, in wall-clock time
on two. Memory is what a step adds to the process at its peak.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
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
from render_scene import LEAVES, Scene, additional_mib, clocked, measure, scene  # noqa: E402

from models.draction.rasterize.projection import Raster, project  # noqa: E402
from models.draction.rasterize.tiles import TILE, bin_gaussians  # noqa: E402

FAST = ("tiled, C++", "tiled, PyTorch")
STATED = {"forward": 3.6, "backward": 1.0, "gib": 4.7}  # the authors' renderer, one frame, on such a machine
STATED_STEP = 12 * (STATED["forward"] + STATED["backward"])
FLOOR_EXPONENTIALS = 2_400_000
STANDARD: dict[str, int] = {"size": 448, "frames": 12, "persons": 1, "clips": 1, "samples": 10}
GROWTH = {
    "size": (112, 224, 336, 448, 896),
    "frames": (6, 12, 24, 48),
    "samples": (4, 10, 24, 48),
    "persons": (1, 2, 3, 6),
    "clips": (1, 2, 4, 8),
}


def pairs_case(threads: int, folder: str) -> dict[str, Any]:
    """The loop over one clip, frame by frame, and after each of its frames the whole clip by each fast core.

    Returns:
        "step" and "forward": method -> twelve times. Images and gradients of the steps go into `folder`.
    """
    torch.set_num_threads(threads)
    whole = scene()
    frames, results = [whole.frame(i) for i in range(12)], []
    for method in FAST:
        save(Path(folder) / f"{method}.safetensors", *whole.step(method))
    frames[0].step("loop")

    def timed(part: str) -> dict[str, list[dict[str, float]]]:
        taken: dict[str, list[dict[str, float]]] = {method: [] for method in ("loop", *FAST)}
        for one in frames:
            if part == "step":
                taken["loop"].append(clocked(lambda one=one: results.append(one.step("loop"))))
            else:
                taken["loop"].append(clocked(lambda one=one: one.draw("loop")))
            for method in FAST:
                fast = whole.step if part == "step" else whole.draw
                taken[method].append(clocked(lambda m=method, fast=fast: fast(m)))
        return taken

    result: dict[str, Any] = {"step": timed("step")}
    with torch.no_grad():
        result["forward"] = timed("forward")
    result["graph"] = clocked(lambda: frames[0].draw("loop"))
    images, gradients = zip(*results, strict=True)
    by_leaf = list(zip(*gradients, strict=True))
    pose = [torch.stack(x).sum(0) for x in by_leaf[4:6]]
    joined = [*(torch.cat(x) for x in by_leaf[:4]), *pose, *(torch.cat(x) for x in by_leaf[6:])]
    save(Path(folder) / "loop.safetensors", torch.cat(images), joined)
    return result


def memory_case(method: str, threads: int) -> float:
    """MiB that one step adds: the loop over one frame, a fast core over the whole clip."""
    torch.set_num_threads(threads)
    whole = scene()
    drawn = whole.frame(0) if method == "loop" else whole
    return additional_mib(lambda: drawn.step(method))


def fast_case(method: str, sizes: dict[str, int]) -> dict[str, Any]:
    """CPU seconds of a fast core's step over whole clips, on one thread."""
    torch.set_num_threads(1)
    chosen = STANDARD | sizes
    whole = scene(chosen["size"], chosen["frames"], chosen["persons"], chosen["clips"], chosen["samples"])
    return {"step": measure(lambda: whole.step(method), 9)["cpu"], "pairs": pairs_of(whole)}


def save(path: Path, image: torch.Tensor, gradients: Any) -> None:
    """Image and gradients, for `parity`."""
    named = {"image": image} | dict(zip(LEAVES, gradients, strict=True))
    save_file({name: tensor.contiguous() for name, tensor in named.items()}, path)


def pairs_of(whole: Scene) -> int:
    """Pairs of pixel and Gaussian in the tiles that a scene touches."""
    place, radius, opacity, _, _, _, focal, cx, cy = (x.detach() for x in whole.leaves)
    raster = Raster(focal, cx, cy, whole.size, whole.size, 0.0)
    splats = project(place, radius, whole.image, raster)
    return len(bin_gaussians(splats, place[:, 2], opacity, whole.image, raster).gaussian) * TILE * TILE


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


def ratios(threads: int, clock: str) -> tuple[list[str], dict[str, float]]:
    """The table of one number of threads, and the C++ core's seconds."""
    with tempfile.TemporaryDirectory() as folder:
        times = run("pairs", threads=threads, folder=folder)
        loop = Path(folder) / "loop.safetensors"
        notes = [f"* Parity of {m} with the loop: {parity(loop, Path(folder) / f'{m}.safetensors')}." for m in FAST]
    memory = {method: run("memory", method=method, threads=threads) for method in ("loop", *FAST)}
    taken = {
        part: {method: [t[clock] for t in of] for method, of in times[part].items()} for part in ("step", "forward")
    }
    graph = times["graph"][clock]
    lines = [
        f"### {threads} thread{'s' * (threads > 1)}, {'CPU' if clock == 'cpu' else 'wall-clock'} time", "",
        f"The loop on one frame: {graph:.2f} s forward with a graph + "
        f"{statistics.median(taken['step']['loop']) - graph:.2f} s backward, {memory['loop'] / 1024:.1f} GiB at its "
        f"peak (the authors' renderer, as stated: {STATED['forward']} + {STATED['backward']} s, {STATED['gib']} GB).",
        "",
        "| method, one clip | forward s | forward + backward s | additional MiB | forward, times faster (least) | "
        "step, times faster (least) | step against the stated 55 s | loop's one-frame memory over its own |",
        "|---|---|---|---|---|---|---|---|",
        f"| loop, frame by frame | {sum(taken['forward']['loop']):.2f} | {sum(taken['step']['loop']):.2f} | "
        f"{memory['loop']:.0f} for one frame | 1 | 1 | {STATED_STEP / sum(taken['step']['loop']):.1f} | 1 |",
    ]  # fmt: skip
    figures: dict[str, float] = {}
    for method in FAST:
        own = {part: statistics.median(of[method]) for part, of in taken.items()}
        faster = {
            part: [12 * slow / fast for slow, fast in zip(of["loop"], of[method], strict=True)]
            for part, of in taken.items()
        }
        if method == FAST[0]:
            figures = own | {f"{part} faster": statistics.median(values) for part, values in faster.items()}
            figures["memory"] = memory["loop"] / memory[method]
        cells = [f"{statistics.median(faster[part]):.0f} ({min(faster[part]):.0f})" for part in ("forward", "step")]
        lines.append(
            f"| {method} | {own['forward']:.4f} | {own['step']:.4f} | {memory[method]:.0f} | {' | '.join(cells)} | "
            f"{STATED_STEP / own['step']:.0f} | {memory['loop'] / memory[method]:.0f} |"
        )
    return [*lines, "", *notes, ""], figures


def growth() -> list[str]:
    """How forward + backward grows in each direction from the standard clip."""
    lines = [
        "## How the time of a step grows", "",
        "Forward + backward, CPU milliseconds, one thread; everything else as in the standard clip. With six persons "
        "the camera stands further back, so that each takes fewer pixels. From 24 frames or 2 clips on an image is "
        "larger than 32 MiB, which glibc maps afresh for every call: the page faults are over 40 % of the time. "
        "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=2000000000:glibc.malloc.trim_threshold=4000000000 saves them.", "",
        "| what | value | Gaussians an image | pairs, M | C++ ms | PyTorch ms |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for what, values in GROWTH.items():
        for value in values:
            sizes = STANDARD | {what: value}
            took = [run("fast", method=m, sizes={what: value}) for m in FAST]
            each = sizes["persons"] * (25 + 24 * sizes["samples"])
            cells = " | ".join(f"{1e3 * x['step']:.1f}" for x in took)
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
    (single, figures), (double, both) = ratios(1, "cpu"), ratios(2, "wall")
    lines += [
        "| C++ core, median of twelve pairs | asked | goal | one thread | two threads |", "|---|---|---|---|---|",
        *(
            f"| {text} | {asked} | {goal} | {figures[name]:.0f} | {both[name]:.0f} |"
            for text, name, asked, goal in (
                ("forward, times faster than the loop", "forward faster", 200, ""),
                ("forward + backward, times faster", "step faster", 300, "1,000"),
                ("loop's one-frame memory over the whole clip's", "memory", 20, ""),
            )
        ), "", *single, *double,
    ]  # fmt: skip
    floor, pairs = run("floor"), pairs_of(scene())
    step, drawn = figures["step"], figures["forward"]
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


def run(case: str, **arguments: Any) -> Any:
    """A case in a process of its own."""
    command = [sys.executable, __file__, "--case", json.dumps({"case": case} | arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one_case(case: str, **arguments: Any) -> Any:
    """What `run` asked for."""
    return {"floor": floor_case, "pairs": pairs_case, "memory": memory_case, "fast": fast_case}[case](**arguments)


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
