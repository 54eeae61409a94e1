"""Human3.6M npz: the asset, plain arrays, and archives that are broken or hostile."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.mocap.human36m import JOINTS_OF_32, SOURCE
from skeleton_io.sources.shared.files import ClipOrError, Item
from skeleton_io.sources.shared.side_files import SideInfo

ASSET = Path(__file__).resolve().parents[4] / "assets/human36m"


def stream(**arrays: object) -> list[ClipOrError]:
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=True, **{name: np.asarray(value) for name, value in arrays.items()})
    item = Item(id="data_3d_h36m", path="data_3d_h36m.npz")
    return list(SOURCE.stream_bytes(((item.path, packed.getvalue()),), item, "h36m", SideInfo()))


def packed(motions: object) -> np.ndarray:
    array = np.empty((), object)
    array[()] = motions
    return array


def test_the_asset():
    (item,) = SOURCE.list_items(str(ASSET))
    clips = SOURCE.read(str(ASSET), item, "human36m")
    assert SOURCE.detect(str(ASSET))
    summary = [(clip.id, clip.subject, clip.label, clip.repetition, clip.frames) for clip in clips]
    assert summary == [
        ("S1_Walking_1", "S1", "walking", "1", 5),
        ("S1_WalkDog", "S1", "walk dog", None, 3),
        ("S9_Eating", "S9", "eating", None, 5),
    ]
    clip = clips[0]
    assert (clip.fps, clip.topology.name) == (50.0, "h36m17")
    # In the asset joint j of frame t lies at (0.01 j + 0.1 t, 0, 0.03 j), z up.
    expected = [[0.01 * j + 0.2, 0.03 * j, 0] for j in JOINTS_OF_32]
    np.testing.assert_allclose(clip.positions[2, 0], expected, atol=1e-6)


def test_plain_arrays_and_bad_motions():
    good = np.ones((2, 17, 3), np.float32)
    (clip,) = stream(**{"S5/Sitting 2": good})
    assert isinstance(clip, SkeletonSequence)
    assert (clip.id, clip.subject, clip.label, clip.repetition) == ("S5_Sitting_2", "S5", "sitting", "2")
    bad = {"S1": {"a": good, "a ": good, "b": good[:, :5], "c": "text", "d": good * np.nan, "e": good[:0], "a_": good}}
    results = stream(positions_3d=packed(bad))
    assert [type(one) for one in results] == [SkeletonSequence] * 2 + [SkeletonFormatError] * 5
    assert [one.place for one in results[2:] if isinstance(one, SkeletonFormatError)] == [
        "S1, b", "S1, c", "S1, d", "S1, e", "S1, a_"
    ]  # fmt: skip


class Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed({"S1": Command()}), "positions_3d, byte"),
        (packed([1]), "subject: "),
        (packed({"S1": 3}), "int of 'S1'"),
        (np.ones(3), "an array of objects"),
        (packed({}), "at least one clip"),
    ],
)
def test_hostile_archives(content: np.ndarray, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (error,) = stream(positions_3d=content)
    assert isinstance(error, SkeletonFormatError)
    assert message in str(error)
    assert not list(tmp_path.iterdir())


def test_truncated_archives_end_in_an_error():
    data = (ASSET / "data_3d_h36m.npz").read_bytes()
    item = Item(id="h36m", path="h36m.npz")
    for end in range(0, len(data), 37):
        with pytest.raises(SkeletonFormatError):
            SOURCE.read_bytes(data[:end], item, "h36m", SideInfo())
