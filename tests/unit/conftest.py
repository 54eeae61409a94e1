"""A finished run in small, for whoever needs a trained model's folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.config import MLLMConfig, RendererConfig, TinyMLLMConfig
from pipelines.config.loading import decode
from pipelines.exports.store import build_model, write_export
from pipelines.training import tiny_mllm
from skeleton_io.demo.dataset import DemoConfig, write_demo
from skeleton_io.reading import read_all
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.shards.schema import to_row
from skeleton_io.shards.shard_set import shard_uri, write_index, write_shard

LABELS = ("squat", "wave")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with shards and one finished training stage, untrained (read only)."""
    root = tmp_path_factory.mktemp("tiny_run")
    write_demo(root / "demo-data", DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=LABELS, broken=False))
    clips = [clip for clip in read_all(root / "demo-data" / "demo_ntu", "ntu") if isinstance(clip, SkeletonSequence)]
    shards = str(root / "shards")
    info = write_shard(shard_uri(shards, "ntu", 0), map(to_row, clips))
    write_index(shards, [info], {clip.topology for clip in clips}, {"ntu": ()}, [], {"ntu": len(clips)})
    tiny = TinyMLLMConfig(vision_width=32, vision_layers=1, llm_width=32, llm_layers=1, heads=2, vocab=300)
    renderer = RendererConfig(frames=3, image_size=32, samples_per_bone=2)
    cfg = replace(decode({"name": "tiny"}, "test"), renderer=renderer, mllm=MLLMConfig(tiny=tiny))
    tiny_mllm.write(str(root / "mllm"), "internvl", cfg.mllm, list(LABELS), 32, 0)
    stage = root / "train" / "1-only"
    write_export(build_model(cfg, str(root / "mllm")), cfg, {"ntu": LABELS}, str(stage / "export"))
    (stage / "manifest.json").write_text(json.dumps({"finished": "2030-01-01", "key": "k", "summary": {}}))
    return root
