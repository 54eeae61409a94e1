"""C3D: six encodings of one hand-made recording, the two real recordings against ezc3d, and files that break it."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.mocap.c3d import SOURCE, Numbers
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import SideInfo

ASSET = Path(__file__).resolve().parents[4] / "assets/c3d"
LABELS = ["LSHO", "RSHO", "HEAD", "LKneeAngles"]
COUNTS = np.array(
    [[[200, -40, 1400], [-204, -36, 1402], [0, 12, 1700], [30, 0, 1]],
     [[202, -40, 1404], [0, 0, 0], [2, 14, 1704], [31, 0, 1]],
     [[206, -44, 1410], [-200, -40, 1404], [4, 18, 1708], [32, 0, 1]]], np.int16
)  # fmt: skip
FOURTH = np.array([[0x0103, 0x0102, 0, 0], [0x0101, -1, 0x0101, 0], [0x0101, 0x0101, 0x0101, 0]], np.int16)
SCALE = 0.5


def dec(values: np.ndarray) -> bytes:
    """Reals of a PDP-11."""
    bits = np.asarray(values, "<f4").view("<u4").copy()
    bits[bits != 0] += 2 << 23
    return bits.view("<u2").reshape(-1, 2)[:, ::-1].tobytes()


def write(processor: int, real: bool, units: str = "mm", up: str = "+Z") -> bytes:
    """The recording as a C3D file."""
    order = ">" if processor == 86 else "<"

    def ints(*values: int) -> bytes:
        return np.array(values, order + "i2").tobytes()

    def floats(*values: float) -> bytes:
        return dec(np.array(values)) if processor == 85 else np.array(values, order + "f4").tobytes()

    def entry(name: str, kind: int, sides: list[int], data: bytes) -> bytes:
        body = struct.pack("b", kind) + bytes([len(sides), *sides]) + data + b"\0"
        return bytes([len(name), 1]) + name.encode() + ints(len(body) + 2) + body

    def texts(name: str, values: list[str]) -> bytes:
        width = max(map(len, values))
        return entry(name, -1, [width, len(values)], "".join(v.ljust(width) for v in values).encode())

    scale = -SCALE if real else SCALE
    group = bytes([5, 255]) + b"POINT" + ints(3) + b"\0"
    section = group + entry("USED", 2, [], ints(4)) + entry("SCALE", 4, [], floats(scale))
    section += texts("LABELS", LABELS) + texts("UNITS", [units]) + texts("Y_SCREEN", [up]) + texts("ANGLES", LABELS[3:])
    section += entry("RATE", 4, [], floats(50.0)) + b"\0\0"
    blocks = -(-(len(section) + 4) // 512)
    head = bytes([2, 0x50]) + ints(4, 2, 1, 3, 10) + floats(scale) + ints(2 + blocks, 1) + floats(50.0)
    data = b""
    for xyz, fourth in zip(COUNTS, FOURTH, strict=True):
        point = np.concatenate([xyz, fourth[:, None]], 1).ravel().tolist()
        analog = [7, -7]
        if real:
            point = (np.array(point) * np.where(np.arange(len(point)) % 4 == 3, 1, SCALE)).tolist()
        data += (floats if real else ints)(*point, *analog)
    parameters = bytes([1, 0x50, blocks, processor]) + section
    return b"".join(part.ljust(-(-len(part) // 512) * 512, b"\0") for part in (head, parameters, data))


def read(data: bytes, companion: bytes | None = None) -> SkeletonSequence:
    item = Item(id="step", path="step.c3d")
    (result,) = SOURCE.stream_bytes(
        ((item.path, data),), item, "lab", SideInfo(), lambda path: companion if path == "topology.json" else None
    )
    if isinstance(result, SkeletonFormatError):
        raise result
    return result


def test_record_of_the_asset():
    assert (ASSET / "step.c3d").read_bytes() == write(84, real=False)
    (item,) = SOURCE.list_items(str(ASSET))
    (clip,) = SOURCE.read(str(ASSET), item, "lab")
    assert SOURCE.detect(str(ASSET))
    assert clip.topology.joints == ("left_sho", "right_sho", "head_marker")
    assert clip.topology.mirror == (1, 0, 2)
    assert (clip.fps, clip.positions.shape, clip.notes) == (50.0, (3, 1, 3, 3), ("1 outputs of a model left out",))
    # 200, -40, 1400 counts of 0.5 mm, z up.
    np.testing.assert_allclose(clip.positions[0, 0, 0], [0.1, 0.7, 0.02], atol=1e-7)
    assert np.isnan(clip.positions[1, 0, 1]).all()
    assert clip.confidence is not None
    np.testing.assert_array_equal(clip.confidence[:, 0], [[1, 1, 0.5], [1, 0, 1], [1, 1, 1]])


@pytest.mark.parametrize("processor", [84, 85, 86])
@pytest.mark.parametrize("real", [False, True])
def test_six_encodings_give_one_record(processor: int, real: bool):
    one, other = read(write(84, real=False)), read(write(processor, real))
    np.testing.assert_array_equal(one.positions, other.positions)
    np.testing.assert_array_equal(one.confidence, other.confidence)
    assert (one.topology, one.fps, one.source_transform) == (other.topology, other.fps, other.source_transform)


@pytest.mark.parametrize("up", ["+X", "-X", "+Y", "-Y", "+Z", "-Z"])
def test_the_axis_named_becomes_up_without_a_mirror(up: str):
    point = read(write(84, real=True, units="m", up=up)).positions[0, 0].astype(float)
    raw_point = COUNTS[0, :3] * SCALE
    axis, sign = "XYZ".index(up[1]), 1 if up[0] == "+" else -1
    np.testing.assert_allclose(point[:, 1], sign * raw_point[:, axis])
    assert np.linalg.det(point) == pytest.approx(np.linalg.det(raw_point))


def test_names_and_bones_of_the_user():
    content = {"names": {"LSHO": "left_shoulder", "RSHO": "right_shoulder"}, "bones": [["LSHO", "RSHO"], ["LSHO", "X"]]}
    clip = read(write(84, real=False), json.dumps(content).encode())
    assert clip.topology.joints == ("left_shoulder", "right_shoulder", "head_marker")
    assert clip.topology.bones == ((0, 1),)
    with pytest.raises(SkeletonFormatError, match=r"topology\.json"):
        read(write(84, real=False), b'{"bones": 3}')


def test_prefixes_are_persons():
    data = write(84, real=False).replace(b"LSHO       RSHO       HEAD       ", b"A:SHO      B:SHO      A:HEAD     ")
    clip = read(data)
    assert (clip.track_ids, clip.topology.joints, clip.persons) == (("A", "B"), ("sho", "head_marker"), 2)
    assert np.isnan(clip.positions[:, 1, 1]).all()
    assert clip.positions[0, 1, 0, 0] == pytest.approx(-0.102)


def test_reals_of_a_pdp11():
    values = np.array([0, 1, -1, 0.1, -123456.78, 1e-30], np.float32)
    np.testing.assert_array_equal(Numbers(processor=85).floats(dec(values)), values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:700], "a C3D header"),
        (lambda d: d[:515] + b"\x07" + d[516:], "processor 84"),
        (lambda d: d[:8] + b"\xff\x7f" + d[10:], "32767 frames of"),
        (lambda d: d[:1024], "3 frames of 36 bytes, found 0"),
        (lambda d: d.replace(b"\x06LABELS"[1:] + d[d.index(b"LABELS") + 6 :][:3], b"LABELS" + b"\x01\x01\x09"), "type"),
    ],
)
def test_broken_files_say_where(change: Callable[[bytes], bytes], message: str):
    with pytest.raises(SkeletonFormatError, match=message):
        read(change(write(84, real=False)))


def test_damaged_bytes_end_in_a_record_or_an_error():
    whole = write(85, real=True)
    draw = np.random.default_rng(3)
    for _ in range(400):
        data = bytearray(whole)
        for place in draw.integers(0, len(data), draw.integers(1, 12)):
            data[place] = draw.integers(0, 256)
        with contextlib.suppress(SkeletonFormatError):
            assert read(bytes(data[: draw.integers(1, len(data) + 1)])).frames < 100


def test_real_recordings_against_ezc3d(shared_data: Path):
    """All six files of a recording agree; ezc3d reads Intel and DEC."""
    import ezc3d

    root = shared_data / "data/format_samples/c3d"
    clips = {item.path: SOURCE.read(str(root), item, "c3d")[0] for item in SOURCE.list_items(str(root))}
    assert len(clips) == 12
    for sample, shape, integers in (("Sample01", (450, 1, 26, 3), 0), ("Sample02", (89, 1, 36, 3), 2.9e-4)):
        first, *others = (clip for path, clip in clips.items() if path.startswith(sample))
        assert first.positions.shape == shape
        assert first.fps == 50
        for other in others:
            # Two files of the second sample hold integers that differ by one count, 0.28 mm.
            np.testing.assert_allclose(other.positions, first.positions, atol=integers, rtol=0)
            np.testing.assert_array_equal(other.confidence, first.confidence)
            assert other.topology == first.topology
    compared = 0
    for path, clip in clips.items():
        if "sgi" in path or "Eb015s" in path:
            continue
        points = ezc3d.c3d(str(root / path))["data"]["points"][:3, : clip.positions.shape[2]]
        x, y, z = points.transpose(0, 2, 1) / 1000
        np.testing.assert_allclose(clip.positions[:, 0], np.stack([x, z, -y], -1), atol=1e-6)
        compared += 1
    assert compared == 8
