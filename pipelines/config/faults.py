"""What a training run watches and reports: faults and metrics as frozen dataclasses. Decodes and checks nothing.

None of it changes what is learned, so all of it is `keyless`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from pipelines.config.key_fields import keyless
from pipelines.config.stages import STRICT


@dataclass(frozen=True, kw_only=True)
class FaultsConfig:
    """How a run notices that something is wrong."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    watchdog_s: Annotated[float, Ge(0)] = keyless(1800.0, neutral=1800.0)
    """A rank that gets through no step, no validation clip and no checkpoint for so many seconds writes its stacks to
    faults/ of the stage and ends, so that the workers are started again from the last checkpoint. 0: never."""
    stop_poll_s: Annotated[float, Ge(0)] = keyless(2.0, neutral=2.0)
    """Seconds between two looks for the file `stop` in the stage's folder, which ends the run after a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class MetricsConfig:
    """What is measured while training, and where it goes besides metrics.jsonl and TensorBoard."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    profile_every: Annotated[int, Ge(0)] = keyless(10, neutral=10)
    """Steps between two whose time is taken apart (rendering, vision, LLM, communication); a GPU is waited for at each
    border in such a step. 0: never."""
    peak_tflops: Annotated[float, Ge(0)] = keyless(0.0, neutral=0.0)
    """Of one worker, in the precision that is used: what MFU is a share of. 0: a table of GPUs; a CPU is measured."""
    mlflow: str = keyless("", neutral="")
    """Tracking URI of MLflow; empty: not used. Needs the extra `mlflow`."""
    wandb: str = keyless("", neutral="")
    """Project in Weights & Biases; empty: not used. Needs the extra `wandb`."""
