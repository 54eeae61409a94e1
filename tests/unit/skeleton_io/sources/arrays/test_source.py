"""Definitions and small files in every container: axes, columns, rows, clips, units, times, labels; errors."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import yaml

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.arrays.loading import load_definition
from skeleton_io.sources.arrays.source import source_from

JOINTS = ["pelvis", "neck", "head", "left_wrist", "right_wrist"]
OWN = {"joints": JOINTS, "bones": [["pelvis", "neck"], ["neck", "head"], [1, 3], [1, 4]]}
POINTS = np.random.default_rng(3).normal(size=(6, 5, 3)).round(3)  # T, J, C
PAIR = np.stack([POINTS, POINTS * 0.1 + 2], 1)  # T, P, J, C; the second moves less


def read(folder: Path, fields: dict[str, Any], files: dict[str, bytes]) -> list[SkeletonSequence]:
    """All clips of the files by the definition."""
    data = folder / "data"
    for name, content in files.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    (folder / "own.yaml").write_text(yaml.safe_dump({"topology": OWN, "fps": 20, **fields}))
    source = source_from(load_definition(str(folder / "own.yaml")))
    return [clip for item in source.list_items(str(data)) for clip in source.read(str(data), item, "own")]


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def table(rows: np.ndarray, header: str = "", separator: str = ",") -> bytes:
    lines = [separator.join(f"{v:g}" for v in row) for row in rows]
    return "\n".join([header, *lines] if header else lines).encode()


@pytest.mark.parametrize("layout", ["T, P, J, C", "C, T, J, P", "P, T, C, J", "T, P*J*C", "J*C, P*T", "T*J, C, P"])
def test_axes_in_any_order(tmp_path: Path, layout: str):
    groups = [[a.strip() for a in group.split("*")] for group in layout.split(",")]
    order = ["TPJC".index(axis) for group in groups for axis in group]
    transposed = PAIR.transpose(order)
    shape, at = [], 0
    for group in groups:
        shape.append(int(np.prod(transposed.shape[at : at + len(group)])))
        at += len(group)
    fields = {"files": r"(?P<id>\w+)\.npy", "layout": layout, "persons": 2}
    (clip,) = read(tmp_path, fields, {"a.npy": npy(transposed.reshape(shape))})
    np.testing.assert_array_equal(clip.positions, PAIR.astype(np.float32))
    assert (clip.topology.bones, clip.fps, clip.id) == (((0, 1), (1, 2), (1, 3), (1, 4)), 20.0, "a")


def test_npz_with_many_clips_lengths_and_labels(tmp_path: Path):
    stream = io.BytesIO()
    padded = np.stack([POINTS, np.concatenate([POINTS[:4], np.zeros((2, 5, 3))])])
    np.savez(stream, pos=padded, n=np.array([6, 4]), y=np.array([2, 1]), sure=np.full((2, 6, 5), 50.0))
    fields = {
        "files": r".*\.npz",
        "layout": "N, T, J, C",
        "read": {"key": "pos"},
        "clips": {"lengths": "n"},
        "label": {"key": "y", "names": ["wave", "walk"]},
        "confidence": {"key": "sure", "layout": "N, T, J", "full": 100},
    }
    clips = read(tmp_path, fields, {"set.npz": stream.getvalue()})
    assert [(c.id, c.frames, c.label) for c in clips] == [("set.0", 6, "walk"), ("set.1", 4, "wave")]
    assert clips[1].confidence is not None
    assert (clips[1].confidence == 0.5).all()


def test_columns_by_name_units_axes_and_times(tmp_path: Path):
    names = ["when", *(f"{axis}-{i}" for i in range(5) for axis in "XYZ"), "act"]
    rows = [f"{100 + 40 * i}," + ",".join(f"{v:g}" for v in f.reshape(-1)) + ",wave_hand" for i, f in enumerate(POINTS)]
    fields = {
        "files": r"(?P<subject>s\d+)_(?P<view>\w+)\.csv",
        "read": {"header": True},
        "columns": {"pattern": r"(?P<axis>[XYZ])-(?P<joint>\d)"},
        "units": "cm",
        "axes": {"up": "z"},
        "time": {"column": "when", "unit": "ms"},
        "fps": None,
        "label": {"column": "act"},
    }
    (clip,) = read(tmp_path, fields, {"s7_front.csv": "\n".join([",".join(names), *rows]).encode()})
    assert (clip.label, clip.subject, clip.view, clip.fps) == ("wave hand", "s7", "front", pytest.approx(25))
    expected = np.stack([POINTS[..., 0], POINTS[..., 2], -POINTS[..., 1]], -1) / 100
    np.testing.assert_allclose(clip.positions[:, 0], expected, atol=1e-6)


def test_text_by_position_missing_values_and_a_joint_to_skip(tmp_path: Path):
    points = POINTS.copy()
    points[2, 1] = 0
    points[3, 2] = -999
    rows = np.concatenate([np.arange(6)[:, None], points.reshape(6, -1)], 1)
    fields = {
        "files": r".*\.txt",
        "read": {"separator": ";", "skip_lines": 1},
        "columns": {"select": "1:"},
        "layout": "T, J*C",
        "topology": {"joints": JOINTS[:4]},
        "joints": [*JOINTS[:4], "_"],
        "missing": {"zero_joint": True, "values": [-999]},
    }
    (clip,) = read(tmp_path, fields, {"a.txt": b"recorded today\n" + table(rows, separator=";")})
    assert clip.positions.shape == (6, 1, 4, 3)
    assert np.argwhere(np.isnan(clip.positions[:, 0, :, 0])).tolist() == [[2, 1], [3, 2]]


def test_rows_of_persons_in_parquet_with_segments(tmp_path: Path):
    columns: dict[str, Any] = {"frame": np.repeat(np.arange(10, 16), 2), "who": ["a", "b"] * 6}
    columns |= {f"j{i}{axis}": PAIR[:, :, i, c].reshape(-1) for i in range(5) for c, axis in enumerate("xyz")}
    columns["what"] = ["walk"] * 6 + ["none"] * 2 + ["sit"] * 4
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    fields = {
        "files": r".*\.parquet",
        "columns": {"pattern": r"(?P<joint>j\d)(?P<axis>[xyz])"},
        "rows": {"frame": "frame", "person": "who"},
        "segments": {"column": "what"},
    }
    (clip,) = read(tmp_path, fields, {"a.parquet": stream.getvalue()})
    np.testing.assert_array_equal(clip.positions, PAIR.astype(np.float32))
    assert clip.track_ids == ("a", "b")
    assert [(s.start, s.end, s.label) for s in clip.segments] == [(0, 0.15, "walk"), (0.2, pytest.approx(0.3), "sit")]


def test_json_of_named_joints_with_side_files(tmp_path: Path):
    spellings = ["Hips", "Neck", "Head", "LHand", "RHand"]
    frames = [
        {n: dict(zip("XY", p[:2].tolist(), strict=True)) for n, p in zip(spellings, f, strict=True)} for f in POINTS
    ]
    fields = {
        "files": r"(?P<folder_name>\w+)/(?P<id>\w+)\.json",
        "read": {"key": "frames[*].{joint}.{axis}", "joint_names": spellings, "axis_names": ["X", "Y"]},
        "coordinates": ["x", "y"],
        "units": "pixels",
        "image_size": ["w", "h"],
        "label": {"file": "labels.csv"},
        "captions": [{"file": "text/{id}.txt"}],
    }
    content = json.dumps({"w": 640, "h": 480, "frames": frames}).encode()
    files = {"one/a.json": content, "labels.csv": b"a,wave\n", "text/a.txt": b"someone waves\n"}
    (clip,) = read(tmp_path, fields, files)
    assert (clip.label, clip.captions, clip.image_size) == ("wave", ("someone waves",), (640, 480))
    np.testing.assert_allclose(clip.positions[:, 0], [640, 480] - POINTS[..., :2], rtol=1e-6)


def test_mat_with_a_topology_file(tmp_path: Path):
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"p": POINTS.transpose(1, 2, 0), "hz": 50.0})
    (tmp_path / "body.json").write_text(json.dumps(OWN))
    fields = {"files": r".*\.mat", "topology": "body.json", "layout": "J, C, T", "fps": {"key": "hz"}}
    (clip,) = read(tmp_path, {**fields, "read": {"key": "p"}}, {"a.mat": stream.getvalue()})
    assert (clip.fps, clip.topology.joints) == (50.0, tuple(JOINTS))
    np.testing.assert_array_equal(clip.positions[:, 0], POINTS.astype(np.float32))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layout": "T, J"}, "an axis C"),
        ({"layout": "T, Q, C"}, "no axis 'Q'"),
        ({"unit": "m"}, "a field of the definition"),
        ({"topology": "ntu26"}, "no 'ntu26'"),
        ({"files": "("}, "a regular expression"),
        ({"axes": {"up": "y", "down": "z"}}, "directions that fit together"),
        ({"fps": None}, "frames per second"),
        ({"label": {"group": "nope"}}, "a group of files"),
        ({"read": {"joint_names": ["a"]}}, "5 names"),
        ({"topology": "ntu25"}, "25 along J, found 5"),
        ({"layout": "T, P, J, C"}, "4 axes"),
    ],
)
def test_errors_say_what_is_wrong(tmp_path: Path, fields: dict[str, Any], message: str):
    with pytest.raises(SkeletonFormatError, match=message):
        read(tmp_path, {"files": r".*\.npy", **fields}, {"a.npy": npy(POINTS)})
