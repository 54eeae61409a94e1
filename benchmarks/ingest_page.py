"""Figures of `ingest.py` -> the page in results/. Measures nothing."""

from __future__ import annotations

import datetime
from statistics import median
from typing import Any


def page(found: dict[str, Any], machine: str) -> str:
    """Markdown of the parts that were measured."""
    lines = ["# Ingest", "", f"`python benchmarks/ingest.py`, {datetime.date.today()}: {machine}; medians of five.", ""]
    for name, part in (("parse", _parse), ("stages", _stages), ("workers", _workers), ("memory", _memory)):
        if name in found:
            lines += [*part(found[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _parse(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## NTU parsing against a token loop", "",
        "CPU time of one file, alternating in one process. The loop (`baselines/token_loop.py`) takes every token "
        "through `float()` and makes arrays; so does \"numbers\", for the columns that the record holds. \"record\" is "
        "the reader as a whole: tracks, phantoms, order of persons, checks.", "",
        "| frames x bodies | kB | loop ms | numbers ms | record ms | numbers, times faster | record, times faster |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        ms, ratio = row["ms"], row["ratio"]
        lines.append(
            f"| {row['frames']} x {row['bodies']} | {row['bytes'] / 1e3:.0f} | {ms['loop']:.2f} | {ms['numbers']:.2f} "
            f"| {ms['record']:.2f} | {ratio['numbers']:.1f} | {ratio['record']:.1f} |"
        )
    return lines


def _stages(found: dict[str, Any]) -> list[str]:
    each, ms = found["bytes"] / found["clips"], found["ms"]
    lines = [
        "## Where the time of a clip goes", "",
        f"CPU time per clip on one core, files in the page cache, {each / 1e3:.0f} kB and 75 frames each.", "",
        "| step | ms per clip | clips/s/core | MB/s |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, value in ms.items():
        lines.append(f"| {name} | {value:.3f} | {1e3 / value:,.0f} | {each / value / 1e3:,.0f} |")
    total = ms["pass 1 as a whole"] + ms["pass 2 as a whole"]
    lines += ["", (
        f"Both passes: {total:.2f} ms per clip, {1e3 / total:,.0f} clips/s/core, {each / total / 1e3:,.0f} MB/s, "
        f"{total / ms['read the bytes (floor)']:.0f} times the floor of reading the bytes. It is bound by the CPU: "
        f"text to numbers {100 * ms['text -> numbers'] / total:.0f} %, the rest of the record "
        f"{100 * (ms['text -> record, numbers included'] - ms['text -> numbers']) / total:.0f} %, quality "
        f"{100 * ms['measure quality'] / total:.0f} %, hash {100 * ms['hash them'] / total:.0f} %, Arrow "
        f"{100 * ms['record -> Arrow'] / total:.0f} %, the second pass {100 * ms['pass 2 as a whole'] / total:.0f} %."
    )]  # fmt: skip
    return lines


def _workers(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Two workers against one", "",
        f"{found['clips']} clips, {found['bytes'] / 1e6:.0f} MB, Ray on two cores, wall-clock seconds, alternating; "
        f"load of the machine {found['load']:.1f} at the end. Ray's workers were started before.", "",
        "Two workers: the default, as many as the cluster has CPUs. One: `workers=1`, which makes Ray Data wait a",
        "little between tasks, so that a ratio may exceed 2.", "",
        "| what | one worker | two workers | times faster |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, key in (("both passes", "passes"), ("ingest as a whole", "whole")):
        one, two = found[key]["1"], found[key]["2"]
        ratio = median(a / b for a, b in zip(one, two, strict=True))
        lines.append(f"| {name} | {median(one):.2f} | {median(two):.2f} | {ratio:.2f} |")
    return lines


def _memory(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## Memory", "",
        "Largest resident memory during `skel ingest` (sampled ten times a second), clips of 5 frames.", "",
        "| clips | driver MiB | largest worker MiB | seconds, Ray's start included |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        peak = row["peak"]
        lines.append(
            f"| {row['clips']:,} | {peak['driver'] / 2**20:.0f} | {peak['worker'] / 2**20:.0f} | {row['seconds']:.0f} |"
        )
    first, last = rows[0]["peak"], rows[-1]["peak"]
    lines += ["", f"Growth: driver {last['driver'] / first['driver']:.2f} times, "
                  f"worker {last['worker'] / max(1, first['worker']):.2f} times."]  # fmt: skip
    return lines
