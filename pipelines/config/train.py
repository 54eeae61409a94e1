"""What all stages of a training share, and what each worker may take. Decodes and checks nothing.

What is `keyless` decides no result: saving, retries, and how the work is cut (a stage goes on with another cut, and
differs by rounding). A stage's own row, and what only some tasks need, are keyed beside it: `training.keys`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, Lt

from pipelines.config.faults import FaultsConfig, MetricsConfig
from pipelines.config.key_fields import keyless
from pipelines.config.stages import STRICT, NegativesConfig, QuestionsConfig, StageConfig


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes to training clips, drawn per (seed, epoch, clip)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    yaw_deg: Annotated[float, Ge(0)] = 0.0
    """Largest turn of the camera about the vertical, degrees, either way (3D clips only)."""
    scale: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Largest relative change of size, either way."""
    noise_m: Annotated[float, Ge(0)] = 0.0
    """Standard deviation of joint noise, metres."""
    crop: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Largest share of the clip cut from its ends before frames are drawn."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Ray Train + DeepSpeed: the stages in order and what they share."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    stages: tuple[StageConfig, ...] = keyless((), neutral=())
    """The stage table; each starts from the one before, unless its `start` says otherwise."""
    negatives: NegativesConfig = keyless(NegativesConfig(), neutral=NegativesConfig())
    questions: QuestionsConfig = keyless(QuestionsConfig(), neutral=QuestionsConfig())
    sets: tuple[str, ...] = ()
    """Sets to train on; empty: all."""
    global_batch: Annotated[int, Ge(1)] = 16
    """Clips per optimiser step over all workers. A worker count that does not divide it is refused."""
    micro_batch: Annotated[int, Ge(1)] = keyless(8, neutral=1)
    """Most clips per forward pass on one worker; the rest is gradient accumulation."""
    max_padding: Annotated[float, Ge(0), Le(1)] = 0.15
    """Largest expected share of padding among the tokens of a stage. A worker's clips are grouped by length, and passes
    are made smaller than `micro_batch` until this holds."""
    zero_stage: Literal[0, 1, 2, 3] = keyless(1, neutral=0)
    """DeepSpeed ZeRO stage: 0 replicates, 1 shards optimizer states, 2 also gradients, 3 also parameters. A run may
    change it, and the number of workers, between two starts."""
    offload: bool = keyless(False, neutral=False)
    """Keep optimizer states (and, at stage 3, parameters) in CPU memory."""
    weight_decay: Annotated[float, Ge(0)] = 0.05
    """AdamW's decoupled decay, on matrices only."""
    warmup_share: Annotated[float, Ge(0), Le(1)] = 0.03
    """Share of a stage's steps with linearly rising learning rate; cosine decay follows."""
    clip_grad: Annotated[float, Ge(0)] = 1.0
    """Largest norm of the whole gradient, renderer and MLLM together; 0: no limit."""
    set_temperature: Annotated[float, Ge(0), Le(1)] = 1.0
    """Sets are drawn with probability ~ size^temperature: 1 by size, 0 evenly."""
    class_temperature: Annotated[float, Ge(0), Le(1)] = 1.0
    """Labels of a set are drawn with probability ~ clips^temperature: 1 as they are, 0 evenly (class-balanced)."""
    checkpoint_every: Annotated[int, Ge(1)] = keyless(50, neutral=1)
    """Optimiser steps between checkpoints; the last step of a stage always writes one."""
    keep_checkpoints: Annotated[int, Ge(1)] = keyless(2, neutral=1)
    """Newest checkpoints kept on storage per stage."""
    keep_best: Annotated[int, Ge(0)] = keyless(1, neutral=0)
    """Checkpoints kept beside those for their validation accuracy."""
    export_best: bool = False
    """Export the most accurate checkpoint of a stage (see `validate_every`) instead of the last."""
    validate_clips: Annotated[int, Ge(0)] = keyless(64, neutral=0, decides_under="export_best")
    """Most validation clips scored at a time."""
    validate_every: Annotated[int, Ge(0)] = keyless(0, neutral=0, decides_under="export_best")
    """Optimiser steps between validations, each with a checkpoint; 0: at the end of each stage only."""
    max_failures: Annotated[int, Ge(-1)] = keyless(2, neutral=0)
    """Worker failures after which a stage gives up; -1: never."""
    workers: Annotated[int, Ge(1)] = keyless(2, neutral=1)
    """Ray Train workers (ranks)."""
    min_workers: Annotated[int, Ge(0)] = keyless(0, neutral=0)
    """Elastic training: start and go on with as few workers as this where the cluster has no more; when it has, the
    group grows again. 0: always `workers`."""
    resize_check_s: Annotated[float, Ge(0)] = keyless(60.0, neutral=0)
    """Seconds between two looks whether an elastic group can grow."""
    cpus_per_worker: Annotated[float, Ge(0)] = keyless(0.5, neutral=1)
    """CPUs reserved per worker. Halves leave room for Ray's own tasks on a small machine."""
    gpus_per_worker: Annotated[float, Ge(0)] = keyless(0, neutral=0)
    """GPUs reserved per worker."""
    threads_per_worker: Annotated[int, Ge(1)] = keyless(1, neutral=1)
    """torch threads per worker on the CPU."""
    faults: FaultsConfig = field(default_factory=FaultsConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
