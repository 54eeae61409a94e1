"""The configuration tree: one section a file, one line a section. Decodes and checks nothing.

Defaults stand in the fields of these files (and of `models.config`, `skeleton_io.demo.dataset`) and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from models.config import MLLMConfig, RendererConfig
from pipelines.config.data import DataConfig
from pipelines.config.evaluation import EvaluateConfig
from pipelines.config.rationales import RationalesConfig
from pipelines.config.stages import STRICT
from pipelines.config.train import TrainConfig
from pipelines.config.tune import TuneConfig
from skeleton_io.demo.dataset import DemoConfig


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What report.html shows."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    clips_per_set: Annotated[int, Ge(0)] = 2
    """Clips of each set drawn with the trained renderer."""


@dataclass(frozen=True, kw_only=True)
class FullConfig:
    """The whole pipeline."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str = "run"
    """Shown in the report."""
    seed: Annotated[int, Ge(0)] = 0
    """Of everything random: data order, augmentation, initialisation, search."""
    data: DataConfig = field(default_factory=DataConfig)
    demo: DemoConfig = field(default_factory=DemoConfig)
    rationales: RationalesConfig = field(default_factory=RationalesConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    mllm: MLLMConfig = field(default_factory=MLLMConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
