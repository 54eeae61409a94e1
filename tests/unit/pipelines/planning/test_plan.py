"""skel plan: counts by hand, memory by its own table, problems that end with exit code 2, and nothing started."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.config import MLLMConfig, TinyMLLMConfig
from models.mllm import sizes as mllm_sizes
from models.mllm.hf import load_encoder
from models.mllm.sizes import describe
from models.mllm.tiny import write_tiny_checkpoint
from models.prompts import mqa_prompt, prompt_corpus
from pipelines import cli
from pipelines.config.loading import decode, load_config
from pipelines.config.stages import StageConfig
from pipelines.config.train import TrainConfig
from pipelines.config.tree import FullConfig
from pipelines.planning import checks
from pipelines.planning import cluster as plan_cluster
from pipelines.planning.cluster import Node, count_places
from pipelines.planning.memory import Load, activation_bytes, memory_per_rank
from pipelines.planning.plan import make_plan
from pipelines.planning.result import PlanOptions
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import SBU15
from skeleton_io.shards import shard_set
from skeleton_io.shards.schema import to_row

LABELS = ("clapping", "sit down", "throw a ball")
RULE = Protocol(name="people", field="subject", train=("1",), test=("2",))
SMALL = TinyMLLMConfig(vision_width=32, vision_layers=2, llm_width=32, llm_layers=2, heads=2, patch=8, vocab=384)
LOAD = Load(clips=2, tokens=3300, visual=3072, answers=5, images=12)


def _stage(*trains: str, name: str = "1", **more: object) -> StageConfig:
    rates = dict.fromkeys(trains, 1e-4)
    return StageConfig(name=name, trains=trains, learning_rate=rates, **{"tasks": {"mqa": 1.0}, **more})  # type: ignore[arg-type]


def _run(root: Path) -> RunPaths:
    """A run with shards of 12 clips, half of them for training, and a tiny checkpoint."""
    paths = RunPaths(str(root))
    clips = [
        SkeletonSequence(
            id=f"c{n:02d}",
            dataset="a",
            topology=SBU15,
            positions=np.random.default_rng(n).normal(size=(4, 1, 15, 3)).astype(np.float32),
            fps=30,
            source=Source(uri=f"{n}.txt", sha256="00", reader="made", reader_version=1),
            label=LABELS[n % 3],
            subject=str(1 + n // 6),
        )
        for n in range(12)
    ]
    info = shard_set.write_shard(shard_set.shard_uri(paths.shards, "a", 0), [to_row(clip) for clip in clips])
    shard_set.write_index(paths.shards, [info], [SBU15], {"a": [RULE]}, [], {"a": len(clips)})
    write_tiny_checkpoint(root / "mllm", "internvl", SMALL, prompt_corpus(LABELS), 32, seed=0)
    return paths


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    return _run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def tiny() -> FullConfig:
    stages = [
        {"name": "1", "tasks": {"mqa": 1}, "trains": ["renderer", "projector"], "epochs": 3},
        {"name": "2", "tasks": {"mqa": 1}, "trains": ["projector", "lora"], "steps": 7},
    ]
    for stage in stages:
        stage["learning_rate"] = dict.fromkeys(stage["trains"], 1e-3)
    plain = {
        "renderer": {"frames": 4, "image_size": 32},
        "data": {"validation_share": 0.0},
        "mllm": {"lora": {"rank": 4}},
        "train": {"stages": stages, "global_batch": 4, "micro_batch": 2, "workers": 2},
    }
    return decode(plain, "test")


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray, DeepSpeed and weights may not be touched."""
    import transformers

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a plan must not do this")

    monkeypatch.setattr(transformers.AutoModelForImageTextToText, "from_pretrained", refuse)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "deepspeed", None)


def test_counts_of_an_eight_billion_model_without_weights(nothing_starts) -> None:
    cfg = load_config("tune_configs/full_pretrained.yaml")
    found = make_plan(cfg, None, PlanOptions(clips=1000, gpu="H100"))
    rank, layers, hidden, keys = cfg.mllm.lora.rank, 28, 3584, 512
    lora = layers * rank * (2 * (hidden + hidden) + 2 * (hidden + keys))
    by_name = {stage.name: stage for stage in found.stages}
    assert by_name["3-cr-distill"].learns["lora"] == lora
    projector = 4 * 1024 * 2 + (4 * 1024 + 1) * hidden + (hidden + 1) * hidden
    assert by_name["1-warm-up"].learns == {"renderer": 1585, "projector": projector}
    assert "renderer" not in by_name["4-refine"].learns
    work = by_name["4-refine"].work
    assert work is not None
    assert (work.load.visual, work.steps, work.samples) == (12 * 256, 750, 3000)
    # Forward and input gradient of 7.6e9 parameters for 4 rows, at least; weight gradients are few.
    assert 4 * 4 * 6.5e9 * work.load.tokens < by_name["4-refine"].step_flops < 1.3 * 4 * 4 * 7.6e9 * work.load.tokens
    rate = 2 * 989e12 * 0.3
    assert by_name["4-refine"].seconds == pytest.approx(by_name["4-refine"].step_flops * 750 / rate)
    assert {check.name: check.fine for check in found.checks} == {
        "memory": True, "cluster": None, "leakage": None, "rationales": None
    }  # fmt: skip


def test_a_run_is_counted_and_tokenised_as_training_does(run, tiny, nothing_starts) -> None:
    found = make_plan(tiny, run, PlanOptions(clips_per_second=2.0))
    encoder = load_encoder(f"{run.root}/mllm", MLLMConfig())[2]
    question = len(encoder.prompt_ids(mqa_prompt(sorted(LABELS)), 4, 32))
    first, second = found.stages
    assert first.work is not None
    assert second.work is not None
    assert (first.work.clips, first.work.steps, second.work.steps) == (6, 4, 7)  # 3 x 6 / 4, rounded to even
    answer = first.work.load.answers
    assert 2 <= answer <= 12
    assert first.work.load.tokens == pytest.approx(question + answer)
    assert first.work.load.visual == 4 * 4
    assert second.seconds == 7 * 4 / 2.0
    assert {check.name: check.fine for check in found.checks}["leakage"] is True
    assert json.dumps(found.plain())


def test_what_is_unknown_is_said(tiny, capsys) -> None:
    from pipelines.planning import show as plan_show

    found = make_plan(tiny, None, PlanOptions())
    assert all(stage.work is None and stage.seconds is None for stage in found.stages)
    assert all(stage.memory.device > 0 for stage in found.stages)
    plan_show.show(found)
    out = capsys.readouterr().out
    assert "Training clips: unknown" in out
    assert "no shards" in out
    assert "Teacher: unknown" in out
    # Names of rows stand on one line each, whatever the width of the terminal that is not there.
    assert "of them visual" in out
    assert "tokens of a row" in out
    assert max(map(len, out.splitlines())) <= 130


def test_states_follow_the_table() -> None:
    sizes = describe("InternVL3-8B")
    stage, base = _stage("projector", "llm"), TrainConfig(workers=8, global_batch=16, micro_batch=2)
    mllm, drawn = MLLMConfig(precision="bf16", gradient_checkpointing=True), FullConfig().renderer
    learn, frozen = sizes.parameters["llm"] + sizes.parameters["projector"], sizes.parameters["vision"]
    found = {z: memory_per_rank(sizes, stage, replace(base, zero_stage=z), mllm, drawn, LOAD) for z in (0, 1, 2, 3)}
    assert found[0].weights == found[1].weights == found[2].weights == 4 * learn + 2 * frozen
    assert [found[z].adam for z in (0, 1)] == [8 * learn, learn]
    assert [found[z].gradients for z in (0, 1, 2, 3)] == [4 * learn, 4.5 * learn, learn / 2, learn / 2]
    assert found[3].weights < found[2].weights / 3
    devices = [found[z].device for z in (0, 1, 2, 3)]
    assert devices == sorted(devices, reverse=True)
    for zero in (1, 2, 3):
        away = memory_per_rank(sizes, stage, replace(base, zero_stage=zero, offload=True), mllm, drawn, LOAD)
        assert away.device + away.host == pytest.approx(found[zero].device)
        assert away.host >= 12 * learn / 8
    whole = memory_per_rank(sizes, stage, base, replace(mllm, gradient_checkpointing=False), drawn, LOAD)
    assert whole.activations > 5 * found[1].activations


def test_vision_keeps_nothing_where_nothing_below_the_projector_learns() -> None:
    sizes, mllm = describe("Qwen2.5-VL-7B"), MLLMConfig(precision="bf16")
    above = activation_bytes(sizes, _stage("projector"), mllm, LOAD)
    below = activation_bytes(sizes, _stage("renderer", "projector"), mllm, LOAD)
    assert below > 1.2 * above


def test_problems_end_with_exit_code_2_and_what_helps(run, tiny, tmp_path, capsys, monkeypatch) -> None:
    from pipelines.config.loading import to_yaml

    file = tmp_path / "a.yaml"
    file.write_text(to_yaml(tiny))
    base = ["plan", "--config", str(file), "--run", run.root]
    assert cli.main([*base, "--gpu-memory", "80", "--json", str(tmp_path / "plan.json")]) == 0
    assert json.loads((tmp_path / "plan.json").read_text())["stages"][0]["bytes_on_device"] > 0
    assert cli.main([*base, "--gpu-memory", "0.001"]) == 2
    told = capsys.readouterr()
    assert "train.zero_stage 2" in told.out
    assert "memory" in told.err

    def leak(*_: object) -> None:
        raise UserError("leakage: planted")

    monkeypatch.setattr(checks.leakage, "check_run", leak)
    assert cli.main(base) == 2
    assert "planted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "Abacus"], "expected one of H200"),
        (["--mfu", "0"], "--mfu"),
        (["--run", "/nothing/here"], "no such folder"),
        (["--clips", "10", "--mllm.path", "somebody/unknown"], "sizes unknown here"),
        (["--clips", "10", "--renderer.image-size", "33"], "image_size"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(arguments, message, capsys) -> None:
    assert cli.main(["plan", "--config", "tune_configs/full_demo.yaml", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


def test_workers_are_placed_node_by_node() -> None:
    train = TrainConfig(workers=6, cpus_per_worker=6, gpus_per_worker=1)
    big, half = Node(64, 8, 512e9), Node(20, 8, 64e9)
    assert [count_places(node, train) for node in (big, half)] == [8, 3]
    assert plan_cluster.fit([big], train, 0)[0]
    fine, text = plan_cluster.fit([half], train, 0)
    assert not fine
    assert "room for 3" in text
    assert plan_cluster.fit([half, half], train, 0)[0]
    fine, text = plan_cluster.fit([half, half], train, 30e9)
    assert not fine
    assert "90 of 64 GB" in text
    assert plan_cluster.fit([big], replace(train, gpus_per_worker=0, cpus_per_worker=0.5), 0)[0]


def test_sizes_are_built_without_storage(monkeypatch) -> None:
    model = mllm_sizes.build_on_meta(mllm_sizes.load_config("Qwen3-VL-32B"))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
