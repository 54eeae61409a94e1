"""write_demo: same bytes from the same seed, the same split everywhere, true sides in every native frame."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from skeleton_io.demo.body import Body
from skeleton_io.demo.dataset import FORMATS, DemoConfig, write_demo
from skeleton_io.demo.formats import BROKEN, Sensor, bvh_text, coco_text, ntu_text
from skeleton_io.demo.motion import ACTIONS, Style, perform

SMALL = DemoConfig(subjects=3, test_subjects=1, repetitions=1, actions=("wave", "push"))
WAVE = next(action for action in ACTIONS if action.label == "wave")


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    write_demo(out, SMALL)
    return out


def test_same_seed_same_bytes_other_seed_other_bytes(small: Path, tmp_path: Path):
    write_demo(tmp_path / "again", SMALL)
    assert hashes(tmp_path / "again") == hashes(small)
    other = DemoConfig(seed=1, subjects=3, test_subjects=1, repetitions=1, actions=("wave", "push"))
    write_demo(tmp_path / "other", other)
    name = "demo_ntu/S001C002P001R001A901.skeleton"
    assert (tmp_path / "other" / name).read_bytes() != (small / name).read_bytes()


def test_every_file_has_a_row_and_every_subject_one_side_of_the_split(small: Path):
    protocols = {fmt: json.loads((small / fmt / "protocols.json").read_text()) for fmt in FORMATS}
    assert protocols["demo_ntu"] == protocols["demo_bvh"] == protocols["demo_coco17"]
    (protocol,) = protocols["demo_ntu"]
    assert protocol == {"name": "cross_subject", "field": "subject", "train": ["P001", "P002"], "test": ["P003"]}
    for fmt in FORMATS:
        rows = json.loads((small / fmt / "clips.json").read_text())
        stems = {path.stem for path in (small / fmt).iterdir() if path.name not in ("clips.json", "protocols.json")}
        assert stems == set(rows)
        labels = {row["label"] for row in rows.values()}
        assert labels == ({"wave"} if fmt == "demo_bvh" else {"wave", "push"})
        assert all(2 <= len(row["captions"]) <= 3 for row in rows.values())
        assert {row["subject"] for row in rows.values()} == {"P001", "P002", "P003"}


def test_default_size():
    cfg = DemoConfig()
    solo, duo = (sum(bool(getattr(action, kind)) for action in ACTIONS) for kind in ("solo", "duo"))
    per_subject = 3 * solo + 2 * duo
    assert duo >= 2
    assert 100 <= per_subject * cfg.test_subjects * cfg.test_repetitions <= 160
    assert 450 <= per_subject * (cfg.subjects - cfg.test_subjects) * cfg.repetitions <= 600


def test_second_body_is_never_from_the_other_side_of_the_split():
    from skeleton_io.demo.dataset import _takes

    first_test = 8
    for take in _takes(DemoConfig(), "demo_ntu"):
        assert take.partner != take.subject
        assert (take.partner < first_test) == (take.subject < first_test)


def raised_right_hand() -> tuple[object, int]:
    clip = perform(WAVE, (Body(),), Style(side="right"), np.random.default_rng(3))
    return clip.motions[0], len(clip.motions[0].root) // 2


def test_right_hand_of_a_person_facing_the_camera():
    motion, t = raised_right_hand()
    view = Sensor(yaw=0.0, distance=3.0, height=1.0).view(motion)
    quiet = np.random.default_rng(0)
    ntu = ntu_text([view], frozenset(), quiet).splitlines()
    frame = ntu[1 + t * 28 + 3 : 1 + t * 28 + 28]
    left, right = (np.array([float(v) for v in frame[j].split()[:3]]) for j in (6, 10))
    assert len(frame) == 25
    assert all(len(line.split()) == 12 for line in frame)
    assert right[0] > left[0] + 0.3
    assert right[1] > left[1] + 0.3
    coco = json.loads(coco_text([view], (1280, 720), 900, 0.0, 30, quiet))
    points = np.array(coco["annotations"][t]["keypoints"]).reshape(17, 3)
    assert points[10, 0] < points[9, 0] - 60
    assert points[10, 1] < points[9, 1] - 60


def bvh_joints(text: str) -> tuple[list[str], np.ndarray]:
    """An independent reader: scipy rotations, one frame at a time."""
    head, _, tail = text.partition("MOTION\n")
    rows = np.array([[float(v) for v in line.split()] for line in tail.splitlines()[2:]])
    names, parents, offsets, channels, stack = [], [], [], [], []
    for words in (line.split() for line in head.splitlines()):
        if words[0] in ("ROOT", "JOINT", "End"):
            parents.append(stack[-1] if stack else -1)
            stack.append(len(names))
            names.append(words[1])
            channels.append([])
        elif words[0] == "OFFSET":
            offsets.append(np.array(words[1:], dtype=float))
        elif words[0] == "CHANNELS":
            channels[stack[-1]] = words[2:]
        elif words[0] == "}":
            stack.pop()
    places = np.zeros((len(rows), len(names), 3))
    for t, row in enumerate(rows):
        turns, at = [], 0
        for j, parent in enumerate(parents):
            values = row[at : at + len(channels[j])]
            at += len(channels[j])
            angles = values[-3:] if channels[j] else np.zeros(3)
            local = Rotation.from_euler("ZXY", angles, degrees=True)
            turns.append(local if parent < 0 else turns[parent] * local)
            places[t, j] = values[:3] if parent < 0 else places[t, parent] + turns[parent].apply(offsets[j])
        assert at == len(row)
    return names, places / 100


def test_bvh_gives_back_the_positions_of_the_motion():
    from skeleton_io.demo.body import INDEX

    motion, t = raised_right_hand()
    names, places = bvh_joints(bvh_text(motion, 30))
    truth = motion.positions()
    pairs = {
        "Hips": "pelvis",
        "Spine1": "chest",
        "Head": "head",
        "LeftForeArm": "left_elbow",
        "RightHand": "right_wrist",
    }
    pairs |= {"LeftFoot": "left_ankle", "RightLeg": "right_knee", "RightToeBase": "right_foot", "LeftUpLeg": "left_hip"}
    for name, joint in pairs.items():
        np.testing.assert_allclose(places[:, names.index(name)], truth[:, INDEX[joint]], atol=2e-4)
    assert names.count("Site") == 5
    assert len(names) == 26
    assert places[t, names.index("RightHand"), 0] < -0.2


def test_broken_files_are_broken(small: Path):
    for fmt, kinds in BROKEN.items():
        summary = {path.name for path in (small / fmt).glob("*R90*")}
        assert len(summary) == len(kinds) == 4
    ntu = {path.name[13:16]: path.read_text() for path in (small / "demo_ntu").glob("*R90*")}
    good = next(path for path in (small / "demo_ntu").glob("*R001A901*")).read_text()
    for text in ntu.values():
        assert text != good
    assert all(set(line.split()[:3]) == {"0"} for line in ntu["904"].splitlines() if line.count(" ") == 11)
    with pytest.raises(json.JSONDecodeError):
        json.loads(next(path for path in (small / "demo_coco17").glob("*R901*")).read_text())
    rows = (
        next(path for path in (small / "demo_bvh").glob("*R904*")).read_text().split("Frame Time:")[1].splitlines()[1:]
    )
    assert all(value == "nan" for row in rows for value in row.split())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"test_subjects": 12}, "test_subjects must be in 1..11, found 12"),
        ({"repetitions": 0}, "repetitions must be at least 1"),
        ({"actions": ("fly",)}, "unknown actions"),
    ],
)
def test_wrong_configuration_is_refused(wrong: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        DemoConfig(**wrong)
