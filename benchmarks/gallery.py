"""The pictures of docs/gallery.md, from motions that the project makes itself.

    python benchmarks/gallery.py --weights runs/demo/train/4-refine/export --out docs/images

One performance of one action is written as NTU, BVH and COCO-17 files, which the readers read back, and put on the
joints of MSR-20, SBU-15 and HumanML3D-22. Measures nothing and reads no recordings.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from models.config import RendererKind  # noqa: E402
from models.draction.registry import make_renderer  # noqa: E402
from pipelines.data.clip_files import read_clips  # noqa: E402
from pipelines.inference import render  # noqa: E402
from pipelines.inference.render import load_renderer  # noqa: E402
from skeleton_io.demo.body import INDEX, Array, Body, Motion  # noqa: E402
from skeleton_io.demo.formats import Sensor, bvh_text, coco_text, ntu_text  # noqa: E402
from skeleton_io.demo.motion import ACTIONS, Style, perform  # noqa: E402
from skeleton_io.exporters.humanml3d import JOINTS as HUMANML3D  # noqa: E402
from skeleton_io.record.sequence import SkeletonSequence, Source  # noqa: E402
from skeleton_io.record.topologies import MSR20, SBU15  # noqa: E402
from skeleton_io.record.topology import Topology  # noqa: E402

FPS, IMAGE_SIZE, FOCAL_PX = 30.0, (1280, 720), 900.0
SENSOR = Sensor(yaw=0.0, distance=3.2, height=1.0)
FRAMES, SIDE, LABEL = 6, 160, 118
_SMPL = ((0, 1), (0, 2), (0, 3), (1, 4), (2, 5), (3, 6), (4, 7), (5, 8), (6, 9), (7, 10), (8, 11), (9, 12), (9, 13))
_SMPL += ((9, 14), (12, 15), (13, 16), (14, 17), (16, 18), (17, 19), (18, 20), (19, 21))
HUMANML22 = Topology(name="humanml3d22", joints=HUMANML3D, bones=_SMPL)


def motions(action: str) -> tuple[Motion, ...]:
    """One performance; two persons where the action needs two."""
    made = next(a for a in ACTIONS if a.label == action)
    bodies = tuple(Body(height=h, arm=1.0, leg=1.0, shoulders=1.0) for h in ((1.78, 1.66) if made.duo else (1.75,)))
    return perform(made, bodies, Style(repeats=1), np.random.default_rng(5), FPS).motions


def on_joints(motion: Motion, topology: Topology) -> SkeletonSequence:
    """The motion on another format's joints. SMPL's middle spine joints lie between those of the body made here."""
    places = SENSOR.view(motion)

    def joint(name: str) -> Array:
        if name == "spine2":
            return (places[:, INDEX["spine"]] + places[:, INDEX["chest"]]) / 2
        return places[:, INDEX["chest" if name == "spine3" else name]]

    positions = np.stack([joint(name) for name in topology.joints], 1)[:, None].astype(np.float32)
    source = Source(uri="made", sha256="0" * 64, reader="made", reader_version=1)
    return SkeletonSequence(
        id="made", dataset=topology.name, topology=topology, positions=positions, fps=FPS, source=source
    )


def native(folder: Path, action: str, formats: Sequence[str]) -> list[SkeletonSequence]:
    """The action as files of these formats, read back."""
    made, rng = motions(action), np.random.default_rng(0)
    views = [SENSOR.view(motion) for motion in made]
    texts = {
        "ntu": (".skeleton", lambda: ntu_text(views, frozenset(), rng)),
        "bvh": (".bvh", lambda: bvh_text(made[0], FPS)),
        "coco17": (".json", lambda: coco_text(views, IMAGE_SIZE, FOCAL_PX, 0.0, FPS, rng)),
    }
    clips = []
    for name in formats:
        ending, text = texts[name]
        path = folder / f"{name}_{action.replace(' ', '_')}{ending}"
        path.write_text(text())
        clips += read_clips(str(path), name, [])
    return clips


def drawn(clip: SkeletonSequence, weights: str, untrained: RendererKind | None = None) -> NDArray[np.uint8]:
    """(F, SIDE, SIDE, 3); an untrained or fixed renderer takes camera and radii of the trained one."""
    options = render.RenderOptions(weights=weights, frames=FRAMES, image_size=SIDE)
    renderer = load_renderer(options)
    if untrained:
        torch.manual_seed(0)
        renderer = make_renderer(dataclasses.replace(renderer.cfg, kind=untrained)).eval()
    return render.draw(renderer, clip, options).frames


def sheet(path: Path, rows: Sequence[tuple[str, NDArray[np.uint8]]]) -> None:
    """Rows of frames with their names at the left."""
    page = Image.new("RGB", (LABEL + FRAMES * SIDE, len(rows) * SIDE), "black")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=14)
    for i, (name, frames) in enumerate(rows):
        pen.multiline_text((8, i * SIDE + SIDE // 2), name, fill="white", font=font, anchor="lm", spacing=5)
        for k, frame in enumerate(frames):
            page.paste(Image.fromarray(frame), (LABEL + k * SIDE, i * SIDE))
    for i in range(1, len(rows)):
        pen.line((0, i * SIDE, page.width, i * SIDE), fill=(60, 60, 60))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, optimize=True)
    print(f"{path}: {page.width} x {page.height}, {path.stat().st_size // 1024} KiB")


def gallery(weights: str, out: Path, action: str, pair: str) -> None:
    """Writes the three sheets."""
    with tempfile.TemporaryDirectory() as folder:
        ntu, bvh, coco = native(Path(folder), action, ("ntu", "bvh", "coco17"))
        (two,) = native(Path(folder), pair, ("ntu",))
    (motion,) = motions(action)
    six = {
        f"NTU\n{len(ntu.topology.joints)} joints": ntu,
        f"BVH\n{len(bvh.topology.joints)} joints": bvh,
        "COCO-17\n2D": coco,
        "MSR-20\nnot trained on": on_joints(motion, MSR20),
        "SBU-15\nnot trained on": on_joints(motion, SBU15),
        "HumanML3D-22\nnot trained on": on_joints(motion, HUMANML22),
    }
    sheet(out / "gallery_formats.png", [(name, drawn(clip, weights)) for name, clip in six.items()])
    states: tuple[tuple[str, RendererKind | None], ...] = (("before", "draction"), ("after", None))
    sheet(
        out / "gallery_training.png",
        [
            (f"{clip}\n{state}", drawn(of, weights, kind))
            for clip, of in ((action, ntu), (pair, two))
            for state, kind in states
        ],
    )
    kinds: tuple[tuple[str, RendererKind], ...] = (
        ("stick figure", "stick"),
        ("joint heatmaps", "heatmap"),
        ("3D + velocity", "velocity"),
    )
    fixed = [(name, drawn(ntu, weights, kind)) for name, kind in kinds]
    sheet(out / "gallery_renderers.png", [("DrAction,\ntrained", drawn(ntu, weights)), *fixed])


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="export folder of a training stage")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--action", default="throw", help="of one person")
    parser.add_argument("--pair", default="push", help="action of two persons")
    arguments = parser.parse_args()
    gallery(arguments.weights, arguments.out, arguments.action, arguments.pair)


if __name__ == "__main__":
    main()
