"""`skel protocols` and `skel protocol`: the splits that there are, and one of your own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pipelines.commands.base import Command, Switch
from pipelines.runtime.arguments import name_value
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute
from pipelines.runtime.progress import say
from skeleton_io import storage

COLUMNS = ("set", "protocol", "splits by", "seen", "unseen", "train", "test", "hash", "source")


def rows(shards: str = "", only: str = "") -> list[dict[str, Any]]:
    """One row per protocol with the keys `COLUMNS`; counts are of labelled clips, of values where no shards are given.

    Raises:
        UserError: no such set, or no shard set.
    """
    from pipelines.data.tools.protocols import published_rows, shard_rows

    table = shard_rows(shards) if shards else published_rows()
    sets = sorted({row["set"] for row in table})
    if only and only not in sets:
        raise UserError(f"no protocols for {only!r}; there is {', '.join(sets)}")
    return [row for row in table if not only or row["set"] == only]


@dataclass(frozen=True, kw_only=True)
class Protocols(Command):
    """Lists the split protocols with their hashes, and their clips in a shard set.

    examples:
      skel protocols --set ntu
      skel protocols --shards runs/demo/shards
    """

    shards: Annotated[str, name_value("URI")] = ""
    """Count the clips of these shards."""
    set: Annotated[str, name_value("NAME")] = ""
    """Only this set."""
    json: Switch = False
    """Machine-readable."""

    def execute(self, fields: Sequence[str]) -> None:
        """Prints the table."""
        table = rows(absolute(self.shards) if self.shards else "", self.set)
        if self.json:
            print(json.dumps(table, indent=1, ensure_ascii=False))
            return
        lines = [COLUMNS, *(tuple(str(row[name]) for name in COLUMNS) for row in table)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        print(
            "\nUse one: data.protocols: {SET: PROTOCOL}, or the path of a YAML. `skel protocol` writes one of your own."
        )


@dataclass(frozen=True, kw_only=True)
class DrawProtocol(Command):
    """Writes a zero-shot split of your own classes: some train, the others only test.

    examples:
      skel protocol --shards shards --unseen 5 --out unseen5.yaml
      skel protocol --shards shards --set sbu --unseen 2 --within fold2 --seed 1 --out sbu2.yaml
    """

    shards: Annotated[str, name_value("URI")]
    """Shard set."""
    set: Annotated[str, name_value("NAME")] = ""
    """Set of it; may be left out where there is one."""
    unseen: Annotated[int, name_value("N")]
    """Classes that only test."""
    seed: int = 0
    """Another seed draws other classes."""
    within: Annotated[str, name_value("RULE")] = ""
    """Rule of the set that says who trains and tests."""
    out: Annotated[str, name_value("FILE")]
    """YAML to write, for data.protocols."""

    def execute(self, fields: Sequence[str]) -> None:
        """Draws and writes it."""
        from pipelines.data.tools.protocols import count_sides, draw_protocol
        from skeleton_io.protocols.files import is_file, to_yaml

        out = absolute(self.out)
        if not is_file(out):
            raise UserError(f"--out {self.out}: the name must end in .yaml")
        protocol, name, table = draw_protocol(absolute(self.shards), self.set, self.unseen, self.seed, self.within)
        train, test = count_sides(protocol, table)
        storage.write_atomic(out, to_yaml(protocol, f"{train} training clips, {test} test clips in the shards"))
        unseen = ", ".join(protocol.hidden)
        say(f"{protocol.name} ({protocol.hash}): {unseen} unseen; {train} train, {test} test -> {out}")
        say(f"data.protocols: {{{name}: {self.out}}}")
