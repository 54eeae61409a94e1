"""skel export-model: the folder works in a process that cannot import this project, and draws and answers as here."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from models.config import LoraConfig, MLLMConfig, RendererConfig, SparsifyConfig, TinyMLLMConfig
from models.draction.renderer import DrAction
from models.mllm.hf import HFMultimodal
from models.mllm.tiny import write_tiny_checkpoint
from models.prompts import mqa_prompt, prompt_corpus
from models.skeleton_llm import SkeletonLLM
from pipelines.config.loading import load_config, to_plain
from pipelines.config.stages import StageConfig
from pipelines.config.train import TrainConfig
from pipelines.config.tree import FullConfig
from pipelines.data.renderer_input import clip_input
from pipelines.exports.packaging import model_card, package, standalone
from pipelines.exports.store import write_export as save_model
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import TOPOLOGIES
from skeleton_io.record.topology import Topology

LABELS = ("wave", "sit down", "jump")
SMALL = TinyMLLMConfig(vision_width=32, vision_layers=2, llm_width=32, llm_layers=2, heads=2, patch=8, vocab=384)
ODD = Topology(name="arm", joints=("neck", "left_shoulder", "left_elbow", "tail"), bones=((0, 1), (1, 2), (0, 3)))
RENDERERS = {
    "internvl": RendererConfig(frames=4, image_size=32, gru=True, views=(0.0, 60.0), learn_camera=True),
    "qwen3_vl": RendererConfig(frames=3, image_size=32, samples_per_bone=3),
}
STAGE = StageConfig(name="1-only", tasks={"mqa": 1.0}, trains=("lora",), learning_rate={"lora": 1e-3})
SUMMARY = {"name": STAGE.name, "steps": 7, "loss_first": 2.0, "loss_last": 1.0}
MANIFEST = {
    "key": "k1",
    "summary": SUMMARY | {"validation_accuracy": None, "validation_clips": 0},
    "finished": "2026-01-01",
    "git_revision": "abc123",
    "python": "3.11",
    "platform": "Linux",
    "versions": {"torch": "2.13.0"},
}

# What runs elsewhere: `-I -S` leaves out this checkout and the .pth file of an editable install.
ELSEWHERE = """
import json, sys
sys.path.append(sys.argv[1])
for name in ("models", "pipelines", "skeleton_io", "ray", "deepspeed")[:3]:
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"{name} can be imported here, so this shows nothing")
import contextlib, importlib, io, runpy
import numpy as np
from transformers import AutoModelForImageTextToText
job = json.loads(sys.argv[2])
found = {}
for folder in job["folders"]:
    AutoModelForImageTextToText.from_pretrained(folder)
    sys.path.insert(0, folder)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("modeling_skeletonllm", "skeletonllm")]:
        del sys.modules[name]
    model = importlib.import_module("modeling_skeletonllm").SkeletonLLM.from_pretrained(folder)
    for part in (model, model.renderer, model.mllm):
        home = sys.modules[type(part).__module__].__file__
        if not home.startswith(folder):
            raise SystemExit(f"{type(part).__name__} comes from {home}")
    sys.argv, said = ["it", job["clips"][0], job["question"], "--max-new-tokens", "12"], io.StringIO()
    with contextlib.redirect_stdout(said):
        runpy.run_path(f"{folder}/modeling_skeletonllm.py", run_name="__main__")
    sys.path.pop(0)
    answers = []
    for clip in job["clips"]:
        frames = model.frames(clip)
        np.save(f"{folder}/{len(answers)}.npy", frames.numpy())
        answers.append([model.answer(clip, job["question"], 12), model.classify(clip, job["labels"])])
    if said.getvalue() != answers[0][0] + "\\n":
        raise SystemExit(f"from the shell it says {said.getvalue()!r}, not {answers[0][0]!r}")
    found[folder] = answers
print(json.dumps([found, sorted(m for m in sys.modules if m.partition(".")[0] in ("ray", "deepspeed", "peft"))]))
"""


def _clips() -> list[SkeletonSequence]:
    """Two persons with gaps; 2D pixels; an unknown skeleton in unknown units, captured irregularly; one frame."""
    rng = np.random.default_rng(0)
    source = Source(uri="x", sha256="0" * 64, reader="made", reader_version=1)
    clips = []
    for number, (topology, shape) in enumerate(
        ((TOPOLOGIES["ntu25"], (40, 2, 25, 3)), (TOPOLOGIES["coco17"], (17, 1, 17, 2)), (ODD, (30, 1, 4, 3)))
    ):
        start = rng.normal(0, 0.4, (1, *shape[1:]))
        positions = (start + np.cumsum(rng.normal(0, 0.02, shape), 0)).astype(np.float32)
        positions[rng.random(shape[:3]) < 0.1] = np.nan
        extra: dict = {}
        if shape[3] == 2:
            positions, extra = positions * 300 + 400, {"scale": "pixels", "image_size": (800, 800)}
        if topology is ODD:
            extra = {"scale": "normalised", "timestamps": np.cumsum(rng.uniform(0.01, 0.09, 30))}
        clips.append(
            SkeletonSequence(
                id=str(number), dataset="made", topology=topology, positions=positions, fps=25.0, source=source, **extra
            )
        )
    first = clips[0]
    return [*clips, dataclasses.replace(first, id="still", positions=first.positions[:1])]


def _save(clip: SkeletonSequence, folder: Path) -> str:
    """As `skel export --to npz` names the fields."""
    fields = {"positions": clip.positions, "fps": clip.fps, "scale": clip.scale, "topology": clip.topology.name}
    fields |= {"joints": np.array(clip.topology.joints), "bones": np.array(clip.topology.bones)}
    if clip.timestamps is not None:
        fields["timestamps"] = clip.timestamps
    np.savez(folder / f"{clip.id}.npz", **fields)
    return str(folder / f"{clip.id}.npz")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, tuple[Path, SkeletonLLM, FullConfig]]:
    """Family -> a run with one finished stage, its model with adapters still apart, its configuration."""
    found = {}
    for family, drawn in RENDERERS.items():
        root = tmp_path_factory.mktemp(family)
        write_tiny_checkpoint(root / "mllm", family, SMALL, prompt_corpus(LABELS), 32, seed=3)
        settings = MLLMConfig(family=family, sparsify=SparsifyConfig(enabled=family == "internvl"))
        torch.manual_seed(1)
        model = SkeletonLLM(DrAction(drawn), HFMultimodal.from_checkpoint(root / "mllm", settings))
        model.mllm.add_lora(LoraConfig(rank=4, dropout=0.0))
        with torch.no_grad():
            model.mllm.model.lm_head.weight.mul_(20)  # answers that depend on the clip
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.3)
                elif name.startswith("renderer."):
                    parameter.add_(torch.randn_like(parameter) * 0.05)
        cfg = FullConfig(name="tiny", renderer=drawn, mllm=settings, train=TrainConfig(stages=(STAGE,)))
        save_model(model, cfg, {"made": LABELS}, str(root / "train" / STAGE.name / "export"))
        (root / "train" / STAGE.name / "manifest.json").write_text(json.dumps(MANIFEST))
        found[family] = (root, model.eval(), cfg)
    return found


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory) -> dict[str, Path]:
    folders = {family: tmp_path_factory.mktemp("out") / family for family in runs}
    for family, folder in folders.items():
        package.write_package(str(runs[family][0]), str(folder))
    return folders


def test_draws_and_answers_the_same_where_this_project_is_not_installed(runs, exported, tmp_path):
    clips, question = _clips(), mqa_prompt(LABELS)
    job = {"clips": [_save(clip, tmp_path) for clip in clips], "question": question, "labels": LABELS}
    job["folders"] = [str(folder) for folder in exported.values()]
    command = [sys.executable, "-I", "-S", "-c", ELSEWHERE, sysconfig.get_paths()["purelib"], json.dumps(job)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    elsewhere, heavy = json.loads(run.stdout.splitlines()[-1])
    assert heavy == []
    for family, (_, model, cfg) in runs.items():
        inputs = [clip_input(clip, cfg.renderer, None, None) for clip in clips]
        distinct = set()
        for number, drawn in enumerate(inputs):
            with torch.no_grad():
                frames = model.renderer([drawn]).numpy()
            other = np.load(exported[family] / f"{number}.npy")
            assert frames.max() > 0.2, (family, number)
            assert np.abs(frames - other).max() < 1 / 255, (family, number)
            answer, shares = elsewhere[str(exported[family])][number]
            assert answer == model.generate([drawn], [question], 12)[0]
            scores = model.score_candidates([drawn], [question], [LABELS])[0]
            mean = dict(zip(LABELS, (scores.log_prob / scores.tokens).softmax(0).tolist(), strict=True))
            assert shares == pytest.approx(mean, abs=1e-4)
            assert list(shares) == sorted(shares, key=lambda label: -shares[label])
            distinct.add(answer)
        assert len(distinct) > 1, f"{family}: every clip gets the same answer, so equal answers show little"


def test_a_clip_as_numbers_equals_the_clip_of_a_file(exported, tmp_path):
    model = standalone.SkeletonLLM.from_pretrained(exported["qwen3_vl"])
    clip = _clips()[0]
    plain = {"positions": clip.positions, "fps": clip.fps, "topology": "ntu25"}
    table = {"joints": clip.topology.joints, "bones": [list(bone) for bone in clip.topology.bones]}
    expected = model.frames(_save(clip, tmp_path))
    assert torch.equal(model.frames(plain), expected)
    assert torch.equal(model.frames(plain | {"topology": table}), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 0}, "fps above 0"),
        ({"topology": "ntu26"}, "a topology of ntu25"),
        ({"positions": np.zeros((4, 25, 3))}, r"expected positions \(T, P, 25, 2 or 3\), found \(4, 25, 3\)"),
        ({"positions": np.full((4, 1, 25, 3), np.nan)}, "not all NaN"),
        ({"scale": "inches"}, "expected scale metric"),
        ({"timestamps": [0.0]}, "expected 4 timestamps"),
    ],
)
def test_a_wrong_clip_is_refused_with_a_reason(change, message):
    good = {"positions": np.zeros((4, 1, 25, 3)), "fps": 30, "topology": "ntu25"}
    standalone.read_clip(good)
    with pytest.raises(ValueError, match=message):
        standalone.read_clip(good | change)
    with pytest.raises(ValueError, match="positions missing"):
        standalone.read_clip({"fps": 30})


def test_a_second_export_does_nothing_and_another_model_needs_replace(runs, exported, tmp_path, capsys):
    out = tmp_path / "out"
    internvl, qwen = str(runs["internvl"][0]), str(runs["qwen3_vl"][0])
    package.write_package(internvl, str(out))
    before = (out / "model.safetensors").stat().st_mtime_ns
    package.write_package(internvl, str(out))
    assert "nothing to do" in capsys.readouterr().out
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="--replace"):
        package.write_package(qwen, str(out))
    package.write_package(qwen, str(out), replace=True)
    assert json.loads((out / "config.json").read_text())["model_type"] == "qwen3_vl"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        package.write_package(qwen, str(tmp_path / "mine"), replace=True)
    with pytest.raises(UserError, match="no such folder"):
        package.write_package(str(tmp_path / "nothing"), str(out))
    with pytest.raises(UserError, match="2-none"):
        package.write_package(qwen, str(out), stage="2-none")


def test_card_gives_numbers_only_where_the_run_measured_this_model(runs, exported):
    root, _, cfg = runs["internvl"]
    text = (exported["internvl"] / "README.md").read_text()
    assert "no evaluation of this model" in text
    assert "%" not in text.partition("## Results")[2].partition("## Training")[0]
    stage = root / "train" / STAGE.name
    score = {"accuracy": {"value": 0.4321, "chance": 0.25, "n": 88, "ci95": [0.33, 0.54]}}
    metrics = score | {"sets": {"made": score}, "model": "k2"}
    (root / "evaluate").mkdir()
    (root / "evaluate" / "metrics.json").write_text(json.dumps(metrics))
    paths = package.run_of(str(stage / "export"))
    assert "0.432" not in model_card.card_text(cfg, {"made": LABELS}, str(stage / "export"), paths)  # another model's
    (root / "evaluate" / "metrics.json").write_text(json.dumps(metrics | {"model": "k1"}))
    text = model_card.card_text(cfg, {"made": LABELS}, str(stage / "export"), paths)
    assert "| made | 88 | 0.432 | 0.330 to 0.540 | 0.250 | not asked |" in text
    for told in ("abc123", "torch 2.13.0", "Seed 0", digest(cfg), "k1", "sit down", "Apache-2.0"):
        assert told in text


def test_configuration_goes_along_without_folders_of_this_machine(exported, tmp_path):
    changed = to_plain(FullConfig())
    changed["data"]["inputs"] = {"ntu60:ntu": "/home/somebody/ntu60"}
    changed["mllm"]["path"] = "/home/somebody/InternVL3-8B-hf"
    file = tmp_path / "given.yaml"
    file.write_text(json.dumps(changed))
    text = package.shareable_config(load_config(str(file)))
    assert "somebody" not in text
    assert "ntu60:ntu" in text
    assert "InternVL3-8B-hf" in text
    load_config(str(exported["internvl"] / "training_config.yaml"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npz", None, "No such file"),
        ("a.npy", "array", r"expected an npz with positions and fps, found one array of \(4, 1, 25, 3\)"),
        ("a.npz", b"PK\x03\x04 cut short", "a.npz"),
        ("a.txt", b"hello", "a.txt"),
    ],
)
def test_a_wrong_file_on_its_command_line_costs_one_line(tmp_path, capsys, name, content, message):
    if content == "array":
        np.save(tmp_path / name, np.zeros((4, 1, 25, 3)))
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        standalone.main(tmp_path, [str(tmp_path / name), "What?"])
    assert stop.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(message, last)
    assert last.count(str(tmp_path / name)) <= 2
