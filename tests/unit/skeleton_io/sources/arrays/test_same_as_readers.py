"""The definitions of docs/formats/examples give the records of the hand-written readers, number for number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.arrays.loading import load_definition
from skeleton_io.sources.arrays.source import source_from
from skeleton_io.sources.registry import SOURCES, Source
from skeleton_io.sources.shared.files import Item

ROOT = Path(__file__).resolve().parents[5]
NAMES = ("msr_action3d", "utd_mhad", "nw_ucla", "sbu")
# What the definitions do not promise: they list names from the documentation, and text about the reader.
SAME = ("topology", "fps", "scale", "image_size", "label", "subject", "view", "setup", "repetition", "track_ids")


def declared(name: str) -> Source:
    return source_from(load_definition(str(ROOT / f"docs/formats/examples/{name}.yaml")))


def read(source: Source, root: str, item: Item) -> SkeletonSequence | None:
    """The clip; None where the reader refuses the file."""
    try:
        (clip,) = source.read(root, item, "set")
    except SkeletonFormatError:
        return None
    return clip


def _times(clip: SkeletonSequence) -> np.ndarray:
    return np.arange(clip.frames) / clip.fps if clip.timestamps is None else clip.timestamps


def differences(name: str, root: str) -> tuple[int, int, list[str]]:
    """(clips, refused files, what differs) of all files, which are paired by path."""
    ours, theirs = declared(name), SOURCES[name]
    own = {item.path: item for item in ours.list_items(root)}
    items = {item.path: item for item in theirs.list_items(root)}
    assert own.keys() == items.keys()
    clips, refused, problems = 0, 0, []
    for path in sorted(items):
        a, b = read(ours, root, own[path]), read(theirs, root, items[path])
        if a is None or b is None:
            refused += a is b
            problems += [] if a is b else [f"{path}: only one of them refuses it"]
            continue
        clips += 1
        problems += [f"{path}: {key}" for key in SAME if getattr(a, key) != getattr(b, key)]
        if not np.array_equal(a.positions, b.positions, equal_nan=True):
            problems.append(f"{path}: positions by {np.nanmax(np.abs(a.positions - b.positions))}")
        if (a.confidence is None) != (b.confidence is None) or (
            a.confidence is not None and b.confidence is not None and not np.array_equal(a.confidence, b.confidence)
        ):
            problems.append(f"{path}: confidence")
        if not np.array_equal(_times(a), _times(b)):
            problems.append(f"{path}: timestamps")
    return clips, refused, problems


@pytest.mark.parametrize("name", NAMES)
def test_on_the_asset(name: str):
    clips, refused, problems = differences(name, str(ROOT / f"tests/assets/{name}"))
    assert (clips > 0, refused, problems) == (True, 0, [])


@pytest.mark.parametrize(
    ("name", "clips", "refused"),
    [("msr_action3d", 566, 1), ("utd_mhad", 861, 0), ("nw_ucla", 1484, 0), ("sbu", 282, 0)],
)
def test_on_the_real_set(shared_data: Path, name: str, clips: int, refused: int):
    assert differences(name, str(shared_data / "data" / name)) == (clips, refused, [])
