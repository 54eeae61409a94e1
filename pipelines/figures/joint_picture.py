"""A clip -> a PNG with every joint's index and a list of their names, to check a drafted definition by eye.

One frame of the first person: from the front and, in 3D, from the side. Left is blue, right is orange, the middle grey.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipelines.figures.stick_figure import INK, PAPER, SIDE_COLOURS, flatten
from skeleton_io.record.sequence import SkeletonSequence

_SIDE = 620
_MARGIN = 50
_LINE = 17
_COLUMN = 210
_APART = (19, 13)  # pixels between two numbers


def joint_picture(clip: SkeletonSequence) -> bytes:
    """PNG of the frame with the most joints.

    Args:
        clip: any record.
    """
    # Names are what is checked: every joint should be seen.
    frame = int(clip.present[:, 0].sum(-1).argmax())
    views = [("front", flatten(clip)[frame, 0])]
    if clip.positions.shape[-1] == 3:
        views.append(("from the figure's right side", _side_view(clip, frame)))
    joints = clip.topology.joints
    rows = (_SIDE - 3 * _LINE) // _LINE
    columns = -(-len(joints) // rows)
    paper = Image.new("RGB", (_SIDE * len(views) + _COLUMN * columns, _SIDE), PAPER)
    draw = ImageDraw.Draw(paper)
    for place, (title, points) in enumerate(views):
        _view(draw, clip, points, place * _SIDE, title)
    font = ImageFont.load_default(size=12)
    left = _SIDE * len(views)
    size = " x ".join(str(n) for n in clip.positions.shape)
    draw.text((left, 8), f"{clip.id[:26]}  {size}", INK, font)
    for i, (joint, meaning) in enumerate(zip(joints, clip.topology.meanings, strict=True)):
        spot = (left + i // rows * _COLUMN, 2 * _LINE + i % rows * _LINE)
        gone = "" if clip.present[frame, 0, i] else "  (missing)"
        draw.text(spot, f"{i:3d}  {joint}{gone}", SIDE_COLOURS[meaning.side], font)
    stream = io.BytesIO()
    paper.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _side_view(clip: SkeletonSequence, frame: int) -> NDArray[np.float64]:
    """(J, 2): the view turned by a quarter, so that a person who faced the viewer looks to image right."""
    positions = clip.positions[frame, 0].astype(np.float64)
    front = flatten(clip)[frame, 0]
    known = np.isfinite(positions).all(-1)
    # The viewer's right in the front view is a horizontal unit vector r with front_x = p . r: take it from the data.
    flat = positions[known][:, [0, 2]]
    right = np.linalg.lstsq(flat, front[known, 0], rcond=None)[0] if known.sum() > 2 else np.array([1.0, 0.0])
    ahead = np.array([-right[1], right[0]])  # towards the viewer: a quarter turn from the right
    return np.stack([positions[:, [0, 2]] @ ahead, positions[:, 1]], -1)


def _view(
    draw: ImageDraw.ImageDraw, clip: SkeletonSequence, points: NDArray[np.float64], left: int, title: str
) -> None:
    known = np.array(np.isfinite(points).all(-1))
    low, high = points[known].min(0), points[known].max(0)
    extent = float(max((high - low).max(), 1e-9))
    scale = (_SIDE - 2 * _MARGIN) / extent
    moved = (np.nan_to_num(points) - (low + high) / 2) * scale
    spots = np.stack([left + _SIDE / 2 + moved[:, 0], _SIDE / 2 + _LINE / 2 - moved[:, 1]], -1)
    sides = [meaning.side for meaning in clip.topology.meanings]
    for parent, child in clip.topology.bones:
        if known[parent] and known[child]:
            # Bones are paler than joints: numbers stand on them.
            pale = tuple((c + 2 * 255) // 3 for c in SIDE_COLOURS[sides[child]])
            draw.line([tuple(spots[parent]), tuple(spots[child])], pale, 4)
    font = ImageFont.load_default(size=14)
    taken: list[NDArray[np.float64]] = []
    for joint in np.flatnonzero(known):
        x, y = spots[joint]
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], SIDE_COLOURS[sides[joint]])
        spot = _free(np.array([x + 9, y - 9]), taken)
        taken.append(spot)
        draw.text((float(spot[0]), float(spot[1])), str(joint), SIDE_COLOURS[sides[joint]], font, anchor="mm")
    draw.text((left + _SIDE / 2, 14), title, INK, font, anchor="mm")


def _free(spot: NDArray[np.float64], taken: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The nearest of some places around where no other number stands."""
    around = [(0, 0), (-18, 0), (0, 18), (-18, 18), (10, 4), (-28, 4), (0, -14), (-18, -14), (14, 18), (-32, 18)]
    for shift in around:
        place = spot + shift
        if all((np.abs(place - other) >= _APART).any() for other in taken):
            return place
    return spot
