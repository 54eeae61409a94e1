"""The stage table end to end, in one process with a tiny model: mixes, captions without labels, confusions, starts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.config import loading
from pipelines.config.loading import check_config
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.exports import start_points
from pipelines.exports.start_points import check_starts
from pipelines.exports.store import load_model
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from pipelines.scores.rows import read_rows as read_scores
from pipelines.trainer.context import LocalContext
from pipelines.trainer.telemetry.metrics_log import read_rows
from pipelines.training import stage as training
from pipelines.training import tiny_mllm
from pipelines.training.confusions import mine_confusions
from pipelines.training.keys import finished_stages, stage_key
from pipelines.training.loop import StageLoop
from pipelines.training.stage_data import labelled_keys
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import SBU15, SMPL22
from skeleton_io.shards import shard_set
from skeleton_io.shards.schema import to_row

LABELS = ("clap", "kick", "sit down", "wave")
RULE = Protocol(name="people", field="subject", train=("1",), test=("2",))
SIZES = {"vision_width": 32, "vision_layers": 1, "llm_width": 32, "llm_layers": 1, "heads": 2}
ALL = {"trains": ["renderer", "vision", "projector", "llm"]}
ALL["learning_rate"] = dict.fromkeys(ALL["trains"], 1e-3)  # type: ignore[assignment]


def clip(name: str, number: int, label: str | None, captions: Sequence[str] = ()) -> SkeletonSequence:
    topology = SMPL22 if name == "text" else SBU15
    rng = np.random.default_rng(number)
    moving = np.cumsum(rng.normal(size=(12, 1, len(topology.joints), 3)) * 0.03, axis=0)
    return SkeletonSequence(
        id=f"c{number:02d}",
        dataset=name,
        topology=topology,
        positions=(moving + rng.normal(size=moving.shape[2:]) * 0.4).astype(np.float32),
        fps=20,
        source=Source(uri=f"{number}.txt", sha256="00", reader="made", reader_version=1),
        label=label,
        captions=tuple(captions),
        subject="2" if number % 4 == 3 else "1",
    )


def table(*rows: dict[str, Any], **shared: Any) -> FullConfig:
    """Rows of stages that train everything for one epoch, unless they say otherwise."""
    plain = {
        "data": {"validation_share": 0.1},
        "renderer": {"frames": 2, "image_size": 64, "samples_per_bone": 2},
        "mllm": {"tiny": SIZES},
        "train": {"global_batch": 8, "workers": 1, "validate_clips": 4, **shared},
    }
    plain["train"]["stages"] = [{"name": str(n), **ALL, **row} for n, row in enumerate(rows, 1)]
    cfg = loading.decode(plain, "test")
    check_config(cfg, "test")
    return cfg


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A run with a labelled set and one that has captions only, and a tiny model."""
    found = RunPaths(str(tmp_path_factory.mktemp("stages") / "run"))
    sets = {
        "acts": [clip("acts", n, LABELS[n // 4 % 4]) for n in range(32)],
        "text": [clip("text", 100 + n, None, ["a person moves the arms"]) for n in range(12)],
    }
    infos = [
        shard_set.write_shard(shard_set.shard_uri(found.shards, name, 0), [to_row(seq) for seq in clips])
        for name, clips in sets.items()
    ]
    counts = {name: len(clips) for name, clips in sets.items()}
    shard_set.write_index(found.shards, infos, [SBU15, SMPL22], {name: [RULE] for name in sets}, [], counts)
    cfg, store = table({"tasks": {"mqa": 1, "caption": 1, "qa": 1}}), ClipStore(found.shards)
    texts = tiny_mllm.free_texts(cfg, store, select(cfg, store))
    assert "a person moves the arms" in texts
    tiny_mllm.run(cfg, found)
    return found


def elsewhere(paths: RunPaths, folder: Path) -> RunPaths:
    """Another run over the same shards and tiny model."""
    root = folder / "run"
    root.mkdir()
    for name in ("shards", "mllm"):
        (root / name).symlink_to(Path(paths.root) / name)
    return RunPaths(str(root))


@pytest.fixture(scope="module")
def trained(paths: RunPaths) -> tuple[FullConfig, dict[str, Any]]:
    """Stages 1, 2 and 4 of a joint captioning table, with the model's own confusions."""
    cfg = table(
        {"tasks": {"mqa": 1, "caption": 1}},
        {"tasks": {"yesno": 1, "caption": 1, "qa": 1}, "steps": 3, "loss_weights": {"caption": 0.5}},
        {"tasks": {"mqa": 1, "caption": 1}, "trains": ["projector", "llm"]},
        negatives={"miner": "confusions", "confusion_clips": 10},
        class_temperature=0.0,
    )
    return cfg, training.train_local(cfg, paths)


def test_a_joint_table_trains_on_labels_and_captions(paths: RunPaths, trained: tuple[FullConfig, dict]) -> None:
    _, summary = trained
    first, second, last = summary["stages"]
    # 24 labelled clips and 9 without a label are on the training side, a tenth of each validates.
    assert first["training_clips"] == 22 + 8
    assert first["left_out"] == 0
    assert second["steps"] == 3
    assert last["renderer_change"] == 0
    for stage in (first, second, last):
        rows = read_rows(f"{paths.train}/{stage['name']}")
        losses = {key for row in rows for key in row if key.startswith("loss/")}
        assert losses == {f"loss/{task}" for task in stage["tasks"]}
        moved = {key: sum(row.get(f"fallback/{key}", 0) for row in rows) for key in stage["tasks"]}
        assert stage["fallbacks"] == {key: count for key, count in moved.items() if count}
    # Every clip of one set has material for one of the two tasks only, so about half of the draws move.
    assert 5 <= sum(first["fallbacks"].values()) <= 25
    _, _, labels = load_model(summary["export"])
    assert labels == {"acts": LABELS, "text": ()}


def test_a_finished_table_is_recognised_and_another_is_not(paths: RunPaths, trained: tuple[FullConfig, dict]) -> None:
    cfg, summary = trained
    assert training.train_local(cfg, paths) == summary
    assert len(finished_stages(cfg, paths)) == 3
    # Negatives decide stage 2 and what comes after it, and nothing else.
    other = replace(cfg, train=replace(cfg.train, negatives=replace(cfg.train.negatives, hardest=2)))
    assert len(finished_stages(other, paths)) == 1


def test_confusions_come_from_training_clips_and_are_kept(paths: RunPaths, trained: tuple[FullConfig, dict]) -> None:
    cfg, _ = trained
    file = Path(paths.train) / "2" / "negatives.json"
    held = json.loads(file.read_text())
    told, found = held["provenance"], held["sets"]["acts"]
    assert (told["miner"], told["clips"]) == ("confusions", 10)
    assert told["model"] == f"{paths.train}/1/export"
    assert told["stage_key"] == stage_key(cfg, paths, cfg.train.stages[1], told["model"], ())
    assert set(found) == set(LABELS)
    for label, row in found.items():
        assert set(row) == set(LABELS) - {label}
        assert sum(row.values()) == pytest.approx(1)
    assert held["sets"]["text"] == {}
    # A stage that goes on asks what it asked before: the file is not made anew.
    job = training.make_job(cfg, paths, cfg.train.stages[1], told["model"], f"{paths.train}/2", ())
    before = file.stat().st_mtime_ns
    training.mine_negatives(job, told["stage_key"], local=True)
    assert file.stat().st_mtime_ns == before


def test_a_stage_that_is_broken_off_goes_on_exactly(
    paths: RunPaths, trained: tuple[FullConfig, dict], tmp_path: Path
) -> None:
    cfg, _ = trained
    job = training.make_job(cfg, paths, cfg.train.stages[1], f"{paths.train}/1/export", f"{tmp_path}/out", ())
    Path(job.out).mkdir()
    shutil.copy(f"{paths.train}/2/negatives.json", job.out)
    job = replace(job, deepspeed=False, checkpoints=f"{tmp_path}/checkpoints")
    for until in (1, 2, None):
        loop = StageLoop(job, LocalContext())
        loop.run(until)
        loop.save({})
        loop.checkpoints.close()
        assert loop.log is not None
        loop.log.close()
    whole, parts = (
        [{k: v for k, v in row.items() if k.startswith(("loss", "fallback", "objective"))} for row in read_rows(place)]
        for place in (f"{paths.train}/2", job.out)
    )
    assert parts == whole


@pytest.mark.usefixtures("ray_session")
def test_confusions_are_the_same_on_ray(paths: RunPaths, trained: tuple[FullConfig, dict], tmp_path: Path) -> None:
    cfg, _ = trained
    job = training.make_job(cfg, paths, cfg.train.stages[1], f"{paths.train}/1/export", str(tmp_path), ())
    store = ClipStore(paths.shards)
    keys, labels = labelled_keys(job, select(cfg, store)), store.labels()
    (one, few), (two, _) = (
        mine_confusions(job, keys, labels, str(tmp_path / "rows"), local=local) for local in (True, False)
    )
    assert few == 10
    assert set(one["acts"]) <= set(LABELS)
    for label, row in one["acts"].items():
        assert two["acts"][label] == pytest.approx(row, rel=1e-4)
        assert 0 < sum(row.values()) < 1
    scored = {row["key"] for row in read_scores(str(tmp_path / "rows")).to_pylist()}
    assert scored <= set(keys["acts"])
    assert not scored & set(select(cfg, store).test["acts"])


def test_a_stage_starts_from_any_model(paths: RunPaths, trained: tuple[FullConfig, dict], tmp_path: Path) -> None:
    other = elsewhere(paths, tmp_path)
    short = {"tasks": {"mqa": 1}, "steps": 1}
    rows = [
        short | {"start": f"{paths.train}/1"},  # a stage's folder
        short | {"start": f"{paths.train}/1/export"},
        short | {"start": "fresh"},
        short,
        short | {"start": "1"},
    ]
    cfg = table(*rows)
    assert [start_points.start_of(cfg, other, n) for n in range(5)] == [
        f"{paths.train}/1/export",
        f"{paths.train}/1/export",
        None,
        f"{other.train}/3/export",
        f"{other.train}/1/export",
    ]
    summary = training.train_local(cfg, other)
    losses = [read_rows(f"{other.train}/{n}")[0]["loss"] for n in range(1, 6)]
    fresh = read_rows(f"{paths.train}/1")[0]["loss"]
    assert losses[2] > losses[0]  # the model had learnt something
    assert losses[2] == pytest.approx(fresh, rel=0.3)
    # Names of folders are no part of a key: the same model by another path, the same result.
    keys = [stage_key(cfg, other, replace(cfg.train.stages[0], start=s), f"{paths.train}/1/export", ())
            for s in (rows[0]["start"], rows[1]["start"])]  # fmt: skip
    assert keys[0] == keys[1]
    assert load_model(summary["export"])[2] == {"acts": LABELS, "text": ()}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere/at/all", "stage 1: start .*nowhere/at/all: no such folder"),
        ("mllm", "a checkpoint of a multimodal LLM alone; set mllm.path"),
        ("half", "a training stage that is not finished"),
        ("shards", "neither a run"),
    ],
)
def test_a_start_that_is_none_is_told_before_anything_runs(paths: RunPaths, place: str, message: str) -> None:
    (Path(paths.root) / "half" / "checkpoints").mkdir(parents=True, exist_ok=True)
    cfg = table({"tasks": {"mqa": 1}, "start": f"{paths.root}/{place}"})
    with pytest.raises(UserError, match=message):
        training.train_local(cfg, paths)


def test_another_renderer_is_refused_or_told(
    paths: RunPaths, trained: tuple[FullConfig, dict], capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = table({"tasks": {"mqa": 1}, "start": f"{paths.train}/1"})
    with pytest.raises(UserError, match=r"holds a renderer of kind draction, renderer\.kind is stick"):
        check_starts(replace(cfg, renderer=replace(cfg.renderer, kind="stick")))
    check_starts(cfg)
    assert "begins anew" not in capsys.readouterr().out
    check_starts(replace(cfg, renderer=replace(cfg.renderer, feature_dim=5, gru=True)))
    assert "another renderer.feature_dim, renderer.gru; what does not fit begins anew" in capsys.readouterr().out


def test_loss_weights_scale_the_objective_of_their_task(paths: RunPaths, tmp_path: Path) -> None:
    other, found = elsewhere(paths, tmp_path), []
    for weights in ({}, {"mqa": 3.0}, {"mqa": 3.0, "caption": 3.0}):
        cfg = table({"tasks": {"mqa": 1, "caption": 1}, "steps": 1, "loss_weights": weights})
        training.train_local(cfg, other)
        found += read_rows(f"{other.train}/1")
    plain, heavy, all_heavy = found
    assert plain["objective"] == pytest.approx(plain["loss"])
    assert plain["loss"] == pytest.approx(heavy["loss"])
    assert all_heavy["objective"] == pytest.approx(3 * plain["objective"])
    assert plain["objective"] < heavy["objective"] < all_heavy["objective"]


def test_captions_alone(paths: RunPaths, tmp_path: Path) -> None:
    cfg = table({"tasks": {"caption": 1}, "steps": 2}, sets=["text"])
    (stage,) = training.train_local(cfg, elsewhere(paths, tmp_path))["stages"]
    assert stage["training_clips"] == 8
    assert stage["validation_accuracy"] is None
    (tmp_path / "two").mkdir()
    other = elsewhere(paths, tmp_path / "two")
    with pytest.raises(UserError, match="no training clip of text has what mqa needs"):
        training.train_local(table({"tasks": {"mqa": 1}}, sets=["text"]), other)
