"""What a trial trains, and that its rounds are scored where they end. Without Ray: the loop is a stand-in."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from pipelines.config.loading import decode
from pipelines.trainer.context import LocalContext
from pipelines.trainer.loop import Validation
from pipelines.training.job import StageJob
from pipelines.tuning import objective
from pipelines.tuning.objective import make_trial_stage, with_one_worker

RATES = {"renderer": 1e-3, "projector": 2e-3}
CFG = decode({"tune": {"epochs": 3, "learning_rate": RATES, "validation_clips": 5}, "train": {"workers": 4}}, "test")


class Loop:
    """Ten steps; each is an accuracy of a tenth."""

    steps = 10

    def __init__(self, job: StageJob, ctx: Any, logged: bool) -> None:
        assert not logged
        self.done = 0

    def run(self, until: int) -> None:
        self.done = until

    def validate(self, most: int) -> Validation:
        return Validation(self.done / 10, most)


def test_a_trial_trains_multiple_choice_with_the_searchs_rates() -> None:
    stage = make_trial_stage(CFG)
    assert stage.tasks == {"mqa": 1.0}
    assert stage.trains == ("renderer", "projector")
    assert stage.learning_rate == RATES
    assert stage.epochs == 3
    assert with_one_worker(CFG).train.workers == 1
    assert dataclasses.replace(with_one_worker(CFG).train, workers=4) == CFG.train


def test_each_round_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = LocalContext(torch.device("cpu"))
    monkeypatch.setattr(objective, "StageLoop", Loop)
    monkeypatch.setattr(objective, "RayContext", lambda: ctx)
    monkeypatch.setattr(objective, "set_up_worker", lambda settings: None)
    job = StageJob(CFG, make_trial_stage(CFG), shards="", rationales="", mllm="", start=None, out="")
    objective.train_trial({"job": job})
    rounds = [(row["round"], row["accuracy"], row["validation_clips"]) for row in ctx.reported]
    assert rounds == [(1, 0.3, 5), (2, 0.7, 5), (3, 1.0, 5)]
