"""Two finished evaluations -> how much better one is than the other on the clips that both scored, pair by pair.

Reads the rows of both; scores nothing. Clips that only one of them has are counted and left out, and so is a set whose
candidates differ, since that is another question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from pipelines.scores import bootstrap
from pipelines.scores.metrics import ClipScore, Scoreboard
from pipelines.scores.rows import clip_score, read_rows
from pipelines.scores.rule_names import AnswerRule, Rule
from skeleton_io import storage

METRICS = "metrics.json"


@dataclass(frozen=True)
class Finished:
    """One evaluation as it was written.

    Attributes:
        uri: as named by the user.
        clips: key -> scores.
        candidates: set -> closed set.
        protocols: set -> name and hash.
    """

    uri: str
    clips: Mapping[str, ClipScore]
    candidates: Mapping[str, tuple[str, ...]]
    protocols: Mapping[str, Mapping[str, str]]


def read_evaluation(uri: str) -> Finished:
    """A run, or a folder that `skel evaluate --checkpoint` wrote.

    Raises:
        UserError: no finished evaluation there, or its rows are gone.
    """
    folders = [folder for folder in (uri, RunPaths(uri).evaluate) if storage.exists(storage.join(folder, METRICS))]
    if not folders:
        raise UserError(f"{uri}: no finished evaluation ({METRICS}); run `skel evaluate` first")
    summary = json.loads(storage.read_text(storage.join(folders[0], METRICS)))
    rows = read_rows(storage.join(folders[0], summary["rows"])).to_pylist()
    if len(rows) < summary["accuracy"]["n"]:
        raise UserError(f"{uri}: {summary['rows']} holds {len(rows)} of {summary['accuracy']['n']} clips")
    candidates = {name: tuple(found["labels"]) for name, found in summary["sets"].items()}
    clips = {row["key"]: clip_score(row) for row in rows}
    return Finished(uri, clips, candidates, summary["protocols"])


def hits(found: Finished, keys: Sequence[str], rule: Rule) -> Any:
    """(len(keys),) whether each clip is told rightly.

    Raises:
        UserError: a rule on written answers, and a clip has none.
    """
    board, clips = Scoreboard(found.candidates, 1, 0), [found.clips[key] for key in keys]
    if silent := [clip.key for clip in clips if clip.generated is None and rule in get_args(AnswerRule)]:
        raise UserError(f"{found.uri}: {silent[0]} has no written answer (evaluate.generate); choose another --rule")
    return np.array([board.is_right(clip, rule) for clip in clips], dtype=bool)


def compare(a: Finished, b: Finished, rule: Rule, seed: int, resamples: int) -> dict[str, Any]:
    """A minus B, over all clips in common and for each set.

    Returns:
        rule, seed, resamples; `all` and `sets` with n, a, b (accuracies), difference, ci95, p (paired bootstrap),
        only_a, only_b and mcnemar (exact); `left_out`: why clips or sets take no part.

    Raises:
        UserError: no clip in common.
    """
    left_out = []
    sets = sorted(set(a.candidates) & set(b.candidates))
    for name in sorted(set(a.candidates) ^ set(b.candidates)):
        left_out.append(f"{name}: only in {(a if name in a.candidates else b).uri}")
    for name in [name for name in sets if set(a.candidates[name]) != set(b.candidates[name])]:
        left_out.append(f"{name}: {len(a.candidates[name])} and {len(b.candidates[name])} candidates that differ")
        sets.remove(name)
    keys = {name: sorted(k for k, c in a.clips.items() if c.set == name and k in b.clips) for name in sets}
    for name in sets:
        one = sum(clip.set == name for found in (a, b) for clip in found.clips.values()) - 2 * len(keys[name])
        if one:
            left_out.append(f"{name}: {one} clips that only one of them scored")
        if a.protocols[name]["hash"] != b.protocols[name]["hash"]:
            left_out.append(f"{name}: protocols {a.protocols[name]['name']} and {b.protocols[name]['name']} differ; "
                            f"{len(keys[name])} clips in common are compared")  # fmt: skip
    every = [key for name in sets for key in keys[name]]
    if not every:
        raise UserError(f"{a.uri} and {b.uri} have no clip in common; {'; '.join(left_out)}")
    blocks = {name: entry(a, b, keys[name], rule, seed, resamples) for name in sets if keys[name]}
    return {
        "a": a.uri,
        "b": b.uri,
        "rule": rule,
        "seed": seed,
        "resamples": resamples,
        "all": entry(a, b, every, rule, seed, resamples),
        "sets": blocks,
        "left_out": left_out,
    }


def entry(a: Finished, b: Finished, keys: Sequence[str], rule: Rule, seed: int, resamples: int) -> dict[str, Any]:
    """One row of the comparison."""
    ours, theirs = hits(a, keys, rule), hits(b, keys, rule)
    found = bootstrap.paired(ours, theirs, seed, resamples)
    return {
        "n": found.clips,
        "a": round(float(ours.mean()), 4),
        "b": round(float(theirs.mean()), 4),
        "difference": round(found.value, 4),
        "ci95": [round(found.low, 4), round(found.high, 4)],
        "p": round(found.p, 4),
        "only_a": found.only_a,
        "only_b": found.only_b,
        "mcnemar": float(f"{found.mcnemar:.3g}"),
    }


def comparison_lines(result: Mapping[str, Any]) -> list[str]:
    """The comparison as a table of text."""
    head = ("", "clips", "A %", "B %", "A - B", "95 %", "p", "only A", "only B", "McNemar")
    rows: list[tuple[str, ...]] = [head]
    for name, found in {"all": result["all"], **result["sets"]}.items():
        low, high = found["ci95"]
        rows.append(
            (
                name,
                str(found["n"]),
                f"{100 * found['a']:.1f}",
                f"{100 * found['b']:.1f}",
                f"{100 * found['difference']:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}",
                f"{found['p']:.4f}",
                str(found["only_a"]),
                str(found["only_b"]),
                f"{found['mcnemar']:.2g}",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    table = [" ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return [f"A: {result['a']}", f"B: {result['b']}", f"rule: {result['rule']}", *table, *result["left_out"]]
