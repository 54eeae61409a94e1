"""What asking would cost, before anything is sent: requests, tokens and money per set. Sends and draws nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.rationales.stage import ledger_uri, questions
from pipelines.rationales.teachers import registry
from pipelines.rationales.teachers.base import TeacherRequest, Usage
from pipelines.rationales.teachers.ledger import Ledger
from pipelines.runtime.paths import RunPaths


def estimate(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Estimate of what is left to be asked.

    Args:
        cfg: `rationales` is used; prices of 0 make the money 0.
        paths: the run; its shards are read.

    Returns:
        {"settled": questions with an answer, "spent_usd", "spent_tokens", "rows": [{dataset, purpose, requests,
        input, output, usd}]}. Output counts full answers: an upper bound.
    """
    store = ClipStore(paths.shards)
    ledger = Ledger(ledger_uri(cfg, paths.rationales))
    settled = ledger.settled(cfg.rationales.retry_failed)
    asked = questions(cfg, store)
    left = [row for row in asked if row["key"] not in settled]
    expected = registry.expected_of(cfg.rationales)
    images = (("image/png", b""),) * cfg.rationales.frames
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in left:
        groups.setdefault((row["dataset"], row["purpose"]), []).append(row)
    rows = []
    for (dataset, purpose), members in sorted(groups.items()):
        # Prompts differ by the label alone; one clip stands for the duration of all.
        sample = TeacherRequest(sequence=store.clip(members[0]["clip"]), label=None, images=images)
        total = Usage()
        for label, count in _labels(members).items():
            request = sample if purpose == "blind" else replace(sample, label=label)
            if purpose == "blind":
                request = replace(request, candidates=tuple(sorted(_labels(members))))
            usage = expected.usage(request)
            total = Usage(input=total.input + usage.input * count, output=total.output + usage.output * count)
        tokens = {"input": total.input, "output": total.output, "usd": expected.price(total)}
        rows.append({"dataset": dataset, "purpose": purpose, "requests": len(members), **tokens})
    money, spent = ledger.spent()
    return {"settled": len(asked) - len(left), "spent_usd": money, "spent_tokens": spent, "rows": rows}


def _labels(members: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in members:
        counts[row["label"]] = counts.get(row["label"], 0) + 1
    return counts


def show(cfg: FullConfig, paths: RunPaths) -> None:
    """Prints the estimate as a table."""
    from rich.console import Console
    from rich.table import Table

    found, api = estimate(cfg, paths), cfg.rationales.api
    priced = bool(api.usd_per_million_input or api.usd_per_million_output)
    shown = Table(title=f"{cfg.rationales.teacher} {api.model}".strip(), caption="Upper bounds; nothing was sent.")
    for name in ("set", "purpose", "requests", "input tokens", "output tokens", "USD"):
        shown.add_column(name, justify="left" if name in ("set", "purpose") else "right")
    sums = {name: sum(row[name] for row in found["rows"]) for name in ("requests", "input", "output", "usd")}
    for row in [*found["rows"], {"dataset": "all", "purpose": "", **sums}]:
        money = f"{row['usd']:.2f}" if priced or cfg.rationales.teacher == "kinematic" else "no prices given"
        numbers = (f"{row['requests']:,}", f"{row['input']:,}", f"{row['output']:,}", money)
        shown.add_row(row["dataset"], row["purpose"], *numbers)
    console = Console()
    console.print(shown)
    settled = f"{found['settled']:,} questions are settled, for {found['spent_tokens']:,} tokens"
    console.print(settled + (f" and {found['spent_usd']:.2f} USD." if priced else "."))
