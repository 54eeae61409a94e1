"""What is ingested and how it is split. Decodes and checks nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Lt

from pipelines.config.stages import STRICT


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
    clips_per_shard: Annotated[int, Ge(1)] = 256
    """Consecutive clips of the sorted ids in one shard."""
    protocols: dict[str, str] = field(default_factory=dict)
    """Set name -> protocol: one of the set's own, a published zero-shot one (`skel protocols`), or the path of a YAML
    or JSON file. A set that is not named uses its default protocol."""
    repeats: Literal["refuse", "report"] = "refuse"
    """What becomes of a recording that trains and tests under two names: end the run, or only say so."""
    validation_share: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Share of the training clips held out for model selection and Tune, by hash of the clip's key."""
