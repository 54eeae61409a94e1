"""The stage table and what its questions are made of: frozen dataclasses. Decodes and checks nothing beyond types.

A part of the tree in `config.tree`; `config.checks` says what contradicts what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Lt

STRICT = {"extra": "forbid"}
Group = Literal["renderer", "vision", "projector", "llm", "lora"]
TASKS: dict[str, str] = {
    "mqa": "pipelines.batches.tasks.multiple_choice:MultipleChoice",
    "yesno": "pipelines.batches.tasks.yes_no:YesNo",
    "rationale": "pipelines.batches.tasks.rationale:ExplainMotion",
    "caption": "pipelines.batches.tasks.caption:Caption",
    "qa": "pipelines.batches.tasks.question:AnswerQuestion",
}
"""What a stage may ask -> "module:Class" of a `batches.tasks.base.Task`; by name: tasks stand on a higher floor."""
FRESH = "fresh"
"""Value of `start`: a new renderer before `mllm.path`, whatever stage came before."""


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One row of the stage table: what is asked, what is trained, for how long, from which model."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str
    """Folder name of the stage's outputs."""
    tasks: dict[str, Annotated[float, Gt(0)]]
    """Task (mqa, yesno, rationale, caption, qa) -> relative weight in the mix; each clip of each epoch draws one task.
    A clip that has no material for it (no caption, no rationale) draws among the other tasks of the mix, and is
    asked multiple choice where none is left. A clip without a label takes part where the mix names caption or qa."""
    trains: tuple[Group, ...]
    """Parameter groups that receive gradients; all others are frozen."""
    learning_rate: dict[Group, Annotated[float, Ge(0)]]
    """Peak learning rate for each group in `trains`."""
    start: str = ""
    """Where the stage starts. Empty: from the stage before it in the table; the first from `mllm.path` and a new
    renderer, as any does with `fresh`. Else the name of an earlier stage, or the folder or URI of an export or of
    another run's stage."""
    epochs: Annotated[float, Gt(0)] = 1.0
    """Passes over the training clips; fractions are allowed."""
    steps: Annotated[int, Ge(0)] = 0
    """Optimiser steps, instead of epochs; 0: as many as `epochs` need."""
    loss_weights: dict[str, Annotated[float, Gt(0)]] = field(default_factory=dict)
    """Task -> factor of the loss of its clips; 1 for a task that is not named."""
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Smoothing of the target tokens."""


@dataclass(frozen=True, kw_only=True)
class NegativesConfig:
    """The wrong labels of yes/no questions. Always seen labels of the clip's own set."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    miner: Literal["similar", "random", "confusions", "list"] = "similar"
    """similar: by the wording of the labels. random: each as likely. confusions: by what the model that the stage
    starts from takes the training clips for. list: those that `file` gives for a label."""
    file: str = ""
    """YAML with `negatives: {LABEL: [LABEL, ...]}`, `same: [[LABEL, LABEL, ...], ...]`, or both. Labels that no set has
    are refused; a label without negatives of its own uses `similar`."""
    hardest: Annotated[int, Ge(0)] = 0
    """Only so many of the likeliest negatives of a label are used; 0: all, the likelier the oftener."""
    filter_synonyms: bool = True
    """Never ask about a label that means the same as the clip's: equal but for inflection, filler words and synonyms.
    Groups under `same` in `file` are left out in any case."""
    even_labels: bool = True
    """Make each label come up in wrong questions about as often as in right ones, so that a label by itself does not
    tell the answer."""
    confusion_clips: Annotated[int, Ge(0)] = 0
    """Most training clips per set that are scored for `confusions`, chosen by hash; 0: all."""


@dataclass(frozen=True, kw_only=True)
class QuestionsConfig:
    """Questions and answers of the task `qa`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    source: Literal["motion", "file", "both"] = "motion"
    """motion: made from the skeleton itself. file: those of `file`."""
    file: str = ""
    """JSON lines: {"clip": "SET/ID", "question": ..., "answer": ..., "choices": [...], "kind": ...}; choices and kind
    may be absent."""
    kinds: tuple[str, ...] = ()
    """Kinds of question that are asked; empty: all."""
