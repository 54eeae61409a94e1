"""Rows of predictions -> a table on the terminal. Messages go to stderr, so that stdout holds results only."""

from __future__ import annotations

import sys
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

SHOWN = 60
"""Rows of the table; files hold all."""
_PIPE_WIDTH = 140
NOTE = "%: softmax over the candidates of the mean log-likelihood per token; a ranking, not a calibrated chance"


def complain(text: str) -> None:
    """One line on stderr."""
    print(" ".join(text.split()), file=sys.stderr, flush=True)


class Shown:
    """Collects the first rows and prints them.

    Args:
        with_answers: whether a question was asked: then its answers have a column.
    """

    def __init__(self, with_answers: bool) -> None:
        self.with_answers = with_answers
        self.rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """One more row; errors have been said already."""
        if row["error"] is None and len(self.rows) < SHOWN:
            self.rows.append(row)

    def print(self, totals: dict[str, Any], out: str) -> None:
        """The table and a line with the counts.

        Args:
            totals: {"rows", "errors"}.
            out: where the rows went; empty: nowhere.
        """
        console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
        clips = totals["rows"] - totals["errors"]
        if self.rows:
            console.print(self._table())
            console.print(NOTE, style="dim", highlight=False)
        more = f", the first {len(self.rows)} are shown" if clips > len(self.rows) else ""
        where = f"; rows: {out}" if out else ""
        text = f"{clips} clips predicted{more}, {totals['errors']} errors{where}"
        console.print(escape(text), highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=SIMPLE, pad_edge=False)
        truth = any(row["truth"] is not None for row in self.rows)
        table.add_column("clip", overflow="fold")
        table.add_column("label", style="bold")
        table.add_column("%", justify="right")
        table.add_column("next", overflow="fold", style="dim")
        if truth:
            table.add_column("in the file", overflow="fold")
        if self.with_answers:
            table.add_column("answer", overflow="fold")
        for row in self.rows:
            cells = [row["key"], row["label"], f"{100 * row['probability']:.1f}", _others(row)]
            if truth:
                cells.append(_against(row))
            if self.with_answers:
                cells.append(row["answer"] or "")
            table.add_row(*map(escape, cells))
        return table


def _others(row: dict[str, Any]) -> str:
    """The next two candidates with their probabilities."""
    return ", ".join(f"{top['label']} {100 * top['probability']:.1f}" for top in row["top"][1:3])


def _against(row: dict[str, Any]) -> str:
    """The label in the file; with a mark where it is among the candidates."""
    if not row["truth_is_candidate"]:
        return row["truth"] or ""
    return f"{row['truth']} {'✓' if row['truth'] == row['label'] else '✗'}"
