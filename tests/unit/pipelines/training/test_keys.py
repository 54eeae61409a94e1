"""keys: what a stage is recognised by stays what it was, so that finished runs stay finished."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipelines.config.loading import load_config
from pipelines.data.clip_store import ClipStore
from pipelines.evaluation.stage import Evaluation
from pipelines.runtime.paths import RunPaths
from pipelines.scores.rows import ClipToScore
from pipelines.training.keys import stage_key
from skeleton_io import storage
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import SBU15
from skeleton_io.shards import shard_set
from skeleton_io.shards.schema import to_row

RULE = Protocol(name="people", field="subject", train=("1",), test=("2",))
CLIPS = (("sit", "1"), ("wave", "1"), ("sit", "2"), ("wave", "2"), ("wave", "1"))
# Written by revision 6229dae, when the modules lay flat. A change of these numbers makes every finished run train anew:
# it needs a reason in the CHANGELOG.
KEYS = {
    "1-warm-up": "bc6ec069eaccf6d3",
    "2-disc-ft": "c3dc303f03c70394",
    "3-cr-distill": "2ac63f05f36297dd",
    "4-refine": "d40efb0bdfbc1255",
}
ROWS = "rows-b6ca746b0e54249f"


def clip(number: int, label: str, subject: str) -> SkeletonSequence:
    return SkeletonSequence(
        id=f"c{number}",
        dataset="a",
        topology=SBU15,
        positions=np.full((4, 1, 15, 3), number, np.float32),
        fps=30,
        source=Source(uri=f"{number}.txt", sha256="00", reader="made", reader_version=1),
        label=label,
        subject=subject,
    )


def test_keys_of_finished_stages_and_rows_are_those_of_before(tmp_path: Path, monkeypatch, repo_root):
    paths = RunPaths(str(tmp_path))
    rows = [to_row(clip(number, *who)) for number, who in enumerate(CLIPS, 1)]
    info = shard_set.write_shard(shard_set.shard_uri(paths.shards, "a", 0), rows)
    shard_set.write_index(paths.shards, [info], [SBU15], {"a": [RULE]}, [], {"a": len(rows)})
    # The bytes of a shard are another library's business.
    monkeypatch.setattr(ClipStore, "digest", "0123456789abcdef")
    cfg = load_config(str(repo_root / "tune_configs/full_demo.yaml"))

    def finish(folder: str, key: str) -> None:
        storage.write_atomic(storage.join(folder, "manifest.json"), json.dumps({"key": key}))

    finish(paths.mllm, "mllm-key")
    finish(paths.rationales, "rationales-key")
    start, keys = None, {}
    for stage in cfg.train.stages:
        keys[stage.name] = stage_key(cfg, paths, stage, start, ())
        finish(storage.join(paths.train, stage.name), keys[stage.name])
        start = storage.join(paths.train, stage.name, "export")
    assert keys == KEYS
    evaluation = Evaluation(cfg, str(start), keys["4-refine"], paths.shards, paths.evaluate)
    asked = [ClipToScore("a/c3", "a", "sit")]
    assert storage.name(evaluation.rows("rows", keys["4-refine"], asked, {"a": ("sit", "wave")})) == ROWS
