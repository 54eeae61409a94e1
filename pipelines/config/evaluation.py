"""Fields of the configuration that say how a model is scored. Decodes and checks nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from pipelines.config.stages import STRICT

Answer = Literal["direct", "reason"]


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Train on some sets, test on another over the labels that both have."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    train: str
    """Set to train on; several joined by "+"."""
    test: str
    """Set to test on; the model never saw it."""
    epochs: Annotated[float, Gt(0)] = 5.0
    """Epochs of the training sets."""
    synonyms: dict[str, str] = field(default_factory=dict)
    """Label of the test set -> label of the training sets, on top of `evaluate.synonyms`."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The training sets, sorted."""
        return tuple(sorted({name for name in self.train.split("+") if name}))


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Scores of the test clips of each protocol."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    batch: Annotated[int, Ge(1)] = 8
    """Clips per forward pass."""
    actors: Annotated[int, Ge(1)] = 2
    """Size of the actor pool; changes no score."""
    max_clips: Annotated[int, Ge(0)] = 0
    """Most test clips per set, chosen by hash; 0 scores all."""
    answer: Answer = "direct"
    """direct: the multiple-choice question. reason: the model first writes how the body moves, then names the label;
    the candidates are scored after its own words."""
    max_new_tokens: Annotated[int, Ge(1)] = 12
    """Length of written answers."""
    max_reason_tokens: Annotated[int, Ge(1)] = 96
    """Length of the written explanation before the label (`answer: reason`)."""
    generate: bool = True
    """Also let the model write its answer."""
    gzsl: bool = False
    """Under a zero-shot protocol also score the seen classes' test clips, all with seen and unseen candidates."""
    baselines: bool = True
    """Also score nearest neighbours and a linear classifier on joint positions."""
    beside: dict[str, str] = field(default_factory=dict)
    """Name -> run or export of another model, for example one trained behind a fixed renderer, scored on the same
    clips and put into the same table."""
    bootstrap: Annotated[int, Ge(1)] = 2000
    """Resamples for the 95 % interval."""
    floors: dict[str, Annotated[float, Ge(0), Le(1)]] = field(default_factory=dict)
    """Set -> published or measured accuracy to print beside ours."""
    synonyms: str = ""
    """YAML of labels that mean the same in several sets; empty: the one of the package."""
    transfer: tuple[TransferConfig, ...] = ()
    """Cross-format experiments."""
    transfer_all: bool = False
    """Every ordered pair of sets that share at least two labels, besides those of `transfer`."""
    transfer_epochs: Annotated[float, Gt(0)] = 5.0
    """Epochs of each training of `transfer_all`."""
