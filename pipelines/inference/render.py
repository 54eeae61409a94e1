"""Clips -> frames as npz, gif or png files: what `skel render` does. Starts no Ray and trains nothing.

The image of a clip depends on the clip, the weights and the options only: no random numbers.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.config import RendererConfig, RendererKind
from pipelines.data.clip_files import read_clips
from pipelines.runtime.errors import UserError
from skeleton_io import storage
from skeleton_io.record.sequence import SkeletonSequence

if TYPE_CHECKING:
    from models.draction.renderer import SceneRenderer

RENDERER_FILE = "renderer.safetensors"
RELEASED_SIZE = 448
LEARNED: RendererKind = "draction"
MOST_FRAMES, MOST_PIXELS = 1024, 4096
"""What a slip of the finger may ask for at most: frames of a clip are drawn at once."""


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """What is drawn and where it goes. None and empty mean: as the weights say, or the configuration's default."""

    format: str = ""
    """Name of the reader table or path of a definition (YAML); empty: found by the table."""
    clips: tuple[str, ...] = ()
    """Ids of clips; keys SET/ID for a shard set."""
    weights: str = ""
    """Export folder, renderer.safetensors or the authors' released file; empty: an untrained renderer."""
    renderer: RendererKind = LEARNED
    """draction, or one of the fixed ones."""
    frame_indices: tuple[int, ...] = ()
    """Frames of the clip; empty: the middle of `frames` equal segments."""
    frames: int | None = None
    image_size: int | None = None
    """Pixels."""
    camera: Literal["identity", "fit"] | None = None
    views: tuple[float, ...] | None = None
    """Turns of the framing camera about the vertical, degrees."""
    rasterizer: Literal["tiled", "reference"] | None = None
    out: str = "{clip}.gif"
    """FILE.npz, FILE.gif, or a folder for png files; {clip} stands for the clip's id."""


@dataclass(frozen=True)
class Rendered:
    """Frames of one clip.

    Attributes:
        clip: where they come from.
        frames: (F, H, W, 3) uint8.
        indices: (F,) int64 frames of the clip; with several views all of the first, then all of the next.
        seconds: (F,) time of each from the clip's start.
    """

    clip: SkeletonSequence
    frames: NDArray[np.uint8]
    indices: NDArray[np.int64]
    seconds: NDArray[np.float64]


def load_renderer(options: RenderOptions) -> SceneRenderer:
    """The renderer that the options ask for, with their changes to its configuration.

    Raises:
        UserError: no weights there, weights of another kind, weights for a fixed renderer, or an impossible size.
    """
    changes: dict[str, Any] = {
        name: value
        for name in ("frames", "image_size", "camera", "views", "rasterizer")
        if (value := getattr(options, name)) is not None
    }
    for name, most in (("frames", MOST_FRAMES), ("image_size", MOST_PIXELS)):
        if name in changes and not 1 <= changes[name] <= most:
            raise UserError(f"--{name.replace('_', '-')} must be 1 to {most}, found {changes[name]}")
    if options.renderer != LEARNED and options.weights:
        raise UserError(f"--renderer {options.renderer} is fixed: it takes no --weights")
    renderer = _with_weights(options.weights) if options.weights else _untrained(options.renderer)
    renderer.cfg = dataclasses.replace(renderer.cfg, **changes)
    try:
        renderer.cfg.check()
    except ValueError as error:
        raise UserError(str(error)) from None
    return renderer.eval()


def _untrained(kind: RendererKind) -> SceneRenderer:
    import torch

    from models.draction.registry import make_renderer

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_renderer(RendererConfig(kind=kind))


def _with_weights(uri: str) -> SceneRenderer:
    """Weights of either kind; an export folder stands for the file in it."""
    from safetensors import SafetensorError, safe_open

    from models.draction.weights import FORMAT, import_released, load_renderer
    from pipelines.exports.store import local_folder

    if not storage.exists(uri):
        raise UserError(f"--weights {uri}: no such file or folder")
    if storage.exists(storage.join(uri, RENDERER_FILE)):
        with local_folder(uri) as folder:
            return _with_weights(str(folder / RENDERER_FILE))
    if storage.is_local(uri) and storage.local_path(uri).is_dir():
        raise UserError(f"--weights {uri}: a folder without {RENDERER_FILE}; name the export of a training stage")
    path = storage.local_copy(uri, storage.sha256(storage.read_bytes(uri)))
    try:
        with safe_open(str(path), framework="pt") as file:
            own = (file.metadata() or {}).get("format") == FORMAT
        if own:
            return load_renderer(path)
        return import_released(path, RendererConfig(image_size=RELEASED_SIZE))
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"--weights {uri}: {' '.join(str(error).split())}") from None


def frame_indices(clip: SkeletonSequence, options: RenderOptions, frames: int) -> NDArray[np.int64]:
    """(F,) frames of the clip that are drawn.

    Raises:
        UserError: an index outside of the clip.
    """
    from models.draction.frames import select_frames

    if not options.frame_indices:
        return select_frames(clip.frames, frames, None)
    indices = np.array(options.frame_indices, np.int64)
    if indices.min() < 0 or indices.max() >= clip.frames:
        raise UserError(f"--frame-indices: {clip.key} has frames 0 to {clip.frames - 1}, found {indices.tolist()}")
    return indices


def draw(renderer: SceneRenderer, clip: SkeletonSequence, options: RenderOptions) -> Rendered:
    """Frames of one clip.

    Raises:
        UserError: an index outside of the clip, or weights that do not fit its topology.
    """
    import torch

    from pipelines.data.renderer_input import clip_input

    indices = frame_indices(clip, options, renderer.cfg.moments)
    try:
        with torch.no_grad():
            images = renderer([clip_input(clip, renderer.cfg, None, None, indices)])[0]
    except ValueError as error:
        raise UserError(f"{clip.key}: {error}") from None
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    indices = np.tile(indices, len(renderer.cfg.views))
    times = clip.timestamps if clip.timestamps is not None else np.arange(clip.frames) / clip.fps
    return Rendered(clip, pixels.numpy(), indices, np.asarray(times[indices] - times[0], np.float64))


def provenance(item: Rendered, renderer: SceneRenderer, options: RenderOptions) -> dict[str, Any]:
    """What the frames were made from, as plain data."""
    clip = item.clip
    return {
        "clip": clip.key,
        "source": dataclasses.asdict(clip.source),
        "topology": clip.topology.name,
        "label": clip.label,
        "licence": clip.licence,
        "weights": options.weights,
        "weights_sha256": _weights_digest(options.weights),
        "renderer": options.renderer,
        "config": dataclasses.asdict(renderer.cfg),
        "version": version("skeleton-ray"),
    }


def _weights_digest(uri: str) -> str:
    if not uri:
        return ""
    inside = storage.join(uri, RENDERER_FILE)
    return storage.sha256(storage.read_bytes(inside if storage.exists(inside) else uri))


def file_name(clip: SkeletonSequence) -> str:
    """The clip's id as the name of a file or folder."""
    return re.sub(r"[^\w.+-]", "_", clip.id).lstrip(".") or "clip"


def targets(clips: Sequence[SkeletonSequence], out: str) -> list[Path]:
    """Where each clip's frames go.

    Raises:
        UserError: several clips and one file, or two clips of the same name.
    """
    names = [file_name(clip) for clip in clips]
    if "{clip}" not in out and len(clips) > 1:
        if Path(out).suffix in (".npz", ".gif"):
            raise UserError(f"--out {out}: {len(clips)} clips need a file each; write {{clip}} in its name")
        out = str(Path(out) / "{clip}")
    paths = [Path(out.replace("{clip}", name)) for name in names]
    if twice := sorted({str(path) for path in paths if paths.count(path) > 1}):
        raise UserError(f"--out {out}: several clips would be written to {', '.join(twice)}")
    return paths


def write(path: Path, item: Rendered, origin: dict[str, Any]) -> None:
    """One clip's frames, in the form that the path's suffix asks for."""
    from PIL import Image

    folder = path if path.suffix not in (".npz", ".gif") else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        with storage.atomic_file(str(path.resolve())) as file:
            np.savez_compressed(
                file,
                frames=item.frames,
                frame_indices=item.indices,
                seconds=item.seconds,
                clip=np.array(item.clip.key),
                provenance=np.array(json.dumps(origin, ensure_ascii=False)),
            )
        return
    images = [Image.fromarray(frame) for frame in item.frames]
    if path.suffix == ".gif":
        times = _durations_ms(item.seconds)
        images[0].save(path, save_all=True, append_images=images[1:], duration=times, loop=0, disposal=2)
        return
    for place, (index, image) in enumerate(zip(item.indices, images, strict=True)):
        image.save(path / f"{place:03d}_frame{index:05d}.png")


def _durations_ms(seconds: NDArray[np.float64]) -> list[int]:
    """How long a gif shows each frame: until the next one's time; the last one and a jump back take the mean step."""
    steps = np.diff(seconds)
    mean = steps[steps > 0].mean() if (steps > 0).any() else 1.0
    steps = np.append(np.where(steps < 0, mean, steps), mean)
    return [int(max(20, round(1000 * step))) for step in steps]  # players slow a gif down that asks for less


def run(inputs: Sequence[str], options: RenderOptions) -> list[Path]:
    """Draws every clip of every input; returns what was written, a line on stdout for each.

    Raises:
        UserError: whatever the user can mend.
    """
    clips = [clip for uri in inputs for clip in read_clips(uri, options.format, options.clips)]
    paths = targets(clips, options.out)
    renderer = load_renderer(options)
    for clip, path in zip(clips, paths, strict=True):
        item = draw(renderer, clip, options)
        try:
            write(path, item, provenance(item, renderer, options))
        except OSError as error:
            raise UserError(f"--out {path}: {error.strerror or error}") from None
        if note := emptiness(item, renderer.cfg):
            print(f"note: {clip.key}: {note}", file=sys.stderr, flush=True)
        height, width = item.frames.shape[1:3]
        print(f"{path}: {len(item.frames)} frames of {width} x {height}, {clip.key}", flush=True)
    return paths


def emptiness(item: Rendered, cfg: RendererConfig) -> str:
    """How many frames show nothing, and what would help; empty: none."""
    black = int((~item.frames.any(axis=(1, 2, 3))).sum())
    if not black:
        return ""
    why = "no joint is seen in them"
    if cfg.camera == "identity":
        why = "nothing stands before the authors' camera, which is a sensor at the origin; --camera fit frames the clip"
    return f"{black} of {len(item.frames)} frames are empty: {why}"
