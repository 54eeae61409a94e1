"""A plan -> tables on the terminal, or JSON. Plans nothing."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from pipelines.plan import Plan, StagePlan
from pipelines.plan_memory import Memory

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
    return ", ".join(f"{group} {amount(number)}" for group, number in stage.learns.items())


def _work(plan: Plan) -> Table:
    table = Table(title="Stages", caption=f"{plan.model}, {plan.settings}")
    for name in ("stage", "learns", "clips", "steps", "tokens of a row", "tokens", "FLOPs of a step", "time"):
        table.add_column(name, justify="left" if name in ("stage", "learns") else "right")
    for stage in plan.stages:
        work = stage.work
        numbers = ["unknown"] * 4
        if work is not None:
            load = work.load
            row = f"{load.tokens:.0f} ({load.visual:.0f} visual)"
            numbers = [f"{work.clips:,}", f"{work.steps:,}", row, amount(work.tokens)]
        table.add_row(stage.name, _learns(stage), *numbers, f"{stage.step_flops:.3g}", duration(stage.seconds))
    return table


def _gigabytes(value: float) -> str:
    return f"{value / 1e9:.2f}"


def _memory(plan: Plan) -> Table:
    table = Table(title="Memory of a rank, GB", caption="At the peak of a step; see docs/plan.md for what is counted")
    for name in ("stage", *_PARTS, "on the device", "on the host"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in plan.stages:
        memory: Memory = stage.memory
        parts = [_gigabytes(getattr(memory, name)) for name in _PARTS]
        table.add_row(stage.name, *parts, _gigabytes(memory.device), _gigabytes(memory.host))
    return table


def _teacher(plan: Plan) -> str:
    cost = plan.teacher
    if cost is None:
        return "Teacher: no stage needs rationales, or there are no shards to count them by."
    money = f"{cost['usd']:.2f} USD" if cost["priced"] else "no prices given (rationales.api.usd_per_million_*)"
    tokens = f"{cost['input']:,} input and {cost['output']:,} output tokens at most"
    return f"Teacher {cost['teacher']}: {cost['requests']:,} requests to be sent, {tokens}, {money}."


def show(plan: Plan) -> None:
    """Prints everything."""
    console = Console()
    parameters = ", ".join(f"{group} {amount(number)}" for group, number in plan.parameters.items())
    console.print(f"Model {plan.model}: {parameters}.")
    if plan.data is None:
        console.print("Training clips: unknown. Give --run (a run with shards) or --clips to get steps and time.")
    else:
        each = ", ".join(f"{name} {clips:,}" for name, clips in plan.data.clips.items())
        console.print(
            f"Training clips: {plan.data.total:,} ({each}), {'counted' if plan.data.counted else 'as given'}."
        )
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
