"""Paths in a configuration -> absolute ones: workers run in other folders, where a relative one would be lost.

Two are left alone: `data.inputs` (`full.fill_inputs` knows what stands in its braces), and an `mllm.path` that is no
folder here, which is a hub's id.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from models.config import MLLMConfig
from pipelines.config.data import DataConfig
from pipelines.config.evaluation import EvaluateConfig
from pipelines.config.rationales import RationalesConfig
from pipelines.config.stages import StageConfig
from pipelines.config.train import TrainConfig
from pipelines.config.tree import FullConfig
from pipelines.runtime.paths import absolute
from skeleton_io.protocols.files import is_file


def with_absolute_paths(config: FullConfig) -> FullConfig:
    """A copy in which every path is absolute; URIs, names and what is empty stay as they are."""
    return replace(
        config,
        data=_data(config.data),
        rationales=_rationales(config.rationales),
        mllm=_mllm(config.mllm),
        train=_train(config.train),
        evaluate=_evaluate(config.evaluate),
    )


def _absolute(path: str) -> str:
    return absolute(path) if path else path


def _data(data: DataConfig) -> DataConfig:
    protocols = {name: _absolute(value) if is_file(value) else value for name, value in data.protocols.items()}
    return replace(data, protocols=protocols)


def _rationales(rationales: RationalesConfig) -> RationalesConfig:
    renderer = rationales.renderer
    renderer = renderer if renderer == "stick" else _absolute(renderer)
    return replace(rationales, ledger=_absolute(rationales.ledger), renderer=renderer)


def _mllm(mllm: MLLMConfig) -> MLLMConfig:
    return replace(mllm, path=_absolute(mllm.path)) if Path(mllm.path).is_dir() else mllm


def _train(train: TrainConfig) -> TrainConfig:
    return replace(
        train,
        stages=tuple(_stage(stage) for stage in train.stages),
        negatives=replace(train.negatives, file=_absolute(train.negatives.file)),
        questions=replace(train.questions, file=_absolute(train.questions.file)),
    )


def _stage(stage: StageConfig) -> StageConfig:
    # Without a slash it is the name of an earlier stage.
    return replace(stage, start=_absolute(stage.start)) if "/" in stage.start else stage


def _evaluate(evaluate: EvaluateConfig) -> EvaluateConfig:
    beside = {name: _absolute(model) for name, model in evaluate.beside.items()}
    return replace(evaluate, synonyms=_absolute(evaluate.synonyms), beside=beside)
