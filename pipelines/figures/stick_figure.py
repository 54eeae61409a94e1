"""A clip -> a picture of its joints and bones: an animated GIF or a PNG sheet. Pillow only, no torch, no learned look.

Left is blue, right is orange, the middle is grey; several persons carry their number. 3D clips are seen from where the
framing camera's "front" view stands: before the person, or across the line between two; 2D clips as in their image. A
person who faces the viewer and raises the right hand shows it at image left. What is missing is not drawn.
"""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from skeleton_io.record.sequence import SkeletonSequence

SIDE_COLOURS = {"left": (38, 104, 214), "right": (222, 112, 18), "centre": (70, 70, 70)}
PAPER, INK = (255, 255, 255), (40, 40, 40)
MOST_RATE = 25.0
"""Frames per second of a GIF, at most: viewers slow down what is faster."""
MOST_FRAMES = 250
"""Of a GIF; a longer clip is drawn with fewer frames per second, not cut."""
_SMOOTH = 2  # drawn this many times larger, then reduced
_MARGIN = 0.08
_TITLE = 18
_OUTLIERS = 0.2  # per cent of the coordinates at either end that may lie outside the picture: jumps of a sensor
_APART = 0.15  # metres between two persons below which there is no line between them


def gif(clip: SkeletonSequence, side: int = 360) -> bytes:
    """The clip in real time.

    Args:
        clip: any record.
        side: pixels of the square picture.
    """
    step = max(1, math.ceil(clip.fps / MOST_RATE - 1e-9), math.ceil(clip.frames / MOST_FRAMES))
    points = _on_paper(clip, side)
    frames = [_frame(clip, points, frame, side) for frame in range(0, clip.frames, step)]
    # One palette for all frames: colours that change between frames flicker.
    palette = frames[0].quantize(32)
    images = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    stream = io.BytesIO()
    # GIF counts in hundredths of a second, and viewers slow down anything below two.
    delay = max(20, round(100 * step / clip.fps) * 10)
    images[0].save(stream, "GIF", save_all=True, append_images=images[1:], duration=delay, loop=0)
    return stream.getvalue()


def sheet(clip: SkeletonSequence, side: int = 240, columns: int = 4, rows: int = 3) -> bytes:
    """PNG of frames at equal distances, the first and the last among them, in reading order."""
    count = min(clip.frames, columns * rows)
    moments = np.unique(np.rint(np.linspace(0, clip.frames - 1, count)).astype(int))
    points = _on_paper(clip, side)
    paper = Image.new("RGB", (side * min(columns, count), side * math.ceil(count / columns)), PAPER)
    for place, frame in enumerate(moments):
        corner = (place % columns * side, place // columns * side)
        paper.paste(_frame(clip, points, int(frame), side), corner)
    stream = io.BytesIO()
    paper.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def flatten(clip: SkeletonSequence) -> NDArray[np.float64]:
    """(T, P, J, 2): to the viewer's right and up, in the clip's units."""
    positions = clip.positions.astype(np.float64)
    if positions.shape[-1] == 2:
        return positions * [-1.0, 1.0]  # the record's x grows towards image left
    forward = _forward(clip)
    right = np.array([-forward[2], 0.0, forward[0]])
    return np.stack([positions @ right, positions[..., 1]], -1)


def _forward(clip: SkeletonSequence) -> NDArray[np.float64]:
    """Horizontal unit vector along which the viewer looks; +z, the sensor's, where nothing is known."""
    sensor = np.array([0.0, 0.0, 1.0])
    positions, present = clip.positions.astype(np.float64), clip.present
    if clip.persons > 1:
        seen = present[:, 0].any(-1) & present[:, 1].any(-1)
        if seen.any():
            middles = np.nanmean(positions[seen, :2], axis=2)
            line = (middles[:, 1] - middles[:, 0]).mean(0)
            across = np.array([-line[2], 0.0, line[0]])
            length = float(np.linalg.norm(across))
            if length > _APART:
                return across / length * (1 if across[2] >= 0 else -1)
    index, directions = clip.topology.index, []
    for part in ("hip", "shoulder", "clavicle"):
        if f"left_{part}" in index and f"right_{part}" in index:
            across = positions[:, 0, index[f"right_{part}"]] - positions[:, 0, index[f"left_{part}"]]
            # Only the turn about the vertical: who bends aside still faces the same way.
            across[:, 1] = 0
            length = np.linalg.norm(across, axis=-1)
            fine = length > 1e-4  # NaN is not
            directions.append(across[fine] / length[fine, None])
    units = np.concatenate(directions) if directions else np.zeros((0, 3))
    mean = units.mean(0) if len(units) else np.zeros(3)
    size = float(np.linalg.norm(mean))
    # Directions of the clip cancel: the person turns round, and no side is the front.
    return sensor if size < 0.2 else np.array([-mean[2], 0.0, mean[0]]) / size


def _on_paper(clip: SkeletonSequence, side: int) -> NDArray[np.float64]:
    """(T, P, J, 2) pixels of a square picture that holds the whole clip; NaN for missing."""
    flat = flatten(clip)
    known = flat[np.isfinite(flat).all(-1)]
    # Not minimum and maximum: see _OUTLIERS.
    low, high = np.percentile(known, [_OUTLIERS, 100 - _OUTLIERS], axis=0)
    extent = float(max((high - low).max(), 1e-6))
    room = side * (1 - 2 * _MARGIN) - _TITLE
    moved = (flat - (low + high) / 2) * (room / extent)
    return np.stack([side / 2 + moved[..., 0], (side + _TITLE) / 2 - moved[..., 1]], -1)


def _frame(clip: SkeletonSequence, points: NDArray[np.float64], frame: int, side: int) -> Image.Image:
    # Pillow draws no smooth lines; a smaller copy of a large picture has them.
    big = Image.new("RGB", (side * _SMOOTH, side * _SMOOTH), PAPER)
    draw = ImageDraw.Draw(big)
    for person in range(clip.persons):
        _person(draw, clip, points[frame, person] * _SMOOTH, side * _SMOOTH / 120)
    small = big.resize((side, side), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(small)
    font = ImageFont.load_default(size=11)
    label = f"  {clip.label}" if clip.label else ""
    name = f"{clip.id}{label}"
    name = name if len(name) <= side // 6 - 9 else name[: side // 6 - 12] + "..."
    draw.text((4, 3), name, INK, font)
    time = frame / clip.fps if clip.timestamps is None else float(clip.timestamps[frame] - clip.timestamps[0])
    draw.text((side - 4, 3), f"{time:.2f} s", INK, font, anchor="ra")
    for person in range(clip.persons if clip.persons > 1 else 0):
        known = points[frame, person][np.isfinite(points[frame, person]).all(-1)]
        if len(known):
            x, y = known[known[:, 1].argmin()]
            draw.text((x, y - 5), str(person + 1), INK, font, anchor="ms")
    return small


def _person(draw: ImageDraw.ImageDraw, clip: SkeletonSequence, points: NDArray[np.float64], width: float) -> None:
    """Bones in the colour of their outer joint, then joints. Left and right last, so that the trunk hides neither."""
    known = np.array((np.abs(points) < 1e5).all(-1))  # NaN is not
    sides = [meaning.side for meaning in clip.topology.meanings]
    spots = [(float(x), float(y)) for x, y in np.nan_to_num(points)]
    for parent, child in sorted(clip.topology.bones, key=lambda bone: sides[bone[1]] != "centre"):
        if known[parent] and known[child]:
            pair = {sides[parent], sides[child]}
            # A bone across the middle (hip to hip) belongs to neither side.
            colour = (
                "centre" if pair >= {"left", "right"} else sides[child] if sides[child] != "centre" else sides[parent]
            )
            draw.line([spots[parent], spots[child]], SIDE_COLOURS[colour], round(width))
    dot = width * 0.8
    for joint in np.flatnonzero(known):
        x, y = spots[joint]
        draw.ellipse([x - dot, y - dot, x + dot, y + dot], SIDE_COLOURS[sides[joint]])
