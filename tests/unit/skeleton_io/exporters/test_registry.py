"""Exports: what comes back through our own readers and numpy equals the clip; what a format cannot say is refused."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skeleton_io import storage
from skeleton_io.exporters.bvh import bvh_text, spanning_tree
from skeleton_io.exporters.humanml3d import JOINTS, humanml3d_files
from skeleton_io.exporters.registry import EXPORTERS, Refused, file_name
from skeleton_io.protocols.protocol import HASHED
from skeleton_io.record.sequence import Segment, SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, MSR20, NTU25, SBU15, UTD20
from skeleton_io.record.topology import Topology
from skeleton_io.shards.shard_set import ShardSet
from skeleton_io.sources.registry import SOURCES
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import SideInfo

SMPL22 = Topology(name="smpl22", joints=JOINTS, bones=tuple((max(0, i - 3), i) for i in range(1, 22)))
RULES = {"made_up": (HASHED,)}


def clip(topology: Topology = NTU25, persons: int = 1, frames: int = 6, **fields: object) -> SkeletonSequence:
    """A figure 1.6 m tall whose joints wander a little; metres."""
    rng = np.random.default_rng(len(topology.joints))
    height = {"torso": 1.2, "head": 1.6, "arm": 1.3, "hand": 0.9, "leg": 0.5, "foot": 0.05, "other": 1.0}
    side = {"left": -0.3, "right": 0.3, "centre": 0.0}
    rows = [(side[m.side], height[m.limb] - 0.3 * m.order * (m.limb == "leg"), 3.0)
            for m in topology.meanings]  # fmt: skip
    base = np.array(rows)
    base = base + rng.normal(scale=0.02, size=base.shape)
    positions = base + rng.normal(scale=0.03, size=(frames, persons, *base.shape))
    sequence = SkeletonSequence(
        id="clip 1", dataset="made_up", topology=topology, positions=positions.astype(np.float32), fps=30.0,
        source=Source(uri="u.txt", sha256="00", reader="made", reader_version=1), label="wave",
    )  # fmt: skip
    return replace(sequence, **fields)  # type: ignore[arg-type]


def flat(frames: int = 5) -> SkeletonSequence:
    rng = np.random.default_rng(1)
    positions = rng.uniform(1, 400, (frames, 2, 17, 2)).astype(np.float32)
    positions[2, 1, 3] = np.nan
    confidence = rng.uniform(0.1, 1, (frames, 2, 17)).astype(np.float32)
    return replace(clip(COCO17), positions=positions, scale="pixels", image_size=(640, 480), confidence=confidence)


def read_bvh(text: str) -> SkeletonSequence:
    item = Item(id="x", path="x.bvh")
    return SOURCES["bvh"].read_bytes(text.encode(), item, "t", SideInfo())[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("topology", [NTU25, UTD20, MSR20, SBU15, SMPL22], ids=lambda t: t.name)
def test_bvh_kinematics_give_the_positions_back(topology: Topology):
    original = clip(topology, persons=2)
    for person in (0, 1):
        read_back = read_bvh(bvh_text(original, person))
        order = [joint for joint, _ in depth_first(topology)]
        assert read_back.positions.shape == (6, 1, len(topology.joints), 3)
        # The reader guesses the unit from the stature: the same to a factor of 1 for a figure in metres.
        assert "taken as metres" in read_back.source_transform
        np.testing.assert_allclose(read_back.positions[:, 0], original.positions[:, person][:, order], atol=1e-6)
        assert read_back.fps == 30.0


def depth_first(topology: Topology) -> list[tuple[int, int]]:
    pairs = spanning_tree(topology)
    below: dict[int, list[int]] = {}
    for joint, parent in pairs:
        below.setdefault(parent, []).append(joint)

    def walk(joint: int, parent: int) -> list[tuple[int, int]]:
        return [(joint, parent)] + [pair for child in below.get(joint, []) for pair in walk(child, joint)]

    return walk(pairs[0][0], -1)


def test_bvh_keeps_names_of_the_vocabulary():
    read_back = read_bvh(bvh_text(clip(NTU25), 0))
    assert set(read_back.topology.joints) == set(NTU25.joints)


def test_a_ring_of_bones_becomes_a_tree_and_lonely_joints_hang_from_the_root():
    ring = Topology(name="ring", joints=("a", "b", "c", "d"), bones=((0, 1), (1, 2), (0, 2)))
    assert sorted(spanning_tree(ring)) == [(0, -1), (1, 0), (2, 0), (3, 0)]
    assert len(spanning_tree(COCO17)) == 17


def test_npz_holds_every_field(tmp_path: Path):
    original = clip(
        persons=2, captions=("one", "two"), segments=(Segment(start=0.0, end=0.1, label="up"),), subject="7",
        timestamps=np.arange(6) / 7, quality={"jump_share": 0.5, "a": 0.1}, track_ids=("x", "y"), notes=("n",),
        orientations=np.ones((6, 2, 25, 4), np.float32),
    )  # fmt: skip
    original.positions[1, 0] = np.nan
    writer = EXPORTERS["npz"](str(tmp_path), RULES)
    writer.add(original, {"hashed": "train"})
    writer.finish()
    (path,) = tmp_path.glob("made_up/*.npz")
    assert path.stem.startswith("clip_1-")
    arrays = np.load(path, allow_pickle=False)
    for name in ("positions", "orientations", "timestamps"):
        assert arrays[name].tobytes() == getattr(original, name).tobytes(), name
    assert arrays["joints"].tolist() == list(NTU25.joints)
    assert [tuple(bone) for bone in arrays["bones"].tolist()] == list(NTU25.bones)
    assert (str(arrays["label"]), str(arrays["subject"]), float(arrays["fps"])) == ("wave", "7", 30.0)
    assert arrays["captions"].tolist() == ["one", "two"]
    assert (arrays["segment_times"].tolist(), arrays["segment_labels"].tolist()) == ([[0.0, 0.1]], ["up"])
    assert dict(zip(arrays["quality_names"], arrays["quality_values"], strict=True)) == original.quality
    assert arrays["sides"].tolist() == ["hashed: train"]
    assert "confidence" not in arrays


def test_pyskl_pickle_2d_and_3d(tmp_path: Path):
    writer = EXPORTERS["pyskl"](str(tmp_path), RULES)
    original, other = flat(), replace(clip(COCO17), positions=flat().positions, id="b", label="a first")
    other = replace(other, scale="pixels", image_size=(640, 480))
    writer.add(original, {"hashed": "test", "mine": "train"})
    writer.add(other, {"hashed": "train"})
    writer.finish()
    labels = json.loads((tmp_path / "made_up.labels.json").read_text())
    assert labels["labels"] == ["a first", "wave"]
    content = pickle.loads((tmp_path / "made_up.pkl").read_bytes())
    assert content["split"] == {"hashed_test": ["clip 1"], "mine_train": ["clip 1"], "hashed_train": ["b"]}
    first, second = content["annotations"]
    assert (first["label"], second["label"], first["total_frames"]) == (1, 0, 5)
    assert first["img_shape"] == (480, 640)
    pixels = np.array([640, 480], np.float32) - original.positions.transpose(1, 0, 2, 3)
    present = ~np.isnan(pixels)
    np.testing.assert_array_equal(first["keypoint"][present], pixels[present])
    assert (first["keypoint"][~present] == 0).all()
    assert first["keypoint_score"][1, 2, 3] == 0
    assert original.confidence is not None
    assert first["keypoint_score"][0, 0, 0] == original.confidence[0, 0, 0]
    assert (second["keypoint_score"][0] == 1).all()


def test_humanml3d_pair(tmp_path: Path):
    original = clip(SMPL22, frames=31, captions=("A person waves, twice.", "wave #2"))
    joints, text = humanml3d_files(original)
    assert joints.shape == (21, 22, 3)
    np.testing.assert_allclose(joints[[0, 20]], original.positions[[0, 30], 0], atol=1e-6)
    assert text.splitlines()[0] == "A person waves, twice.#a/OTHER person/OTHER waves/OTHER twice/OTHER#0.0#0.0"
    assert [line.count("#") for line in text.splitlines()] == [3, 3]
    writer = EXPORTERS["humanml3d"](str(tmp_path), RULES)
    writer.add(original, {"hashed": "test"})
    writer.finish()
    name = file_name(original)
    assert np.load(tmp_path / "made_up/new_joints" / f"{name}.npy").tobytes() == joints.tobytes()
    lists = {p.stem: p.read_text().split() for p in (tmp_path / "made_up").glob("*.txt")}
    assert lists == {"all": [name], "train": [], "val": [], "test": [name]}


@pytest.mark.parametrize(
    ("to", "bad", "reason"),
    [
        ("humanml3d", clip(NTU25), "ntu25 lacks spine2, spine3"),
        ("humanml3d", clip(SMPL22, persons=2), "2 persons"),
        ("humanml3d", clip(SMPL22, label=None), "neither a caption nor a label"),
        ("humanml3d", flat(), "2D"),
        ("bvh", flat(), "2D"),
        ("bvh", replace(clip(), scale="normalised"), "normalised, not metric"),
        ("pyskl", clip(label=None), "no label"),
        ("pyskl", replace(flat(), scale="normalised", image_size=None), "pixels in pyskl"),
    ],
)
def test_what_a_format_cannot_say_is_refused(to: str, bad: SkeletonSequence, reason: str, tmp_path: Path):
    with pytest.raises(Refused, match=reason):
        EXPORTERS[to](str(tmp_path), RULES).add(bad, {})
    assert storage.list_files(str(tmp_path)) == []


def test_bvh_refuses_gaps():
    gappy = clip()
    gappy.positions[2, 0, 5] = np.nan
    with pytest.raises(Refused, match=r"1 of 150 joints of person 1 are missing.*--fill-gaps"):
        bvh_text(gappy, 0)


def test_parquet_is_a_shard_set_of_its_own(tmp_path: Path):
    writer = EXPORTERS["parquet"](str(tmp_path), RULES)
    for number in range(3):
        writer.add(replace(clip(SBU15), id=f"c{number}"), {})
    writer.finish()
    shard_set = ShardSet.open(str(tmp_path))
    shard_set.verify()
    assert shard_set.keys == ("made_up/c0", "made_up/c1", "made_up/c2")
    assert shard_set.clip("made_up/c1").positions.tobytes() == clip(SBU15).positions.tobytes()
    assert [info.file for info in shard_set.shards] == ["made_up-00000.parquet"]


def test_file_names_are_safe_and_different():
    names = [file_name(replace(clip(), id=name)) for name in ("a/b", "a_b", "../x", "a b", ".x", "é", "A-1.2")]
    assert len(set(names)) == len(names)
    assert names[-1] == "A-1.2"
    assert not any("/" in name or name.startswith(".") for name in names)


def test_an_npz_opens_without_pickle(tmp_path: Path):
    writer = EXPORTERS["npz"](str(tmp_path), RULES)
    writer.add(replace(flat(), label=None), {})
    (path,) = tmp_path.glob("made_up/*.npz")
    arrays = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    assert arrays["image_size"].tolist() == [640, 480]
    assert "label" not in arrays
