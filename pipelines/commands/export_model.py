"""`skel export-model`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from pipelines.commands.base import Command, Switch
from pipelines.runtime.arguments import name_value
from pipelines.runtime.paths import absolute


@dataclass(frozen=True, kw_only=True)
class ExportModel(Command):
    """Writes a trained model as a folder that is used without this project: from_pretrained loads it,
    modeling_skeletonllm.py beside the weights draws and asks.

    examples:
      skel export-model runs/demo model
      skel export-model runs/demo model --stage 3-cr-distill --replace
    """

    run: Annotated[str, tyro.conf.Positional, name_value("RUN")]
    """Folder or URI of a run, a training stage or an export."""
    out: Annotated[str, tyro.conf.Positional, name_value("OUT")]
    """Folder or URI to write to."""
    stage: Annotated[str, name_value("NAME")] = ""
    """Of the run; the last finished one without it."""
    replace: Switch = False
    """An earlier export at OUT may be removed."""

    def execute(self, fields: Sequence[str]) -> None:
        """Writes it."""
        from pipelines.exports.packaging import package

        package.write_package(absolute(self.run), absolute(self.out), self.stage, self.replace)
