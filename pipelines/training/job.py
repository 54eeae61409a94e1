"""What one training stage is to do: all that a rank needs to know, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.config.stages import StageConfig
from pipelines.config.train import TrainConfig
from pipelines.config.tree import FullConfig


@dataclass(frozen=True)
class StageJob:
    """What a rank needs to train one stage; plain data that travels to the workers.

    Attributes:
        cfg: the run's configuration.
        stage: the row of the stage table.
        shards: URI of the shard set.
        rationales: URI of the teacher's answers.
        mllm: checkpoint of the multimodal LLM, for a start from nothing.
        start: export to go on from; None starts from `mllm` and a fresh renderer.
        out: URI of the stage.
        sets: sets to train on; empty: those of `train.sets`, or all.
        max_clips: training clips used, chosen by hash; 0 uses all.
        deepspeed: whether ZeRO stages above 0 are used; else every rank holds everything.
        negatives: file with the wrong labels of yes/no questions; where there is none they are made from the labels.
        checkpoints: URI of the folder for checkpoints; empty: none are written.
    """

    cfg: FullConfig
    stage: StageConfig
    shards: str
    rationales: str
    mllm: str
    start: str | None
    out: str
    sets: tuple[str, ...] = ()
    max_clips: int = 0
    deepspeed: bool = True
    negatives: str = ""
    checkpoints: str = ""

    @property
    def name(self) -> str:
        """See `trainer.job.Job`."""
        return self.stage.name

    @property
    def settings(self) -> TrainConfig:
        """See `trainer.job.Job`."""
        return self.cfg.train


def is_sharded(job: StageJob) -> bool:
    """Whether the LLM's weights are split over the ranks (ZeRO-3)."""
    return job.deepspeed and job.cfg.train.zero_stage == 3 and bool(set(job.stage.trains) - {"renderer"})
