"""NTU files with many bodies, with orientations and tracking states, and the official lists of missing skeletons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.registry import SOURCES
from skeleton_io.sources.shared.files import Item

NAME = "S001C002P003R001A023.skeleton"


def skeleton(frames: int, bodies: list[tuple[str, float, range]]) -> str:
    """Text of a file: (body id, place and speed in metres, frames in which it is seen) for each body."""
    lines = [str(frames)]
    for frame in range(frames):
        present = [body for body in bodies if frame in body[2]]
        lines.append(str(len(present)))
        for name, pace, _ in present:
            lines += [f"{name} 0 1 1 1 1 0 0.1 -0.1 2", "25"]
            for joint in range(25):
                x, y = pace + 0.01 * pace * frame, 0.06 * joint - 0.8
                turn = "0 0 0 0" if joint == 3 else "0.8 0 0.6 0"
                lines.append(f"{x:.4f} {y:.4f} 3.0 250.5 200.5 900.5 500.5 {turn} {joint % 3}")
    return "\n".join(lines) + "\n"


def read(folder: Path, text: str, name: str = NAME) -> SkeletonSequence:
    (folder / name).write_text(text)
    (clip,) = SOURCES["ntu"].read(str(folder), Item(id=name.split(".")[0], path=name), "ntu")
    return clip


@pytest.mark.parametrize("count", [4, 5, 6])
def test_all_bodies_are_kept_the_most_active_first(tmp_path: Path, count: int):
    bodies = [(f"7205759403{n}", float(n + 1), range(20)) for n in range(count)]
    clip = read(tmp_path, skeleton(20, bodies))
    assert clip.positions.shape == (20, count, 25, 3)
    assert clip.track_ids == tuple(name for name, _, _ in reversed(bodies))
    np.testing.assert_allclose(clip.positions[0, :, 0, 0], np.arange(count, 0, -1), atol=1e-6)
    assert np.isfinite(clip.positions).all()


def test_bodies_come_and_go_and_the_short_one_is_noted(tmp_path: Path):
    bodies = [("1", 1.0, range(40)), ("2", 2.0, range(5, 40)), ("3", 3.0, range(25)), ("4", 4.0, range(20, 40)),
            ("5", 5.0, range(8, 12))]  # fmt: skip
    clip = read(tmp_path, skeleton(40, bodies))
    assert set(clip.track_ids) == {"1", "2", "3", "4"}
    assert any("track 5 dropped: seen in only 4 frames" in note for note in clip.notes)
    slot = clip.track_ids.index("3")
    assert np.isfinite(clip.positions[:25, slot]).all()
    assert np.isnan(clip.positions[25:, slot]).all()


def test_seven_bodies_are_no_file_of_a_kinect(tmp_path: Path):
    with pytest.raises(SkeletonFormatError, match="number of bodies"):
        read(tmp_path, skeleton(3, [(str(n), float(n + 1), range(3)) for n in range(7)]))


def test_orientations_and_states_are_kept_for_every_body(tmp_path: Path):
    clip = read(tmp_path, skeleton(15, [(str(n), float(n + 1), range(15)) for n in range(4)]))
    assert clip.orientations is not None
    assert clip.confidence is not None
    np.testing.assert_allclose(clip.orientations[:, :, 4], np.broadcast_to([0.8, 0, 0.6, 0], (15, 4, 4)), atol=1e-6)
    assert np.isnan(clip.orientations[:, :, 3]).all(), "four zeros are no turn"
    assert clip.confidence[7, 2, :3].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("exclude.txt", "S001C002P003R001A023\n"),
        (
            "NTU_RGBD_samples_with_missing_skeletons.txt",
            "The following samples have no or incomplete skeletons:\r\n\r\nS001C002P003R001A023\r\n",
        ),
        ("NTU_RGBD120_samples_with_missing_skeletons.txt", "\nS019C001P046R001A075\nS001C002P003R001A023.skeleton\n"),
        ("exclude.txt", "nturgb+d_skeletons/S001C002P003R001A023.skeleton"),
    ],
)
def test_lists_of_missing_skeletons(tmp_path: Path, file: str, text: str):
    body = [("1", 1.0, range(3))]
    (tmp_path / file).write_bytes(text.encode())
    clip = read(tmp_path, skeleton(3, body), "S001C002P003R001A024.skeleton")
    assert clip.label == "kicking something"
    with pytest.raises(SkeletonFormatError, match="in the list"):
        read(tmp_path, skeleton(3, body))
    assert [item.id for item in SOURCES["ntu"].list_items(str(tmp_path))] == [
        "S001C002P003R001A023", "S001C002P003R001A024"
    ]  # fmt: skip
    assert file in SOURCES["ntu"].list_companions(str(tmp_path))
