"""leakage: every kind of leak is planted and found, with its place; a clean run passes; the stages ask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.config.evaluation import TransferConfig
from pipelines.config.loading import decode
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import Selection, select
from pipelines.evaluation import stage as evaluation
from pipelines.leakage import of_run as leakage
from pipelines.leakage.of_run import (
    find_clip_leaks,
    find_label_leaks,
    find_leaks,
    find_model_leaks,
    find_negative_leaks,
    find_prompt_leaks,
    find_rationale_leaks,
    refuse_or_report,
)
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from pipelines.studies import transfer
from pipelines.training import stage as training
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import SBU15
from skeleton_io.shards import shard_set
from skeleton_io.shards.schema import to_row

SEEN, UNSEEN = ("clapping", "put on jacket", "throw up cap or hat"), ("sit down", "throw")
RULE = Protocol(name="people", field="subject", train=("1",), test=("2",))
ZERO = Protocol(name="zero", field="subject", train=("1",), test=("2",), unseen=UNSEEN)
HIDDEN = {"sit down": "'sit down', unseen in a", "throw": "'throw', unseen in a"}


def clip(dataset: str, number: int, label: str, subject: str, content: int) -> SkeletonSequence:
    return SkeletonSequence(
        id=f"c{number:02d}",
        dataset=dataset,
        topology=SBU15,
        positions=np.random.default_rng(content).normal(size=(4, 1, 15, 3)).astype(np.float32),
        fps=30,
        source=Source(uri=f"{number}.txt", sha256="00", reader="made", reader_version=1),
        label=label,
        subject=subject,
    )


def write(root: Path, sets: dict[str, list[SkeletonSequence]], rule: Protocol) -> RunPaths:
    paths = RunPaths(str(root))
    infos = [
        shard_set.write_shard(shard_set.shard_uri(paths.shards, name, 0), [to_row(seq) for seq in clips])
        for name, clips in sets.items()
    ]
    counts = {name: len(clips) for name, clips in sets.items()}
    shard_set.write_index(paths.shards, infos, [SBU15], {name: [rule] for name in sets}, [], counts)
    return paths


def many(dataset: str = "a", labels: Sequence[str] = (*SEEN, *UNSEEN), first: int = 0) -> list[SkeletonSequence]:
    """Every label with both subjects, twice; all recordings differ."""
    pairs = [(label, subject) for label in labels for subject in ("1", "2")] * 2
    return [clip(dataset, n, label, subject, first + n) for n, (label, subject) in enumerate(pairs)]


def config(protocol: str = "", **tasks: float) -> FullConfig:
    stage = {"name": "1", "tasks": tasks or {"mqa": 1}, "trains": ["renderer"], "learning_rate": {"renderer": 1e-3}}
    plain = {"train": {"stages": [stage]}, "data": {"validation_share": 0.3}}
    cfg = decode(plain, "test")
    return replace(cfg, data=replace(cfg.data, protocols={"a": protocol})) if protocol else cfg


def kinds(findings: Sequence[leakage.Finding]) -> set[str]:
    return {finding.kind for finding in findings}


@pytest.mark.parametrize("rule", [RULE, ZERO])
def test_a_clean_run_passes(tmp_path: Path, rule: Protocol) -> None:
    paths = write(tmp_path, {"a": many(), "b": many("b", SEEN, first=100)}, RULE)
    text = tmp_path / "rule.json"
    text.write_text(json.dumps(rule.to_json()))
    cfg = config(str(text), mqa=1, yesno=1, rationale=1)
    assert find_leaks(cfg, paths) == []
    leakage.check_run(cfg, paths)
    leakage.check_transfer(cfg, paths, "a", "b")


def test_the_same_recording_under_two_names_is_found(tmp_path: Path) -> None:
    clips = many()
    twin = clip("a", 90, SEEN[0], "2", content=0)  # the content of c00, which trains
    paths = write(tmp_path, {"a": [*clips, twin]}, RULE)
    cfg = replace(config(), data=replace(config().data, validation_share=0.0))
    (found,) = find_leaks(cfg, paths)
    assert found.kind == "recording"
    assert found.place == "training clips of a"
    assert found.what == "clip a/c00 is the same recording as a/c90 among the test clips of a"
    with pytest.raises(UserError, match=r"leakage: .*training clips of a: clip a/c00.*a/c90"):
        leakage.check_run(cfg, paths)


def test_known_repeats_can_be_told_instead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write(tmp_path, {"a": [*many(), clip("a", 90, SEEN[0], "2", content=0)]}, RULE)
    cfg = replace(config(), data=replace(config().data, validation_share=0.0, repeats="report"))
    leakage.check_run(cfg, paths)
    assert "1 clips train and test under two names" in capsys.readouterr().out
    with pytest.raises(UserError, match="place: x"):  # nothing else is let through
        refuse_or_report(cfg, [leakage.Finding("clip", "place", "x")])


def test_a_recording_in_two_sets_is_found_only_where_both_take_part(tmp_path: Path) -> None:
    other = many("b", SEEN, first=100)
    twin = clip("b", 90, SEEN[0], "2", content=0)
    paths = write(tmp_path, {"a": many(), "b": [*other, twin]}, RULE)
    assert kinds(find_leaks(config(), paths)) == {"recording"}
    alone = config()
    assert find_leaks(replace(alone, train=replace(alone.train, sets=("a",))), paths) == []
    with pytest.raises(UserError, match=r"clip a/c00 is the same recording as b/c90 among the transfer test on b"):
        leakage.check_transfer(config(), paths, "a", "b")


def test_validation_of_tune_must_not_meet_the_test() -> None:
    selection = Selection({"a": ("a/1",)}, {"a": ("a/2",)}, {"a": ("a/2", "a/3")}, {"a": SEEN}, {"a": ()})
    (found,) = find_clip_leaks(selection, ["a"], {})
    assert (found.kind, found.place) == ("clip", "validation clips of a (model selection, Tune)")
    assert found.what == "clip a/2 is among the test clips of a too"
    same = replace(selection, validation={"a": ("a/9",)})
    (found,) = find_clip_leaks(same, ["a"], {"a/9": "x", "a/3": "x", "a/1": "y"})
    assert found.kind == "recording"
    assert find_clip_leaks(same, ["a"], {}) == []
    both = replace(selection, train={"a": ("a/1", "a/5")}, validation={"a": ("a/5",)})
    assert [f.what for f in find_clip_leaks(both, ["a"], {})] == [
        "clip a/5 is among the validation clips of a (model selection, Tune) too"
    ]


@pytest.mark.parametrize("part", ["train", "validation"])
def test_clips_of_an_unseen_class_are_found(part: str) -> None:
    selection = Selection({"a": ("a/1",)}, {"a": ("a/2",)}, {"a": ("a/3",)}, {"a": SEEN}, {"a": UNSEEN})
    labels = {"a/1": SEEN[0], "a/2": SEEN[1], "a/3": UNSEEN[0], "a/4": UNSEEN[1]}
    assert find_label_leaks(selection, ["a"], labels, HIDDEN) == []
    leaky = replace(selection, **{part: {"a": ("a/1", "a/4")}})
    (found,) = find_label_leaks(leaky, ["a"], labels, HIDDEN)
    assert found.what == "clip a/4 is of 'throw', unseen in a"
    assert ("Tune" in found.place) == (part == "validation")


def test_a_class_hidden_in_one_set_must_not_train_in_another(tmp_path: Path) -> None:
    rule = tmp_path / "rule.json"
    rule.write_text(json.dumps(ZERO.to_json()))
    paths = write(tmp_path, {"a": many(), "b": many("b", (*SEEN, "sit down"), first=100)}, RULE)
    found = find_leaks(config(str(rule), mqa=1, yesno=1), paths)
    assert kinds(found) == {"label", "prompt", "negative"}
    assert all("'sit down', unseen in a" in finding.what for finding in found)
    assert {finding.place for finding in found} >= {"multiple choice of b", "yes/no negatives of b"}
    alone = config(str(rule), mqa=1, yesno=1)
    assert find_leaks(replace(alone, train=replace(alone.train, sets=("a",))), paths) == []


def test_an_unseen_candidate_in_a_prompt_is_found() -> None:
    assert find_prompt_leaks({"a": SEEN}, HIDDEN) == []
    (found,) = find_prompt_leaks({"a": (*SEEN, "sit down")}, HIDDEN)
    assert (found.place, found.what) == ("multiple choice of a", "names 'sit down', unseen in a")


def test_an_unseen_negative_is_found() -> None:
    clean = {label: {other: 0.5 for other in SEEN if other != label} for label in SEEN}
    assert find_negative_leaks({"a": clean}, HIDDEN) == []
    (found,) = find_negative_leaks({"a": clean | {"throw": {SEEN[0]: 1.0}}}, HIDDEN)
    assert (found.place, found.what) == ("yes/no negatives of a", "ask about 'throw', unseen in a")
    (found,) = find_negative_leaks({"a": clean | {SEEN[1]: {"Sit down": 1.0}}}, HIDDEN)
    assert "'sit down'" in found.what


def test_a_stage_that_starts_from_a_model_that_saw_the_class_is_found(tmp_path: Path) -> None:
    rule, export = tmp_path / "rule.json", tmp_path / "other/train/1/export"
    rule.write_text(json.dumps(ZERO.to_json()))
    export.mkdir(parents=True)
    for name in ("config.yaml", "renderer.safetensors"):
        (export / name).write_text("")
    (export / "labels.json").write_text(json.dumps({"z": ["throw"]}))
    paths, cfg = write(tmp_path / "run", {"a": many()}, RULE), config(str(rule), mqa=1)
    stages = tuple(replace(stage, start=str(export.parent)) for stage in cfg.train.stages)
    (found,) = find_leaks(replace(cfg, train=replace(cfg.train, stages=stages)), paths)
    assert (found.kind, found.what) == ("model", "was trained on 'throw', unseen in a")


def test_a_test_recording_among_the_clips_without_a_label_is_found(tmp_path: Path) -> None:
    free = [replace(clip("b", n, "", "1", 200 + n), label=None) for n in range(4)]
    twin = replace(clip("b", 9, "", "1", content=1), label=None)  # content 1 is a test recording of a
    paths = write(tmp_path, {"a": many(), "b": [*free, twin]}, RULE)
    assert kinds(find_leaks(config(), paths)) == {"recording"}


def test_rationales_that_name_an_unseen_class_are_found() -> None:
    clean = {"a/1": "The right hand throws the cap up. Throw up cap or hat", "a/2": "The hands meet.", "z/1": "throw"}
    assert find_rationale_leaks(clean, {"a": SEEN}, HIDDEN) == []
    texts = {"a/1": "As in a throw, the arm swings.", "a/2": "The person sits down.", "a/3": "He sat."}
    found = find_rationale_leaks(texts, {"a": SEEN}, HIDDEN)
    assert [(f.place, f.what) for f in found] == [
        ("rationale of a/1", "names 'throw', unseen in a"),
        ("rationale of a/2", "names 'sit down', unseen in a"),
    ]


def test_rationales_of_a_run_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path, {"a": many()}, ZERO)
    learnt = select(config(), ClipStore(paths.shards)).train["a"][0]
    monkeypatch.setattr(leakage, "load_rationales", lambda uri: {learnt: "Like to sit down.", "a/c99": "throw"})
    assert find_leaks(config(mqa=1), paths) == []  # no stage learns from them
    (found,) = find_leaks(config(mqa=1, rationale=1), paths)
    assert (found.kind, found.place) == ("rationale", f"rationale of {learnt}")


def test_a_model_that_saw_the_class_is_found(tmp_path: Path) -> None:
    (tmp_path / "mllm").mkdir()
    assert find_model_leaks(str(tmp_path / "mllm"), HIDDEN) == []
    (tmp_path / "labels.json").write_text(json.dumps({"b": ["Throw", "clapping"]}))
    (found,) = find_model_leaks(str(tmp_path / "mllm"), HIDDEN)
    assert found.what == "was trained on 'throw', unseen in a"
    assert find_model_leaks("owner/model", HIDDEN) == []


def test_train_evaluate_and_transfer_are_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = clip("b", 90, SEEN[0], "2", content=0)
    paths = write(tmp_path, {"a": many(), "b": [*many("b", SEEN, first=100), twin]}, RULE)
    cfg = config()
    pair = TransferConfig(train="a", test="b")
    cfg = replace(cfg, evaluate=replace(cfg.evaluate, transfer=(pair,)))
    monkeypatch.setattr(evaluation, "find_trained_model", lambda *_: ("nowhere", "key"))
    for stage in (training, evaluation, transfer):
        with pytest.raises(UserError, match=r"leakage: .*a/c00 is the same recording as b/c90"):
            stage.run(cfg, paths)


def test_many_findings_are_counted() -> None:
    found = [leakage.Finding("clip", f"place {n}", "x") for n in range(9)]
    with pytest.raises(UserError, match=r"place 4: x; and 4 more"):
        leakage.refuse(found)
    leakage.refuse([])


def test_repeated_recordings_come_with_a_way_out() -> None:
    found = [leakage.Finding("recording", "place", "x")]
    with pytest.raises(UserError, match=r"--data\.repeats report"):
        leakage.refuse(found)
    with pytest.raises(UserError) as refused:
        leakage.refuse([*found, leakage.Finding("clip", "place", "y")])
    assert "--data.repeats" not in str(refused.value)
