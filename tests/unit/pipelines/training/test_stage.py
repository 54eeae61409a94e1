"""Which finished stages a configuration may use, and what a stage is recognised by. Nothing is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.config.loading import decode
from pipelines.config.tree import FullConfig
from pipelines.evaluation.stage import find_trained_model
from pipelines.runtime import stop
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.training import keys
from pipelines.training import stage as training
from pipelines.training.keys import checkpoint_key, shared_settings
from pipelines.tuning.objective import find_start
from skeleton_io import storage

RATES = {"tasks": {"mqa": 1}, "trains": ["renderer"], "learning_rate": {"renderer": 1e-3}}


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A run of two stages whose keys depend on the seed, the stage and the start alone."""
    for module in (training, keys):
        monkeypatch.setattr(module, "stage_key", lambda cfg, _, stage, start, sets: f"{cfg.seed} {stage.name} {start}")
    monkeypatch.setattr(training.leakage, "check_run", lambda *_: None)  # there are no shards
    cfg = decode({"train": {"stages": [{"name": "1", **RATES}, {"name": "2", **RATES}]}}, "test")
    # The exports are where the run is now, whatever the summaries say.
    train_paths = RunPaths(str(tmp_path))
    monkeypatch.setattr(training, "train_stage", lambda *_, **__: {"export": "gone"})
    assert training.run(cfg, train_paths)["export"] == f"{tmp_path}/train/2/export"
    return cfg, train_paths


def test_a_model_of_this_configuration_is_taken(finished):
    cfg, paths = finished
    export = f"{paths.train}/2/export"
    assert find_trained_model(cfg, paths) == (export, f"0 2 {paths.train}/1/export")
    assert find_start(cfg, paths) == export


def test_a_model_of_another_configuration_is_refused(finished):
    cfg, paths = finished
    other = replace(cfg, seed=cfg.seed + 1)
    with pytest.raises(UserError, match="another configuration"):
        find_trained_model(other, paths)
    assert find_start(other, paths) is None


def test_tuning_starts_from_the_last_stage_that_matches(finished):
    cfg, paths = finished
    run_once("train 2", f"{paths.train}/2", "other", dict)
    assert find_start(cfg, paths) == f"{paths.train}/1/export"
    with pytest.raises(UserError, match="another configuration"):
        find_trained_model(cfg, paths)


def test_a_request_during_the_export_ends_the_run_after_the_stage(finished, monkeypatch):
    cfg, paths = finished
    cfg, asked = replace(cfg, seed=cfg.seed + 1), []

    def asked_late(*args, **__):
        asked.append(args[2].name)
        if len(asked) == 1:
            stop.request(args[4])
        return {"export": "gone"}

    monkeypatch.setattr(training, "train_stage", asked_late)
    with pytest.raises(stop.Stopped, match="stage 1 is finished"):
        training.run(cfg, paths)
    training.run(cfg, paths)  # the request was for the run before
    assert asked == ["1", "2"]


def test_a_workers_share_decides_no_result():
    cfg = FullConfig()
    wide = replace(cfg.train, cpus_per_worker=7, gpus_per_worker=1, threads_per_worker=5, validate_clips=99)
    assert shared_settings(replace(cfg, train=wide)) == shared_settings(cfg)
    other = replace(cfg, train=replace(cfg.train, global_batch=cfg.train.global_batch * 2))
    assert shared_settings(other) != shared_settings(cfg)


@pytest.mark.parametrize("remote", [False, True])
def test_a_checkpoint_is_known_by_what_it_holds(tmp_path, remote):
    assert checkpoint_key("owner/model") == "owner/model"
    assert checkpoint_key("memory://nowhere") == "memory://nowhere"
    uri = f"memory://{tmp_path.name}/mllm" if remote else str(tmp_path)

    def key(**files):
        for name, text in files.items():
            storage.write_atomic(storage.join(uri, name.replace("_", ".")), text)
        return repr(checkpoint_key(uri))

    first = key(config_json="{}", model_safetensors="1234")
    assert key() == first
    second = key(model_safetensors="12345")
    assert len({first, second, key(config_json='{"a": 1}')}) == 3
