"""skel predict on Ray: one worker, two, or none write the same bytes; a stopped run goes on; a shard set as input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.config import MLLMConfig, RendererConfig, TinyMLLMConfig
from pipelines.config.loading import decode
from pipelines.exports.store import build_model, write_export
from pipelines.inference import predict
from pipelines.inference.predict import Options
from pipelines.inference.predictor import PredictionRequest
from pipelines.ingest.stage import ingest
from pipelines.runtime.errors import UserError
from pipelines.training import tiny_mllm
from skeleton_io import storage

pytestmark = pytest.mark.usefixtures("ray_session")

ASSETS = Path(__file__).resolve().parents[1] / "assets"
LABELS = {"human36m": ("eating", "walking"), "other": ("wave", "walk")}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained model."""
    root = tmp_path_factory.mktemp("model")
    tiny = TinyMLLMConfig(vision_width=32, vision_layers=1, llm_width=32, llm_layers=1, heads=2, vocab=300)
    drawn = RendererConfig(frames=2, image_size=32, samples_per_bone=2)
    cfg = replace(decode({"name": "t"}, "test"), renderer=drawn, mllm=MLLMConfig(tiny=tiny))
    tiny_mllm.write(str(root / "mllm"), "internvl", cfg.mllm, ["walking", "eating", "wave"], 32, 0)
    write_export(build_model(cfg, str(root / "mllm")), cfg, LABELS, str(root / "export"))
    return str(root / "export")


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "settings.json"}


def test_workers_change_no_byte_and_a_stopped_run_goes_on(export: str, tmp_path: Path) -> None:
    shards = str(tmp_path / "shards")
    ingest({"human36m": str(ASSETS / "human36m"), "mediapipe": str(ASSETS / "mediapipe")}, shards, "ipc", 2)
    broken = tmp_path / "broken.bvh"
    broken.write_text("HIERARCHY\n")
    inputs = [shards, str(ASSETS / "pku_mmd"), str(broken), str(ASSETS / "bvh")]
    options = Options(checkpoint=export, asked=PredictionRequest(top=2), out=str(tmp_path / "two"), part=1, workers=2)
    found = predict.run(inputs, options)
    # Begun without Ray, stopped, and finished by one worker.
    begun = replace(options, out=str(tmp_path / "one"), workers=0, stop_after=2)
    predict.run(inputs, begun)
    assert len(list((tmp_path / "one").glob("part-*"))) == 2
    assert predict.run(inputs, replace(begun, workers=1, stop_after=0)) == found
    first = written(tmp_path / "two")
    assert written(tmp_path / "one") == first
    rows = [json.loads(line) for name in sorted(first) if name.endswith(".jsonl") for line in first[name].splitlines()]
    assert len(rows) == found["rows"]
    assert [row["file"] for row in rows if row["error"]].count("broken.bvh") == 1
    assert found["errors"] == sum(row["error"] is not None for row in rows) >= 3  # two in the PKU-MMD asset
    keys = [row["key"] for row in rows if row["key"]]
    assert len(keys) == len(set(keys))
    assert {row["candidates"] for row in rows if row["format"] == "human36m"} == {"human36m"}


def test_more_than_the_cluster_has_is_refused(export: str, tmp_path: Path) -> None:
    options = Options(checkpoint=export, asked=PredictionRequest(), out=str(tmp_path / "out"), workers=1, gpus=64)
    with pytest.raises(UserError, match="64 GPUs"):
        predict.run([str(ASSETS / "bvh")], options)


def test_everything_on_s3(export: str, s3_endpoint: str, tmp_path: Path) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem(endpoint_url=s3_endpoint).mkdir("predictions")
    storage.upload(export, "s3://predictions/model/export")
    storage.upload(str(ASSETS / "bvh"), "s3://predictions/clips")
    storage.upload(str(ASSETS / "ntu"), "s3://predictions/clips")
    asked = PredictionRequest(top=2, pictures="s3://predictions/seen")
    options = Options(checkpoint="s3://predictions/model", asked=asked, out="s3://predictions/out")
    found = predict.run(["s3://predictions/clips", "s3://predictions/clips/turn.bvh"], options)
    assert found == {"rows": 3, "errors": 0}
    (part,) = [name for name in storage.list_files("s3://predictions/out") if name.startswith("part-")]
    rows = [json.loads(line) for line in storage.read_text(f"s3://predictions/out/{part}").splitlines()]
    assert [row["format"] for row in rows] == ["ntu", "bvh", "bvh"]
    assert all(storage.exists(row["picture"]) for row in rows)
    predict.run([str(ASSETS / "ntu")], replace(options, out=str(tmp_path / "rows.jsonl")))
    local = json.loads((tmp_path / "rows.jsonl").read_text())
    assert local["label"] == rows[0]["label"]
    assert local["probability"] == pytest.approx(rows[0]["probability"], abs=1e-5)
