"""Captions and labels joined to motions: each file's form, which motion is meant, text-only sets, the real sets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.exporters.registry import EXPORTERS
from skeleton_io.protocols.protocol import HASHED
from skeleton_io.record.sequence import Segment, SkeletonSequence
from skeleton_io.sources.detection import choose
from skeleton_io.sources.registry import SOURCES, candidates, detect_source

ASSETS = Path(__file__).resolve().parents[4] / "assets"


def read_bvh(root: Path) -> dict[str, SkeletonSequence]:
    source = SOURCES["bvh"]
    return {item.path: source.read(str(root), item, "lab")[0] for item in source.list_items(str(root))}


@pytest.fixture
def motions(tmp_path: Path) -> Path:
    for path in ("CMU/13/13_18_poses.bvh", "KIT/3/kick_poses.bvh", "KIT/4/kick_poses.bvh"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ASSETS / "bvh/turn.bvh", tmp_path / path)
    return tmp_path


def kit(path: str, *texts: tuple[str, float, float]) -> dict[str, object]:
    annotations = [{"seg_id": "x", "text": text, "start": start, "end": end} for text, start, end in texts]
    return {"path": path, "duration": 4.0, "annotations": annotations}


def test_kit_ml(motions: Path):
    entries = {
        "1": kit("CMU/13/13_18_poses", ("A person turns.", 0, 4), ("The left arm\n rises", 1, 2.5)),
        "2": kit("M/CMU/13/13_18_poses", ("mirrored", 0, 4)),
        "3": kit("CMU/13/13_18_poses", ("somebody turns", 0, 3.99), ("A person turns.", 0, 4)),
        "4": kit("KIT/3/kick_poses", ("a kick", 0, 4)),
    }
    (motions / "annotations.json").write_text(json.dumps(entries))
    assert SOURCES["bvh"].list_companions(str(motions)) == ["annotations.json"]
    clips = read_bvh(motions)
    one = clips["CMU/13/13_18_poses.bvh"]
    assert one.captions == ("A person turns.", "somebody turns")
    assert one.segments == (Segment(start=1.0, end=2.5, label="The left arm rises"),)
    assert clips["KIT/3/kick_poses.bvh"].captions == ("a kick",)


def test_a_name_that_several_motions_have_joins_none(motions: Path):
    shutil.move(motions / "KIT/3/kick_poses.bvh", motions / "kick_poses.bvh")
    entries = {"1": kit("A/1/kick_poses", ("one", 0, 4)), "2": kit("B/2/kick_poses", ("two", 0, 4))}
    (motions / "annotations.json").write_text(json.dumps(entries))
    clip = read_bvh(motions)["kick_poses.bvh"]
    assert clip.captions == ()
    assert clip.notes == ("annotations.json: 2 motions have this name; none is joined",)


def test_babel(motions: Path):
    def labels(*clips: dict[str, object]) -> dict[str, object]:
        return {"labels": list(clips)}

    walk = {"raw_label": "Walk slowly", "proc_label": "walk", "act_cat": ["walk"]}
    step = {"raw_label": "a step", "proc_label": "step", "act_cat": ["step"], "start_t": 0.5, "end_t": 1}
    train = {
        "1": {"feat_p": "CMU/CMU/13/13_18_poses.npz", "dur": 4, "seq_ann": labels(walk), "frame_ann": None},
        "2": {"feat_p": "KIT/KIT/3/kick_poses.npz", "dur": 4, "seq_ann": labels(walk), "frame_ann": labels(step)},
    }
    extra = {"3": {"feat_p": "KIT/KIT/4/kick_poses.npz", "dur": 4, "seq_anns": [labels(walk), labels()],
                   "frame_anns": None}}  # fmt: skip
    (motions / "train.json").write_text(json.dumps(train))
    (motions / "extra_val.json").write_text(json.dumps(extra))
    clips = read_bvh(motions)
    assert [(clip.label, clip.captions, clip.segments) for clip in clips.values()] == [
        ("walk", ("Walk slowly",), ()),
        (None, ("Walk slowly",), (Segment(start=0.5, end=1.0, label="step"),)),
        ("walk", ("Walk slowly",), ()),
    ]


def test_cmu_tables_and_what_the_clips_say_themselves(motions: Path):
    (motions / "descriptions.tsv").write_text("13_18\tTurn_around, wave\nkick\ta kick\n")
    (motions / "kit_captions.tsv").write_text("13_18\t007\twhole\t0\t9.5\n13_18\t007\tpart\t2\t3\n")
    (motions / "clips.json").write_text(json.dumps({"13_18_poses": {"label": "own"}}))
    clip = read_bvh(motions)["CMU/13/13_18_poses.bvh"]
    assert (clip.label, clip.captions) == ("own", ("Turn_around, wave", "whole"))
    assert clip.segments == (Segment(start=2.0, end=3.0, label="part"),)


def test_aalto(motions: Path):
    shutil.copy(ASSETS / "bvh/turn.bvh", motions / "k_walk_slow_k_run_fast_100_000.bvh")
    shutil.copy(ASSETS / "bvh/turn.bvh", motions / "k_walk_slow_k_run_fast_050_050.bvh")
    shutil.copy(ASSETS / "texts/answers.csv", motions)
    clips = read_bvh(motions)
    clip = clips["k_walk_slow_k_run_fast_100_000.bvh"]
    assert (clip.label, clip.subject, clip.setup) == ("walk", "k", "slow")
    assert clip.captions == ("strolling slowly", "wandering")
    assert clips["k_walk_slow_k_run_fast_050_050.bvh"].label is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("annotations.json", '{"1": {"path": 3, "annotations": []}}'),
        ("annotations.json", '{"path": "annotations", "annotations": ' + "[" * 100_000),
        ("annotations.json", json.dumps({"1": kit("CMU/13/13_18", ("x", 3, 2))})),
        ("train.json", '{"1": {"feat_p": "a", "seq_ann": {"x": 1}}}'),
        ("descriptions.tsv", "a\tb\tc\n"),
        ("kit_captions.tsv", "a\tb\tc\tx\ty\n"),
        ("answers.csv", "survey_language,motion\n1,2\n"),
    ],
)
def test_broken_caption_files_are_named(motions: Path, name: str, content: str):
    (motions / name).write_text(content)
    with pytest.raises(SkeletonFormatError, match=name):
        read_bvh(motions)


def test_other_files_of_these_names_are_left_alone(motions: Path):
    (motions / "annotations.json").write_text('{"images": []}')
    (motions / "train.json").write_text("[1, 2")
    assert all(clip.captions == () for clip in read_bvh(motions).values())


def test_words_alone_are_refused_and_words_beside_motions_are_not(
    motions: Path, tmp_path_factory: pytest.TempPathFactory
):
    alone = tmp_path_factory.mktemp("alone")
    (alone / "annotations.json").write_text(json.dumps({"1": kit("A/kick_poses", ("one", 0, 4))}))
    shutil.copytree(ASSETS / "humanml3d/texts", alone / "texts")
    source = detect_source(str(alone))
    assert source is SOURCES["texts"]
    assert source is not None
    for item in source.list_items(str(alone)):
        with pytest.raises(SkeletonFormatError, match="and no motion"):
            source.read(str(alone), item, "kit")
    shutil.copy(alone / "annotations.json", motions)
    best, rivals = choose(candidates(str(motions)))
    assert best is not None
    assert (best.source.name, rivals) == ("bvh", [])


def test_humanml3d_there_and_back(tmp_path: Path):
    source, root = SOURCES["humanml3d"], str(ASSETS / "humanml3d")
    assert detect_source(root) is source
    (item,) = source.list_items(root)
    (clip,) = source.read(root, item, "humanml3d")
    assert (clip.id, clip.fps, clip.topology.name, clip.positions.shape) == ("000007", 20.0, "smpl22", (4, 1, 22, 3))
    assert clip.captions == ("a person glides ahead and lifts the right hand.",)
    assert clip.segments == (Segment(start=0.05, end=0.15, label="the hand goes up"),)
    writer = EXPORTERS["humanml3d"](str(tmp_path), {"humanml3d": (HASHED,)})
    writer.add(clip, {"hashed": "test"})
    writer.finish()
    (again,) = source.list_items(str(tmp_path))
    (back,) = source.read(str(tmp_path), again, "humanml3d")
    assert back.positions.tobytes() == clip.positions.tobytes()
    assert (back.captions, back.segments, back.fps) == (clip.captions, clip.segments, clip.fps)


@pytest.mark.parametrize(
    ("array", "text", "message"),
    [
        (np.zeros((3, 21, 3), np.float32), "", r"\(T, 22, 3\)"),
        (np.zeros((0, 22, 3), np.float32), "", r"\(T, 22, 3\)"),
        (np.full((2, 22, 3), np.inf), "", "infinite"),
        (np.ones((2, 22, 3)), "a#b#0.0\n", "line 1"),
        (np.ones((2, 22, 3)), "a#b#x#0.0\n", "line 1"),
        (np.ones((2, 22, 3)), "a#b#0.0#0.0\na#b#2#1\n", "line 2"),
    ],
)
def test_broken_humanml3d(tmp_path: Path, array: np.ndarray, text: str, message: str):
    for folder in ("new_joints", "texts"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "new_joints/1.npy", array)
    (tmp_path / "texts/1.txt").write_text(text)
    (item,) = SOURCES["humanml3d"].list_items(str(tmp_path))
    with pytest.raises(SkeletonFormatError, match=message):
        SOURCES["humanml3d"].read(str(tmp_path), item, "h")


@pytest.mark.parametrize(
    ("folder", "name", "count", "captioned", "labels"),
    [
        ("aalto_words", "bvh", 24, 24, {"walk", "run", "limp"}),
        ("cmu_asfamc", "asf_amc", 12, 12, None),
        ("humanml3d_meta", "humanml3d", 2, 1, {None}),
    ],
)
def test_real_sets(
    shared_data: Path, folder: str, name: str, count: int, captioned: int, labels: set[str | None] | None
):
    root = str(shared_data / "data" / folder)
    best, rivals = choose(candidates(root))
    assert best is not None
    assert (best.source.name, rivals) == (name, [])
    source = SOURCES[name]
    clips = {item.id: source.read(root, item, folder)[0] for item in source.list_items(root)}
    assert len(clips) == count
    assert sum(bool(clip.captions) for clip in clips.values()) == captioned
    if labels:
        assert {clip.label for clip in clips.values()} == labels
    if folder == "cmu_asfamc":
        assert clips["02_06"].captions[1].startswith("A person repeatedly picks")
        assert clips["02_01"].label == "walk"


def test_real_texts_alone_are_refused(shared_data: Path):
    root = str(shared_data / "data/kit_ml_text")
    source = detect_source(root)
    assert source is not None
    assert source.name == "texts"
    (item,) = source.list_items(root)
    with pytest.raises(SkeletonFormatError, match="texts about 5766 motions and no motion"):
        source.read(root, item, "kit")


def test_texts_beside_motions_do_not_hide_them(tmp_path: Path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "new_joints").mkdir()
    (tmp_path / "texts/000001.txt").write_text("a person waves.#a/DET person/NOUN wave/VERB#0.0#0.0\n")
    source = detect_source(str(tmp_path))
    assert source is not None
    assert source.name != "humanml3d"
    np.save(tmp_path / "new_joints/000001.npy", np.ones((3, 22, 3), np.float32))
    assert detect_source(str(tmp_path)) is SOURCES["humanml3d"]
