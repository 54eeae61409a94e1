"""The teacher, what it may cost and which of its rationales are accepted. Decodes and checks nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from pipelines.config.stages import STRICT


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
    temperature: Annotated[float, Ge(0)] = 0.2
    max_tokens: Annotated[int, Ge(1)] = 512
    """Longest answer."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the server calls that limit; reasoning models want the second."""
    image_detail: Literal["low", "high", "auto"] = "low"
    image_tokens: Annotated[int, Ge(0)] = 85
    """Input tokens per frame, for estimates only; what the server reports is what counts."""
    structured: Literal["auto", "json_schema", "none"] = "auto"
    """Ask for the JSON schema; auto: until the server says that it knows none."""
    in_flight: Annotated[int, Ge(1)] = 256
    """Requests at a time, over all actors."""
    requests_per_minute: Annotated[float, Ge(0)] = 0.0
    tokens_per_minute: Annotated[float, Ge(0)] = 0.0
    timeout_s: Annotated[float, Gt(0)] = 120.0
    attempts: Annotated[int, Ge(1)] = 6
    """How often a request is sent before it becomes a dead letter; being told to come later (429) does not count."""
    breaker_failures: Annotated[int, Ge(0)] = 20
    """Failures in a row after which nothing is sent for `breaker_s`."""
    breaker_s: Annotated[float, Ge(0)] = 15.0
    usd_per_million_input: Annotated[float, Ge(0)] = 0.0
    usd_per_million_cached: Annotated[float, Ge(0)] = 0.0
    """0: as input."""
    usd_per_million_output: Annotated[float, Ge(0)] = 0.0
    budget_usd: Annotated[float, Ge(0)] = 0.0
    """Hard stop, over everything that the ledger holds. Needs the prices above."""
    budget_tokens: Annotated[int, Ge(0)] = 0
    batch_requests: Annotated[int, Ge(1)] = 5000
    """Requests in one file of the openai_batch teacher; servers take 50,000 and limit the bytes."""
    batch_megabytes: Annotated[int, Ge(1)] = 90
    """Largest such file."""
    batch_poll_s: Annotated[float, Ge(0)] = 30.0
    """Seconds between two looks at a batch."""


@dataclass(frozen=True, kw_only=True)
class AcceptConfig:
    """Which rationales the student learns from. What is not accepted stays in the table with its verdicts."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    label_equal: bool = True
    """The answer ends in the clip's label."""
    no_leakage: bool = True
    """No text but the last line names the label, and none says that it was given."""
    min_grounding: Annotated[float, Ge(0), Le(1)] = 0.5
    """Least share of checkable claims that the motion bears out."""
    min_score: Annotated[float, Le(1)] = 0.35
    """Least score of the verifier, -3 to 1, ruled by the two worst claims. benchmarks/results/verifier.md says what a
    threshold detects and what it costs."""
    max_contradicted: Annotated[int, Ge(0)] = 1
    """Most claims that the motion contradicts (other side, other direction, other order)."""
    min_words: Annotated[int, Ge(0)] = 5
    max_words: Annotated[int, Ge(1)] = 400
    max_similarity: Annotated[float, Ge(0), Le(1)] = 1.0
    """Highest share of words in common with an accepted rationale of another clip of the same set; 1 keeps all."""
    blind_equal: bool = False
    """The label-blind pass names the same label (needs blind_samples)."""
    min_consistency: Annotated[float, Ge(0), Le(1)] = 0.0
    """Least share of the label-blind answers that name the clip's label."""


@dataclass(frozen=True, kw_only=True)
class RationalesConfig:
    """How the teacher's rationales are made."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    teacher: Literal["kinematic", "openai_api", "openai_batch", "vllm"] = "kinematic"
    """kinematic: computed from the motion itself, no network. openai_api: any OpenAI-compatible server. openai_batch:
    the same by batch files. vllm: a model on the cluster's own GPUs (extra `vllm`)."""
    api: ApiTeacherConfig = field(default_factory=ApiTeacherConfig)
    renderer: str = "stick"
    """What draws the teacher's frames: stick, or the export of a training run. With the fixed one no retraining voids
    a paid answer."""
    frames: Annotated[int, Ge(1)] = 8
    """Frames that the teacher sees."""
    image_size: Annotated[int, Ge(1)] = 96
    """Side of those frames, pixels."""
    actors: Annotated[int, Ge(1)] = 2
    """Size of the actor pool."""
    max_clips: Annotated[int, Ge(0)] = 0
    """Upper bound of clips asked per set; 0 asks all training clips."""
    ledger: str = ""
    """Folder or URI of the account of answers; empty: below the run. Runs that share it pay once."""
    blind_samples: Annotated[int, Ge(0)] = 0
    """How often the teacher is asked for the label without being told it; 0: never."""
    retry_failed: bool = False
    """Ask dead letters once more."""
    accept: AcceptConfig = field(default_factory=AcceptConfig)
