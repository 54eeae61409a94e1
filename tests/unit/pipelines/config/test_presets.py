"""The presets of training against the published stage table, and the mixes that keep a tiny model from forgetting."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config import loading
from pipelines.config.loading import load_config
from skeleton_io.protocols.files import published_protocols

FOLDER = Path(__file__).parents[4] / "tune_configs"
PAPER = sorted(FOLDER.glob("train_paper_*.yaml"))
SPLITS = {"30_30": (30, 30, 0.3784), "40_20": (40, 20, 0.4615), "48_12": (48, 12, 0.6472), "55_5": (55, 5, 0.8737)}
# arXiv 2603.18003, section 3 and its release: what is trained, on what, for how many epochs.
STAGES = [
    ({"mqa": 1}, {"renderer", "projector"}, 1),
    ({"yesno": 1}, {"renderer", "projector"}, 1),
    ({"rationale": 1}, {"renderer", "projector", "lora"}, 1),
    ({"mqa": 1}, {"projector", "lora"}, 3),
]


def table(name: str) -> list[tuple[dict, set, float]]:
    cfg = load_config(str(FOLDER / f"{name}.yaml"))
    return [(dict(s.tasks), set(s.trains), s.epochs) for s in cfg.train.stages]


def test_there_is_one_per_split() -> None:
    assert [p.stem.removeprefix("train_paper_ntu60_") for p in PAPER] == sorted(SPLITS)


@pytest.mark.parametrize("split", SPLITS)
def test_the_paper(split: str) -> None:
    cfg = load_config(str(FOLDER / f"train_paper_ntu60_{split}.yaml"))
    train, seen, unseen, reached = cfg.train, *SPLITS[split]
    assert table(f"train_paper_ntu60_{split}") == STAGES
    for stage in train.stages:
        assert stage.learning_rate == dict.fromkeys(stage.trains, 2e-5)
        assert (stage.start, stage.steps, stage.loss_weights, stage.label_smoothing) == ("", 0, {}, 0)
    assert (train.weight_decay, train.warmup_share, train.zero_stage) == (0.05, 0.03, 1)
    assert (train.workers, train.micro_batch, train.global_batch) == (2, 2, 4)
    assert (cfg.mllm.precision, cfg.mllm.gradient_checkpointing, cfg.mllm.lora.rank) == ("bf16", True, 32)
    assert "InternVL3-8B" in cfg.mllm.path
    drawn = cfg.renderer
    assert (drawn.frames, drawn.image_size, drawn.samples_per_bone, drawn.kind) == (12, 448, 10, "draction")
    assert (cfg.rationales.api.temperature, cfg.rationales.api.max_tokens) == (0.2, 512)
    assert cfg.evaluate.floors == {"ntu60": reached}
    rules = {rule.name: rule for rule in published_protocols()["ntu"].zero_shot}
    protocol = rules[cfg.data.protocols["ntu60"]]
    assert len(protocol.unseen) == unseen
    assert len(protocol.labels) == seen + unseen == 60


def test_the_four_presets_differ_in_the_split_only() -> None:
    plain = [loading.to_plain(load_config(str(path))) for path in PAPER]
    for data in plain:
        data["name"] = data["data"]["protocols"] = data["evaluate"]["floors"] = None
    assert all(data == plain[0] for data in plain)


def test_pretrained_is_the_papers_table() -> None:
    assert table("full_pretrained") == STAGES


def test_joint_captioning_is_the_papers_table_with_captions() -> None:
    cfg = load_config(str(FOLDER / "train_joint_captioning.yaml"))
    assert table("train_joint_captioning") == [({**tasks, "caption": 1}, *rest) for tasks, *rest in STAGES]
    assert {name.partition(":")[2] for name in cfg.data.inputs} == {"ntu", "humanml3d"}
    assert 0 < cfg.train.set_temperature < 1


@pytest.mark.parametrize("name", ["full_demo", "full_real"])
def test_tiny_models_keep_asking_the_multiple_choice_question(name: str) -> None:
    asked = [set(tasks) for tasks, *_ in table(name)]
    assert asked == [{"mqa"}, {"yesno", "mqa"}, {"rationale", "mqa"}, {"mqa"}]
