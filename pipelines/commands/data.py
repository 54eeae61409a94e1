"""`skel demo-data`, `ingest`, `inspect` and `export`: from native files to shards, and out of them again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import tyro

from pipelines.cluster.connect import connected
from pipelines.commands.base import Command, RunOptions, Sets, Switch
from pipelines.commands.run import run_stage
from pipelines.runtime.arguments import name_value
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute
from skeleton_io.demo.dataset import DemoConfig

ExportFormat = Literal["pyskl", "humanml3d", "npz", "bvh", "parquet"]
"""Keys of `skeleton_io.exporters.registry.EXPORTERS`, which --help does not load."""


@dataclass(frozen=True, kw_only=True)
class DemoData(DemoConfig, Command):
    """Writes a synthetic labelled motion set in three native formats.

    examples:
      skel demo-data demo
      skel demo-data demo --subjects 16 --seed 3 --actions walk jump
    """

    out: Annotated[str, tyro.conf.Positional, name_value("OUT")]
    """Folder to write."""

    def execute(self, fields: Sequence[str]) -> None:
        """Writes it and prints what was written."""
        from rich import print as show

        from pipelines.ingest import demo_data

        size = {field.name: getattr(self, field.name) for field in dataclasses.fields(DemoConfig)}
        show(demo_data.write(absolute(self.out), DemoConfig(**size)))


@dataclass(frozen=True, kw_only=True)
class Ingest(Command):
    """Reads native files into Arrow shards, with a quarantine for broken ones.

    examples:
      skel ingest --input clips/ --out shards                             the format is detected
      skel ingest --input ntu=NTU/skeletons sbu=SBU --out shards
      skel ingest --input mine:bvh=takes my.yaml=files --out shards --format parquet
      skel ingest --config tune_configs/full_real.yaml --data-root FOLDER --out runs/real

    `skel formats` lists the names, `skel describe` drafts a YAML. With --config any field of the configuration can be
    overridden by its name, for example --data.format parquet.
    """

    takes_fields: ClassVar[bool] = True

    out: Annotated[str, name_value("DIR")]
    """Folder or URI of the shard set (with --config: of the run)."""
    input: Annotated[tuple[str, ...], name_value("[NAME=]PATH ...")] = ()
    """Folders whose format is detected, or NAME=PATH, NAME:FORMAT=PATH, my.yaml=PATH where it is known."""
    format: Annotated[Literal["", "ipc", "parquet"], name_value("{ipc,parquet}")] = ""
    """Arrow IPC files (default) or Parquet."""
    clips_per_shard: Annotated[int, name_value("N")] = 0
    """Consecutive clips per file; 0: 256."""
    config: Annotated[str, name_value("FILE")] = ""
    """Take the inputs from a preset instead of --input."""
    data_root: Annotated[str, name_value("FOLDER")] = ""
    """Replaces {data_root} in data.inputs."""

    def execute(self, fields: Sequence[str]) -> None:
        """The stage of a run, or the inputs that are named."""
        if self.config and self.input:
            raise UserError("give either --input NAME=PATH or --config, not both")
        if self.config:
            if self.format or self.clips_per_shard:
                raise UserError("with --config, say --data.format and --data.clips-per-shard instead")
            run_stage("ingest", RunOptions(config=self.config, out=self.out, data_root=self.data_root), fields)
            return
        if fields:
            raise UserError(f"{fields[0]} is a field of a configuration and goes with --config")
        if not self.input:
            raise UserError("nothing to ingest: give --input PATH or NAME=PATH, one for each set")
        from pipelines.ingest.inputs import inputs_from

        inputs = inputs_from(self.input)
        from pipelines.ingest import stage as ingest

        with connected():
            ingest.ingest(inputs, absolute(self.out), self.format or "ipc", self.clips_per_shard or 256)


@dataclass(frozen=True, kw_only=True)
class Inspect(Command):
    """Shows what a shard set holds: counts, classes, quality, quarantine.

    examples:
      skel inspect runs/demo/shards
      skel inspect runs/demo/shards --clip demo_ntu/S001C001P001R001A903 --out clip.gif
    """

    uri: Annotated[str, tyro.conf.Positional, name_value("URI")]
    """Folder or URI of a shard set."""
    json: Switch = False
    """Machine-readable."""
    clip: Annotated[str, name_value("ID")] = ""
    """Show one clip: SET/ID, or ID where it is the only one."""
    out: Annotated[str, name_value("FILE")] = ""
    """With --clip: draw it as a stick figure, x.gif or x.png."""

    def execute(self, fields: Sequence[str]) -> None:
        """Prints it, or draws the clip."""
        if self.out and not self.clip:
            raise UserError("--out draws a clip; say which with --clip ID")
        from pipelines.data.tools import summary_tables

        if self.clip:
            out = absolute(self.out) if self.out else ""
            summary_tables.show_clip(absolute(self.uri), self.clip, out, as_json=self.json)
            return
        summary_tables.show(absolute(self.uri), as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Writes the clips of a shard set in a format of other tools.

    examples:
      skel export runs/demo/shards --to npz --out clips
      skel export runs/demo/shards --to bvh --out takes --sets demo_bvh --clips "demo_bvh/*walk*"
      skel export runs/demo/shards --to pyskl --out set.pkl --fill-gaps 0.2
    """

    uri: Annotated[str, tyro.conf.Positional, name_value("URI")]
    """Folder or URI of a shard set."""
    to: ExportFormat
    """Format to write."""
    out: Annotated[str, name_value("DIR")]
    """Folder or URI to write to."""
    sets: Sets = ()
    """Only these sets."""
    clips: Annotated[tuple[str, ...], name_value("SET/ID ...")] = ()
    """Only these clips; * and ? match."""
    fill_gaps: Annotated[float, name_value("SECONDS")] = 0.0
    """Put joints that are missing for no longer on a straight line; 0: nothing is filled."""

    def execute(self, fields: Sequence[str]) -> None:
        """Writes them."""
        from pipelines.data.tools import export

        out = absolute(self.out)
        report = export.export(absolute(self.uri), self.to, out, self.sets, self.clips, self.fill_gaps)
        if not report["exported"]:
            raise UserError(f"{self.to} can hold none of the {len(report['refused'])} clips; the lines above say why")
