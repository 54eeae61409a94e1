"""What every command is: a frozen dataclass of its options that can be run. And the options that several share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from pipelines.runtime.arguments import EarlierName, NoCommas, name_value
from pipelines.runtime.paths import absolute

if TYPE_CHECKING:
    from pipelines.evaluation.any_checkpoint import EvaluationRequest

Switch = tyro.conf.FlagCreatePairsOff[bool]
"""Off unless named; no `--no-` form."""
Model = Annotated[str, EarlierName("--checkpoint"), name_value("RUN")]
Sets = Annotated[tuple[str, ...], NoCommas("A B"), name_value("SET ...")]
Inputs = Annotated[tuple[str, ...], tyro.conf.Positional, name_value("INPUT...")]


@dataclass(frozen=True, kw_only=True)
class Command:
    """Options of one `skel` command. The docstring of the class is its help, those of the fields are its flags'."""

    takes_fields: ClassVar[bool] = False
    """Whether fields of the configuration can be overridden by dotted name."""
    help_class: ClassVar[type | None] = None
    """Dataclass that the help shows in place of this one."""

    def execute(self, fields: Sequence[str]) -> None:
        """Does the work.

        Args:
            fields: words that override fields of the configuration; none without `takes_fields`.

        Raises:
            UserError: something that the user can mend.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class RunOptions(Command):
    """Options of every stage of a run."""

    takes_fields: ClassVar[bool] = True

    config: Annotated[str, name_value("FILE")]
    """YAML preset, for example tune_configs/full_demo.yaml."""
    out: Annotated[str, name_value("RUN")]
    """Folder or URI of the run; stages find each other's output there."""
    data_root: Annotated[str, name_value("FOLDER")] = ""
    """Replaces {data_root} in data.inputs."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Command):
    """Options of what any trained model does with the test clips of any shards."""

    takes_fields: ClassVar[bool] = True

    model: Model
    """A run, one of its training stages, or an export. Also --checkpoint."""
    shards: Annotated[str, name_value("URI")]
    """Shard set with the test clips."""
    out: Annotated[str, name_value("DIR")]
    """Folder or URI to write to."""
    protocol: Annotated[tuple[str, ...], name_value("[SET=]RULE ...")] = ()
    """Name or file of a protocol, for each set that shall not use its own."""
    sets: Sets = ()
    """Only these sets of the shards."""
    clips: Annotated[int, name_value("N")] = 0
    """Most test clips per set, chosen by hash; 0: all."""

    def request(self, fields: Sequence[str]) -> EvaluationRequest:
        """The same for the room of evaluation."""
        from pipelines.evaluation.any_checkpoint import EvaluationRequest  # torch

        model, shards, out = (absolute(uri) for uri in (self.model, self.shards, self.out))
        most = ["--evaluate.max-clips", str(self.clips)] if self.clips else []
        return EvaluationRequest(model, shards, self.protocol, self.sets, out, (*fields, *most))
