"""`skel render`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import get_args

from models.config import RendererKind
from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError

EXAMPLES = """examples:
  skel render clip.skeleton                                  an untrained renderer, clip.gif
  skel render walk.bvh --renderer stick --out walk           a stick figure, a folder of png files
  skel render runs/demo/shards --clip demo_ntu/S001C001P001R001A903 --weights runs/demo/train/4-refine/export
  skel render clip.skeleton --format ntu --weights released.safetensors --frame-indices 0,9,18 --image-size 448
    --camera identity --out clip.npz                         the authors' weights and camera

A .npz holds frames, uint8 (F, H, W, 3), with frame_indices, seconds, clip and provenance. docs/render.md has more."""


def register(add: Add) -> None:
    """Adds `render`."""
    text = "draw clips of any format as the model sees them: npz, gif or png; starts no Ray"
    parser = add("render", text, _render)
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="native file, folder of such files, or shard set")
    parser.add_argument("--format", default="", metavar="NAME", help="format of the files, or a definition.yaml; "
                        "default: found by itself")  # fmt: skip
    parser.add_argument("--clip", action="append", default=[], metavar="ID", help="only this clip; SET/ID in shards")
    parser.add_argument("--weights", default="", metavar="FILE", help="export folder, renderer.safetensors, or the "
                        "authors' released file; default: untrained")  # fmt: skip
    parser.add_argument("--renderer", default="draction", choices=get_args(RendererKind), help="the learned one, or a "
                        "fixed baseline: stick figure, joint heatmaps, depth and velocity colours")  # fmt: skip
    parser.add_argument("--frame-indices", type=_numbers(int), default=(), metavar="0,5,...", help="frames of the clip")
    parser.add_argument("--frames", type=int, metavar="F", help="else this many, evenly spaced; default: as trained, "
                        "or 12")  # fmt: skip
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="default: as trained, or 448")
    parser.add_argument("--camera", choices=("identity", "fit"), help="the authors' mirrored one, or one that frames "
                        "the clip; default: as trained")  # fmt: skip
    parser.add_argument("--views", type=_numbers(float), metavar="0,90,...", help="turns of the framing camera, "
                        "degrees; the views share the F images; default: as trained, or 0")  # fmt: skip
    parser.add_argument("--rasterizer", choices=("tiled", "reference"), help="fast, or exact over all pixels")
    parser.add_argument("--out", default="{clip}.gif", help="FILE.npz, FILE.gif or a folder of png files; {clip} is "
                        "replaced by the clip's id; default: {clip}.gif")  # fmt: skip


def _numbers(kind: type[int] | type[float]) -> Callable[[str], tuple[float, ...]]:
    """Reads numbers with commas between them."""

    def read(text: str) -> tuple[float, ...]:
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected numbers as in 0,5,10, found {text!r}") from None

    return read


def _render(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel render does not know {' '.join(rest)}; see skel render --help")
    from pipelines.inference import render

    options = render.RenderOptions(
        format=args.format,
        clips=tuple(args.clip),
        weights=args.weights,
        renderer=args.renderer,
        frame_indices=args.frame_indices,
        frames=args.frames,
        image_size=args.image_size,
        camera=args.camera,
        views=args.views,
        rasterizer=args.rasterizer,
        out=args.out,
    )
    render.run(args.inputs, options)
