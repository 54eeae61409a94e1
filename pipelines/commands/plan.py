"""`skel plan`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pipelines.commands.base import Command
from pipelines.config.loading import load_config, override_config
from pipelines.runtime.arguments import name_value
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths, absolute


@dataclass(frozen=True, kw_only=True)
class Plan(Command):
    """Says what training would need, and starts nothing: parameters, memory of a rank, tokens, steps, time, teacher
    cost, leakage, whether it fits; exit code 2 where something does not.

    examples:
      skel plan --config tune_configs/full_demo.yaml --run runs/demo
      skel plan --config tune_configs/full_pretrained.yaml --clips 40000 --gpu H100 --train.workers 8
    """

    takes_fields: ClassVar[bool] = True

    config: Annotated[str, name_value("FILE")]
    """YAML preset, for example tune_configs/full_pretrained.yaml."""
    run: Annotated[str, name_value("RUN")] = ""
    """A run, whose shards are counted and looked at."""
    clips: Annotated[int, name_value("N")] = 0
    """Training clips, where there are no shards."""
    labels: Annotated[int, name_value("N")] = 60
    """Labels in a question, where there are no shards."""
    gpu: Annotated[str, name_value("NAME")] = ""
    """Device of each worker, for example H100."""
    gpu_memory: Annotated[float, name_value("GB")] = 0.0
    """Of one device; 0: that of --gpu."""
    mfu: Annotated[float, name_value("SHARE")] = 0.3
    """Share of its peak that is reached."""
    clips_per_second: Annotated[float, name_value("X")] = 0.0
    """Measured, over all workers; instead of --gpu."""
    address: Annotated[str, name_value("HOST:PORT")] = ""
    """Ray cluster to compare with; asked, not used."""
    json: Annotated[str, name_value("FILE")] = ""
    """Write the plan there, too."""

    def execute(self, fields: Sequence[str]) -> None:
        """Plans and shows it."""
        self._check()
        cfg = override_config(load_config(self.config), list(fields))
        from pipelines.planning import show as plan_show
        from pipelines.planning.plan import make_plan
        from pipelines.planning.result import PlanOptions
        from skeleton_io import storage

        assumptions = PlanOptions(
            clips=self.clips,
            labels=self.labels,
            clips_per_second=self.clips_per_second,
            gpu=self.gpu,
            gpu_memory=self.gpu_memory,
            mfu=self.mfu,
            address=self.address,
        )
        if self.run and not storage.exists(absolute(self.run)):
            raise UserError(f"--run {self.run}: no such folder")
        result = make_plan(cfg, RunPaths(absolute(self.run)) if self.run else None, assumptions)
        plan_show.show(result)
        if self.json:
            storage.write_atomic(absolute(self.json), json.dumps(result.plain(), indent=1))
        if problems := [check.name for check in result.checks if check.fine is False]:
            raise UserError(f"this plan does not work out: {', '.join(problems)} (see above)")

    def _check(self) -> None:
        """Raises:
        UserError: a number out of its range.
        """
        if min(self.clips, self.clips_per_second, self.gpu_memory) < 0 or self.labels < 1 or not 0 < self.mfu <= 1:
            raise UserError(
                "--clips, --clips-per-second, --gpu-memory: at least 0; --labels: at least 1; --mfu: in (0, 1]"
            )
