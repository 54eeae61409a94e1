"""The configuration tree: frozen dataclasses, each field with meaning, unit and default. Decodes and checks nothing.

Defaults stand here (and in `models.config`, `skeleton_io.demo.dataset`) and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from models.config import MLLMConfig, RendererConfig
from pipelines.config.evaluation import EvaluateConfig
from pipelines.config.faults import FaultsConfig, MetricsConfig
from pipelines.config.stages import STRICT, Group, NegativesConfig, QuestionsConfig, StageConfig
from skeleton_io.demo.dataset import DemoConfig


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is ingested and how it is split."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    inputs: dict[str, str] = field(default_factory=dict)
    """Set name -> folder. NAME is a known source, or NAME:FORMAT names the format. `{data_root}` and `{out}` are
    replaced by what the command line gives."""
    demo: bool = False
    """Write the synthetic motion set into the run first."""
    format: Literal["ipc", "parquet"] = "ipc"
    """Arrow IPC is memory-mapped for training; Parquet is smaller."""
    clips_per_shard: int = 256
    """Consecutive clips of the sorted ids in one shard."""
    protocols: dict[str, str] = field(default_factory=dict)
    """Set name -> protocol: one of the set's own, a published zero-shot one (`skel protocols`), or the path of a YAML
    or JSON file. A set that is not named uses its default protocol."""
    repeats: Literal["refuse", "report"] = "refuse"
    """What becomes of a recording that trains and tests under two names: end the run, or only say so."""
    validation_share: float = 0.1
    """Share of the training clips held out for model selection and Tune, by hash of the clip's key."""


@dataclass(frozen=True, kw_only=True)
class ApiTeacherConfig:
    """A teacher behind a server that speaks the OpenAI chat protocol. Money in US dollars, 0 means no limit."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    base_url: str = "https://api.openai.com/v1"
    """Address up to and with the version."""
    model: str = ""
    """As the server names it."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key. The key itself belongs in no configuration."""
    temperature: float = 0.2
    max_tokens: int = 512
    """Longest answer."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the server calls that limit; reasoning models want the second."""
    image_detail: Literal["low", "high", "auto"] = "low"
    image_tokens: int = 85
    """Input tokens per frame, for estimates only; what the server reports is what counts."""
    structured: Literal["auto", "json_schema", "none"] = "auto"
    """Ask for the JSON schema; auto: until the server says that it knows none."""
    in_flight: int = 256
    """Requests at a time, over all actors."""
    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    timeout_s: float = 120.0
    attempts: int = 6
    """How often a request is sent before it becomes a dead letter; being told to come later (429) does not count."""
    breaker_failures: int = 20
    """Failures in a row after which nothing is sent for `breaker_s`."""
    breaker_s: float = 15.0
    usd_per_million_input: float = 0.0
    usd_per_million_cached: float = 0.0
    """0: as input."""
    usd_per_million_output: float = 0.0
    budget_usd: float = 0.0
    """Hard stop, over everything that the ledger holds. Needs the prices above."""
    budget_tokens: int = 0
    batch_requests: int = 5000
    """Requests in one file of the openai_batch teacher; servers take 50,000 and limit the bytes."""
    batch_megabytes: int = 90
    """Largest such file."""
    batch_poll_s: float = 30.0
    """Seconds between two looks at a batch."""


@dataclass(frozen=True, kw_only=True)
class AcceptConfig:
    """Which rationales the student learns from. What is not accepted stays in the table with its verdicts."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    label_equal: bool = True
    """The answer ends in the clip's label."""
    no_leakage: bool = True
    """No text but the last line names the label, and none says that it was given."""
    min_grounding: float = 0.5
    """Least share of checkable claims that the motion bears out, 0 to 1."""
    min_score: float = 0.35
    """Least score of the verifier, -3 to 1, ruled by the two worst claims. benchmarks/results/verifier.md says what a
    threshold detects and what it costs."""
    max_contradicted: int = 1
    """Most claims that the motion contradicts (other side, other direction, other order)."""
    min_words: int = 5
    max_words: int = 400
    max_similarity: float = 1.0
    """Highest share of words in common with an accepted rationale of another clip of the same set; 1 keeps all."""
    blind_equal: bool = False
    """The label-blind pass names the same label (needs blind_samples)."""
    min_consistency: float = 0.0
    """Least share of the label-blind answers that name the clip's label."""


@dataclass(frozen=True, kw_only=True)
class RationalesConfig:
    """How the teacher's rationales are made."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    teacher: str = "kinematic"
    """A name of the table of teachers (`pipelines.rationales.teachers.registry`). kinematic: computed from the motion
    itself, no network. openai_api: any OpenAI-compatible server. openai_batch: the same by batch files. vllm: a model
    on the cluster's own GPUs (extra `vllm`)."""
    api: ApiTeacherConfig = field(default_factory=ApiTeacherConfig)
    renderer: str = "stick"
    """What draws the teacher's frames: stick, or the export of a training run. With the fixed one no retraining voids
    a paid answer."""
    frames: int = 8
    """Frames that the teacher sees."""
    image_size: int = 96
    """Side of those frames, pixels."""
    actors: int = 2
    """Size of the actor pool."""
    max_clips: int = 0
    """Upper bound of clips asked per set; 0 asks all training clips."""
    ledger: str = ""
    """Folder or URI of the account of answers; empty: below the run. Runs that share it pay once."""
    blind_samples: int = 0
    """How often the teacher is asked for the label without being told it; 0: never."""
    retry_failed: bool = False
    """Ask dead letters once more."""
    accept: AcceptConfig = field(default_factory=AcceptConfig)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes to training clips, drawn per (seed, epoch, clip)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    yaw_deg: float = 0.0
    """Largest turn of the camera about the vertical, degrees, either way (3D clips only)."""
    scale: float = 0.0
    """Largest relative change of size, either way."""
    noise_m: float = 0.0
    """Standard deviation of joint noise, metres."""
    crop: float = 0.0
    """Largest share of the clip cut from its ends before frames are drawn."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Ray Train + DeepSpeed: the stages in order and what they share."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    stages: tuple[StageConfig, ...] = ()
    """The stage table; each starts from the one before, unless its `start` says otherwise."""
    negatives: NegativesConfig = field(default_factory=NegativesConfig)
    questions: QuestionsConfig = field(default_factory=QuestionsConfig)
    sets: tuple[str, ...] = ()
    """Sets to train on; empty: all."""
    global_batch: int = 16
    """Clips per optimiser step over all workers. A worker count that does not divide it is refused."""
    micro_batch: int = 8
    """Most clips per forward pass on one worker; the rest is gradient accumulation."""
    max_padding: float = 0.15
    """Largest expected share of padding among the tokens of a stage. A worker's clips are grouped by length, and passes
    are made smaller than `micro_batch` until this holds."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """DeepSpeed ZeRO stage: 0 replicates, 1 shards optimizer states, 2 also gradients, 3 also parameters. A run may
    change it, and the number of workers, between two starts."""
    offload: bool = False
    """Keep optimizer states (and, at stage 3, parameters) in CPU memory."""
    weight_decay: float = 0.05
    """AdamW's decoupled decay, on matrices only."""
    warmup_share: float = 0.03
    """Share of a stage's steps with linearly rising learning rate; cosine decay follows."""
    clip_grad: float = 1.0
    """Largest norm of the whole gradient, renderer and MLLM together; 0: no limit."""
    set_temperature: float = 1.0
    """Sets are drawn with probability ~ size^temperature: 1 by size, 0 evenly."""
    class_temperature: float = 1.0
    """Labels of a set are drawn with probability ~ clips^temperature: 1 as they are, 0 evenly (class-balanced)."""
    checkpoint_every: int = 50
    """Optimiser steps between checkpoints; the last step of a stage always writes one."""
    keep_checkpoints: int = 2
    """Newest checkpoints kept on storage per stage."""
    keep_best: int = 1
    """Checkpoints kept beside those for their validation accuracy."""
    export_best: bool = False
    """Export the most accurate checkpoint of a stage (see `validate_every`) instead of the last."""
    validate_clips: int = 64
    """Most validation clips scored at a time."""
    validate_every: int = 0
    """Optimiser steps between validations, each with a checkpoint; 0: at the end of each stage only."""
    max_failures: int = 2
    """Worker failures after which a stage gives up."""
    workers: int = 2
    """Ray Train workers (ranks)."""
    min_workers: int = 0
    """Elastic training: start and go on with as few workers as this where the cluster has no more; when it has, the
    group grows again. 0: always `workers`."""
    resize_check_s: float = 60.0
    """Seconds between two looks whether an elastic group can grow."""
    cpus_per_worker: float = 0.5
    """CPUs reserved per worker. Halves leave room for Ray's own tasks on a small machine."""
    gpus_per_worker: float = 0
    """GPUs reserved per worker."""
    threads_per_worker: int = 1
    """torch threads per worker on the CPU."""
    faults: FaultsConfig = field(default_factory=FaultsConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True, kw_only=True)
class Range:
    """One searched field: exactly one of the four is given."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    choice: tuple[int | float | bool | str, ...] = ()
    """Values to choose from."""
    uniform: tuple[float, float] | None = None
    """Low and high."""
    log_uniform: tuple[float, float] | None = None
    """Low and high, drawn on a log scale."""
    randint: tuple[int, int] | None = None
    """Low (inclusive) and high (exclusive)."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Ray Tune over rendering hyperparameters; every trial is a short Ray Train run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    space: dict[str, Range] = field(default_factory=dict)
    """Dotted field of this tree -> range, for example "renderer.bone_radius"."""
    trials: int = 4
    """Trials started."""
    concurrent: int = 1
    """Trials at a time."""
    epochs: int = 3
    """Rounds of a trial; after each it is scored on validation clips and ASHA may stop it."""
    max_clips: int = 0
    """Training clips per round; 0 uses all."""
    validation_clips: int = 96
    """Most validation clips scored per round; all are cut from the training subjects."""
    grace: int = 1
    """Rounds that ASHA leaves every trial."""
    learning_rate: dict[Group, float] = field(default_factory=lambda: {"renderer": 3e-3, "projector": 6e-4})
    """Learning rate per trained group during a trial."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What report.html shows."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    clips_per_set: int = 2
    """Clips of each set drawn with the trained renderer."""


@dataclass(frozen=True, kw_only=True)
class FullConfig:
    """The whole pipeline."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str = "run"
    """Shown in the report."""
    seed: int = 0
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
