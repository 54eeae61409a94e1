"""`skel config`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import tyro

from pipelines.commands.base import Command
from pipelines.config.loading import load_config, override_config, to_yaml
from pipelines.config.tree import FullConfig
from pipelines.runtime.arguments import name_value


@dataclass(frozen=True, kw_only=True)
class ShowConfig(Command):
    """Prints the resolved configuration as YAML; the flags below are all its fields, with meaning and default.

    examples:
      skel config                                                          the defaults
      skel config --config tune_configs/full_demo.yaml --train.workers 4   a preset with one field changed
      skel config --help | grep -A 3 zero-stage
    """

    takes_fields: ClassVar[bool] = True

    config: Annotated[str, name_value("FILE")] = ""
    """YAML preset; without it the defaults."""

    def execute(self, fields: Sequence[str]) -> None:
        """Prints it."""
        base = load_config(self.config) if self.config else FullConfig()
        print(to_yaml(override_config(base, list(fields))), end="")


@dataclass(frozen=True, kw_only=True)
class ShowConfigHelp(ShowConfig):
    """What the help shows: a preset's own values are not known before it is read, so `execute` decodes fields later."""

    fields: Annotated[FullConfig, tyro.conf.arg(name="")] = field(default_factory=FullConfig)


ShowConfigHelp.__doc__ = ShowConfig.__doc__
ShowConfig.help_class = ShowConfigHelp
