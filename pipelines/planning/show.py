"""A plan -> tables on the terminal, or JSON. Plans nothing."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from pipelines.planning.memory import Memory
from pipelines.planning.result import Plan, StagePlan

_PIPE_WIDTH = 120
_PARTS = ("weights", "master", "gradients", "adam", "buckets", "casts", "activations", "frames")


def amount(number: float) -> str:
    """A count in three digits: 7.94 B, 37.7 M, 1,585."""
    for size, name in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """Hours, or minutes below one hour."""
    if seconds is None:
        return "unknown"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _learns(stage: StagePlan) -> str:
    return "\n".join(f"{group} {amount(number)}" for group, number in stage.learns.items())


def _grid(plan: Plan, title: str, caption: str, rows: dict[str, list[str]]) -> Table:
    """A column per stage."""
    table = Table(title=title, caption=caption, show_lines=False)
    table.add_column("", no_wrap=True)
    for stage in plan.stages:
        table.add_column(stage.name, justify="right")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _work(plan: Plan) -> Table:
    rows: dict[str, list[str]] = {"learns": [_learns(stage) for stage in plan.stages]}
    for name in ("clips", "steps", "tokens of a row", "of them visual", "tokens"):
        rows[name] = []
    for stage in plan.stages:
        work = stage.work
        numbers = ["unknown"] * 5
        if work is not None:
            load = work.load
            numbers = [f"{work.clips:,}", f"{work.steps:,}", f"{load.tokens:,.0f}", f"{load.visual:,.0f}"]
            numbers.append(amount(work.tokens))
        for name, cell in zip(list(rows)[1:], numbers, strict=True):
            rows[name].append(cell)
    rows["FLOPs of a step"] = [f"{stage.step_flops:.3g}" for stage in plan.stages]
    rows["time"] = [duration(stage.seconds) for stage in plan.stages]
    return _grid(plan, "Stages", f"{plan.model}, {plan.settings}", rows)


def _gigabytes(value: float) -> str:
    return f"{value / 1e9:.2f}"


def _memory(plan: Plan) -> Table:
    held: list[Memory] = [stage.memory for stage in plan.stages]
    rows = {name: [_gigabytes(getattr(memory, name)) for memory in held] for name in _PARTS}
    rows["on the device"] = [_gigabytes(memory.device) for memory in held]
    rows["on the host"] = [_gigabytes(memory.host) for memory in held]
    return _grid(plan, "Memory of a rank, GB", "at the peak of a step; docs/plan.md says what is counted", rows)


def _teacher(plan: Plan) -> str:
    cost = plan.teacher
    if cost is None:
        if plan.data is None or not plan.data.counted:
            return "Teacher: unknown. Rationales are counted by the shards of --run."
        return "Teacher: no stage needs rationales."
    money = f"{cost.usd:.2f} USD" if cost.priced else "no prices given (rationales.api.usd_per_million_*)"
    tokens = f"{cost.input:,} input and {cost.output:,} output tokens at most"
    return f"Teacher {cost.teacher}: {cost.requests:,} requests to be sent, {tokens}, {money}."


def show(plan: Plan) -> None:
    """Prints everything."""
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, soft_wrap=True)
    parameters = ", ".join(f"{group} {amount(number)}" for group, number in plan.parameters.items())
    console.print(f"Model {plan.model}: {parameters}.")
    if plan.data is None:
        console.print("Training clips: unknown. Give --run (a run with shards) or --clips to get steps and time.")
    else:
        each = ", ".join(f"{name} {clips:,}" for name, clips in plan.data.clips.items())
        how = "counted" if plan.data.counted else "as given"
        console.print(f"Training clips: {plan.data.total:,} ({each}), {how}.")
    console.print(_work(plan))
    times = [stage.seconds for stage in plan.stages]
    if all(seconds is not None for seconds in times):
        console.print(f"All stages: {duration(sum(seconds or 0.0 for seconds in times))}.")
    elif plan.data is not None:
        console.print("Time: unknown. Give --clips-per-second (measured) or --gpu.")
    console.print(_memory(plan))
    console.print(_teacher(plan))
    if plan.assumed:
        console.print("Assumed: " + "; ".join(plan.assumed) + ".")
    for check in plan.checks:
        mark = {True: "ok", False: "PROBLEM", None: "not checked"}[check.fine]
        console.print(f"{check.name}: {mark}: {check.text}", highlight=False)
