"""A configuration, sizes and what is known of the data -> clips, tokens, steps and operations of each training stage.

Where there are shards, clips and labels are counted; otherwise the caller says how many. Texts are tokenised where a
tokenizer is at hand and estimated where none is; every estimate is named in `Work.assumed`. Draws no frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models import prompts
from models.config import MLLMConfig
from models.mllm.flops import model_flops
from models.mllm.sizes import ModelSizes
from models.mllm.text import FRAME_LABEL
from models.trainable import group_of
from pipelines.batches.tasks.base import CHARACTERS_PER_TOKEN
from pipelines.batches.tasks.registry import task_named
from pipelines.config.stages import TASKS, StageConfig
from pipelines.config.tree import FullConfig
from pipelines.planning.memory import Load

FRAME_TOKENS = 6
"""Tokens around an image: its label and its two marks; used without a tokenizer."""
CHAT_TOKENS = 12
"""Tokens of the chat template around a question; used without a tokenizer."""


@dataclass(frozen=True)
class Data:
    """What is known of the training clips.

    Attributes:
        clips: set -> number of training clips.
        labels: set -> labels that a multiple-choice question lists.
        rationale: mean characters of a rationale; 0: unknown.
        counted: whether these come from shards.
    """

    clips: Mapping[str, int]
    labels: Mapping[str, Sequence[str]]
    rationale: float
    counted: bool

    @property
    def total(self) -> int:
        """Training clips of all sets."""
        return sum(self.clips.values())


@dataclass(frozen=True)
class Work:
    """What one stage has to get through.

    Attributes:
        clips: of an epoch.
        steps: optimiser steps.
        samples: clips seen over the stage.
        load: one micro batch, an average row.
        tokens: over the stage, visual ones included.
        accumulates: whether a rank's share of a step is more than one micro batch.
        assumed: what was estimated, in words.
    """

    clips: int
    steps: int
    samples: int
    load: Load
    tokens: float
    accumulates: bool
    assumed: tuple[str, ...]


Counter = Callable[[str], int]
"""Text -> tokens."""


def mean_row(
    stage: StageConfig, data: Data, count: Counter | None, answer_characters: float
) -> tuple[float, float, tuple[str, ...]]:
    """(text tokens of the question, answer tokens, what was assumed) of an average row, over tasks and sets."""
    question = answer = 0.0
    weights = sum(stage.tasks.values())
    for name, clips in data.clips.items():
        for task, weight in stage.tasks.items():
            share = weight / weights * clips / data.total
            text, length = task_named(task).typical(data.labels[name], data.rationale)
            question += share * (count(text) if count else CHAT_TOKENS + len(text) / CHARACTERS_PER_TOKEN)
            answer += share * (length / answer_characters + 1)  # the end of the turn
    # In the order of the table, whatever the order of the mix.
    assumed = [task_named(name).assumption(data.rationale) for name in TASKS if name in stage.tasks]
    return question, answer, tuple(text for text in assumed if text)


def stage_work(cfg: FullConfig, stage: StageConfig, sizes: ModelSizes, data: Data, encoder: Any) -> Work:
    """A stage's work.

    Args:
        cfg: the run's configuration.
        stage: the row of the table.
        sizes: of the model.
        data: clips and labels.
        encoder: the checkpoint's `PromptEncoder`; None: texts are estimated.

    Raises:
        ValueError: `renderer.image_size` does not fit the model.
    """
    frames, size, train = cfg.renderer.frames, cfg.renderer.image_size, cfg.train
    visual = sizes.visual_tokens(frames, size, cfg.mllm.frames_as)
    count: Counter | None = None
    per_token, assumed = CHARACTERS_PER_TOKEN, ()
    around = float(frames * FRAME_TOKENS)
    if encoder is not None:

        def tokenised(text: str) -> int:
            return len(encoder.prompt_ids(text, frames, size)) - visual

        sample = prompts.rationale_prompt()
        count, around, per_token = tokenised, 0.0, len(sample) / len(encoder.ids(sample))
    else:
        labels = sum(len(FRAME_LABEL.format(k)) for k in range(frames)) / frames
        assumed = (f"{CHARACTERS_PER_TOKEN:g} characters per token and {FRAME_TOKENS} tokens around a frame",)
        assert labels < CHARACTERS_PER_TOKEN * FRAME_TOKENS
    question, answer, more = mean_row(stage, data, count, per_token)
    own = train.global_batch // train.workers
    micro = -(-own // -(-own // train.micro_batch))
    load = Load(micro, visual + around + question + answer, visual, answer, frames)
    steps = stage.steps or max(1, round(stage.epochs * data.total / train.global_batch))
    samples = steps * train.global_batch
    return Work(data.total, steps, samples, load, samples * load.tokens, own > train.micro_batch, (*assumed, *more))


def stage_seconds(operations: float, work: Work, clips_per_second: float, flops_per_second: float) -> float | None:
    """Time of a stage at a measured rate of clips, else at a rate of operations over all ranks; None: neither given."""
    if clips_per_second:
        return work.samples / clips_per_second
    return operations / flops_per_second if flops_per_second else None


def step_operations(model: Any, cfg: FullConfig, stage: StageConfig, work: Work, sizes: ModelSizes) -> float:
    """Floating-point operations of one step of the whole global batch, by `flops.ModelFlops`.

    Args:
        model: from `models.mllm.sizes.build_on_meta`, adapters included where the stage trains them.
        cfg: the run's configuration.
        stage: what learns.
        work: of the stage.
        sizes: of the model.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(group_of(name) in stage.trains)
    learns_below = "renderer" in stage.trains and cfg.renderer.kind == "draction"
    load = work.load
    row = (round(load.tokens), round(load.answers), round(load.visual))
    formula = model_flops(_Sketch(model, sizes), learns_below)  # type: ignore[arg-type]
    return formula.step([row] * cfg.train.global_batch, sizes.tokens_per_image(cfg.renderer.image_size))


class _Sketch:
    """As much of an HFMultimodal as the formula reads, around a model without storage."""

    def __init__(self, model: Any, sizes: ModelSizes) -> None:
        self.model, self.geometry = model, sizes.geometry

    def named_parameters(self) -> Any:
        """Of the library's model."""
        return self.model.named_parameters()


def describe_settings(cfg: MLLMConfig) -> str:
    """How the model runs, in words."""
    checkpointing = "gradient checkpointing" if cfg.gradient_checkpointing else "no gradient checkpointing"
    return f"{cfg.precision}, {checkpointing}, frames as {cfg.frames_as}"
