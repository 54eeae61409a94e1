"""What a plan is asked with and what it answers: plain records. Plans nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.planning.memory import Memory
from pipelines.planning.work import Data, Work


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What the caller says beyond the configuration.

    Attributes:
        clips: training clips, where there are no shards; 0: unknown.
        labels: candidates of a multiple-choice question, where there are no shards.
        clips_per_second: measured, over all workers; 0: from the device's peak.
        gpu: device, a key of MEMORY_GB; empty: not said.
        gpu_memory: GB of one device; 0: that of `gpu`.
        mfu: share of the device's peak that is assumed to be reached.
        address: of a cluster to compare with; empty: none.
    """

    clips: int = 0
    labels: int = 60
    clips_per_second: float = 0.0
    gpu: str = ""
    gpu_memory: float = 0.0
    mfu: float = 0.3
    address: str = ""


@dataclass(frozen=True)
class StagePlan:
    """One row: what learns by group, renderer included; work, memory, operations of a step; None: unknown."""

    name: str
    learns: dict[str, int]
    work: Work | None
    memory: Memory
    step_flops: float
    seconds: float | None


@dataclass(frozen=True)
class Check:
    """One question asked of the plan. `fine` is None where it could not be answered."""

    name: str
    fine: bool | None
    text: str


@dataclass(frozen=True, kw_only=True)
class TeacherCost:
    """What the rationales still cost that are to be asked.

    Attributes:
        teacher: its name in the configuration.
        settled: requests whose answers are paid already.
        priced: whether the configuration says prices, or the teacher costs nothing.
        requests: to be sent.
        input, output: tokens of these at most.
        usd: US dollars for these.
    """

    teacher: str
    settled: int
    priced: bool
    requests: int
    input: int
    output: int
    usd: float


@dataclass
class Plan:
    """The whole answer."""

    model: str
    parameters: dict[str, int]
    settings: str
    data: Data | None
    stages: list[StagePlan] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    teacher: TeacherCost | None = None
    assumed: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        stages = [
            asdict(stage) | {"bytes_on_device": stage.memory.device, "bytes_on_host": stage.memory.host}
            for stage in self.stages
        ]
        return {
            "model": self.model,
            "parameters": self.parameters,
            "settings": self.settings,
            "teacher": asdict(self.teacher) if self.teacher else None,
            "data": asdict(self.data) if self.data else None,
            "stages": stages,
            "checks": [asdict(check) for check in self.checks],
            "assumed": self.assumed,
        }
