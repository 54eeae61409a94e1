"""`skel render`."""

from __future__ import annotations

import argparse

from pipelines.commands.base import Add
from pipelines.errors import UserError

RENDERERS = ("draction", "stick")


def register(add: Add) -> None:
    """Adds `render`."""
    text = "draw clips of any format as the model sees them: npz, gif or png; starts no Ray"
    parser = add("render", text, _render)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="native file, folder of such files, or shard set")
    parser.add_argument("--format", default="", metavar="NAME", help="format of the files; default: found by itself")
    parser.add_argument("--clip", action="append", default=[], metavar="ID", help="only this clip; SET/ID in shards")
    parser.add_argument("--weights", default="", metavar="FILE", help="export folder, renderer.safetensors, or the "
                        "authors' released file; default: untrained")  # fmt: skip
    parser.add_argument("--renderer", default="draction", choices=RENDERERS, help="learned, or a fixed baseline")
    parser.add_argument("--frame-indices", type=_indices, default=(), metavar="0,5,...", help="frames of the clip")
    parser.add_argument("--frames", type=int, help="else this many, evenly spaced; default: as trained, or 12")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="default: as trained, or 448")
    parser.add_argument("--camera", choices=("identity", "fit"), help="the authors' mirrored one, or one that frames "
                        "the clip; default: as trained")  # fmt: skip
    parser.add_argument("--rasterizer", choices=("tiled", "reference"), help="fast, or exact over all pixels")
    parser.add_argument("--out", default="{clip}.gif", help="FILE.npz, FILE.gif or a folder of png files; {clip} is "
                        "replaced by the clip's id; default: {clip}.gif")  # fmt: skip


def _indices(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers as in 0,5,10, found {text!r}") from None


def _render(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel render does not know {' '.join(rest)}; see skel render --help")
    from pipelines import render

    options = render.RenderOptions(
        format=args.format,
        clips=tuple(args.clip),
        weights=args.weights,
        renderer=args.renderer,
        frame_indices=args.frame_indices,
        frames=args.frames,
        image_size=args.image_size,
        camera=args.camera,
        rasterizer=args.rasterizer,
        out=args.out,
    )
    render.run(args.inputs, options)
