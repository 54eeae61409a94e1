"""What asking would cost, before anything is sent: requests, tokens and money per set. Sends and draws nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.rationales.stage import ledger_uri, list_tasks
from pipelines.rationales.teachers import registry
from pipelines.rationales.teachers.base import TeacherRequest, Usage
from pipelines.rationales.teachers.ledger import Ledger
from pipelines.rationales.teachers.task import TeacherTask
from pipelines.runtime.paths import RunPaths


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """What one kind of question about one set would cost. Output counts full answers: an upper bound.

    Attributes:
        dataset, purpose: which questions.
        requests: their number.
        input, output: tokens.
        usd: US dollars; 0 without prices.
    """

    dataset: str
    purpose: str
    requests: int = 0
    input: int = 0
    output: int = 0
    usd: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """What is left to be asked, and what the ledger holds.

    Attributes:
        settled: questions that have an answer.
        spent_usd, spent_tokens: what the ledger says was paid.
        priced: whether the money means something: prices are configured, or the teacher is free.
        rows: by set and purpose.
    """

    settled: int
    spent_usd: float
    spent_tokens: int
    priced: bool
    rows: tuple[CostRow, ...]

    @property
    def total(self) -> CostRow:
        """The sum of the rows."""
        sums = {name: sum(getattr(row, name) for row in self.rows) for name in ("requests", "input", "output", "usd")}
        return CostRow(dataset="all", purpose="", **sums)


def estimate(cfg: FullConfig, paths: RunPaths) -> CostEstimate:
    """Estimate of what is left to be asked.

    Args:
        cfg: `rationales` is used; prices of 0 make the money 0.
        paths: the run; its shards are read.
    """
    store, api = ClipStore(paths.shards), cfg.rationales.api
    ledger = Ledger(ledger_uri(cfg, paths.rationales))
    settled = ledger.settled(cfg.rationales.retry_failed)
    tasks = list_tasks(cfg, store)
    left = [task for task in tasks if task.key not in settled]
    groups: dict[tuple[str, str], list[TeacherTask]] = {}
    for task in left:
        groups.setdefault((task.dataset, task.purpose), []).append(task)
    rows = tuple(_cost_row(cfg, store, *group, members) for group, members in sorted(groups.items()))
    money, tokens = ledger.spent()
    free = registry.entry_of(cfg.rationales).expected is None
    return CostEstimate(
        settled=len(tasks) - len(left),
        spent_usd=money,
        spent_tokens=tokens,
        priced=free or bool(api.usd_per_million_input or api.usd_per_million_output),
        rows=rows,
    )


def _cost_row(cfg: FullConfig, store: ClipStore, dataset: str, purpose: str, tasks: list[TeacherTask]) -> CostRow:
    expected = registry.entry_of(cfg.rationales).cost_model(cfg.rationales)
    # Pictures cost by their number; nothing is drawn.
    images = (("image/png", b""),) * cfg.rationales.frames
    # Prompts differ by the label alone; one clip stands for the duration of all.
    sample = TeacherRequest(sequence=store.clip(tasks[0].clip), label=None, images=images)
    labels, total = Counter(task.label for task in tasks), Usage()
    for label, count in labels.items():
        request = replace(sample, label=label)
        if purpose == "blind":
            request = replace(sample, candidates=tuple(sorted(labels)))
        usage = expected.usage(request)
        total = Usage(input=total.input + usage.input * count, output=total.output + usage.output * count)
    counts = {"requests": len(tasks), "input": total.input, "output": total.output}
    return CostRow(dataset=dataset, purpose=purpose, **counts, usd=expected.price(total))


def show(cfg: FullConfig, paths: RunPaths) -> None:
    """Prints the estimate as a table."""
    from rich.console import Console
    from rich.table import Table

    costs, api = estimate(cfg, paths), cfg.rationales.api
    paid = bool(api.usd_per_million_input or api.usd_per_million_output)
    table = Table(title=f"{cfg.rationales.teacher} {api.model}".strip(), caption="Upper bounds; nothing was sent.")
    for name in ("set", "purpose", "requests", "input tokens", "output tokens", "USD"):
        table.add_column(name, justify="left" if name in ("set", "purpose") else "right")
    for row in (*costs.rows, costs.total):
        money = f"{row.usd:.2f}" if costs.priced else "no prices given"
        table.add_row(row.dataset, row.purpose, f"{row.requests:,}", f"{row.input:,}", f"{row.output:,}", money)
    console = Console()
    console.print(table)
    settled = f"{costs.settled:,} questions are settled, for {costs.spent_tokens:,} tokens"
    console.print(settled + (f" and {costs.spent_usd:.2f} USD." if paid else "."))
