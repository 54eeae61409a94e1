"""`skel formats` and `skel describe`: what can be read, and how to have more of it read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from pipelines.commands.base import Command, Switch
from pipelines.runtime.arguments import name_value
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute


@dataclass(frozen=True, kw_only=True)
class Formats(Command):
    """Lists the formats that ingest reads.

    examples:
      skel formats
      skel formats --json | jq .[].name
    """

    json: Switch = False
    """Machine-readable."""

    def execute(self, fields: Sequence[str]) -> None:
        """Prints the table."""
        from skeleton_io.sources.catalogue import COLUMNS, rows

        table = rows()
        if self.json:
            print(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in table], indent=1))
            return
        widths = [max(len(row[i]) for row in (COLUMNS, *table)) for i in range(len(COLUMNS))]
        for row in (COLUMNS, *table):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        print("\nFiles of any other layout: skel describe PATH drafts the YAML that reads them (docs/own-data.md).")


@dataclass(frozen=True, kw_only=True)
class Describe(Command):
    """Looks at files of an unknown layout and drafts the YAML that reads them.

    examples:
      skel describe my_clips/ --out my.yaml --picture joints.png
      skel ingest --input my.yaml=my_clips --out shards
    """

    path: Annotated[str, tyro.conf.Positional, name_value("PATH")]
    """Folder or URI of the files, or one of them."""
    out: Annotated[str, name_value("FILE.yaml")] = ""
    """Write the draft there instead of printing it."""
    picture: Annotated[str, name_value("FILE.png")] = ""
    """Draw the joints with their indices."""

    def execute(self, fields: Sequence[str]) -> None:
        """Drafts it."""
        if self.out and not self.out.endswith((".yaml", ".yml")):
            raise UserError(f"--out takes a name that ends in .yaml, found {self.out}")
        from pipelines.data.tools import describe

        describe.run(absolute(self.path), self.out, self.picture)
