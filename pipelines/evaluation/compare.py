"""Two finished evaluations -> how much better one is than the other on the clips that both scored, pair by pair.

Reads the rows of both; scores nothing. Clips that only one of them has are counted and left out, and so is a set whose
candidates differ, since that is another question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, get_args

import numpy as np

from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from pipelines.scores.bootstrap import compare_paired
from pipelines.scores.metrics import ClipScore, Scoreboard
from pipelines.scores.rows import read_rows, to_clip_score
from pipelines.scores.rule_names import AnswerRule, Rule
from skeleton_io import storage

METRICS = "metrics.json"


class ComparisonRow(TypedDict):
    """A and B on the same n clips: accuracies, A minus B, and how sure that is (see `bootstrap.Difference`)."""

    n: int
    a: float
    b: float
    difference: float
    ci95: list[float]
    p: float
    only_a: int
    only_b: int
    mcnemar: float


@dataclass(frozen=True)
class FinishedEvaluation:
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


def read_evaluation(uri: str) -> FinishedEvaluation:
    """A run, or a folder that `skel evaluate --model` wrote.

    Raises:
        UserError: no finished evaluation there, or its rows are gone.
    """
    folders = [folder for folder in (uri, RunPaths(uri).evaluate) if storage.exists(storage.join(folder, METRICS))]
    if not folders:
        raise UserError(f"{uri}: no finished evaluation ({METRICS}); run `skel evaluate` first")
    summary = json.loads(storage.read_text(storage.join(folders[0], METRICS)))
    rows = read_rows(storage.join(folders[0], summary["rows"])).to_pylist()
    # Rows are what is compared; the summary alone may have been copied.
    if len(rows) < summary["accuracy"]["n"]:
        raise UserError(f"{uri}: {summary['rows']} holds {len(rows)} of {summary['accuracy']['n']} clips")
    candidates = {name: tuple(block["labels"]) for name, block in summary["sets"].items()}
    clips = {row["key"]: to_clip_score(row) for row in rows}
    return FinishedEvaluation(uri, clips, candidates, summary["protocols"])


def mark_hits(evaluation: FinishedEvaluation, keys: Sequence[str], rule: Rule) -> Any:
    """(len(keys),) whether each clip is recognised.

    Raises:
        UserError: a rule on written answers, and a clip has none.
    """
    # No interval is drawn from it: only whether a clip is right.
    scoreboard, clips = Scoreboard(evaluation.candidates, 1, 0), [evaluation.clips[key] for key in keys]
    if silent := [clip.key for clip in clips if clip.generated is None and rule in get_args(AnswerRule)]:
        raise UserError(
            f"{evaluation.uri}: {silent[0]} has no written answer (evaluate.generate); choose another --rule"
        )
    return np.array([scoreboard.is_right(clip, rule) for clip in clips], dtype=bool)


def compare(a: FinishedEvaluation, b: FinishedEvaluation, rule: Rule, seed: int, resamples: int) -> dict[str, Any]:
    """A minus B, over all clips in common and for each set.

    Returns:
        rule, seed, resamples; `all` and `sets` with n, a, b (accuracies), difference, ci95, p (paired bootstrap),
        only_a, only_b and mcnemar (exact); `left_out`: why clips or sets take no part.

    Raises:
        UserError: no clip in common.
    """
    keys, left_out = _common(a, b)
    every = [key for members in keys.values() for key in members]
    if not every:
        raise UserError(f"{a.uri} and {b.uri} have no clip in common; {'; '.join(left_out)}")
    blocks = {name: compare_on(a, b, keys[name], rule, seed, resamples) for name in keys if keys[name]}
    return {
        "a": a.uri,
        "b": b.uri,
        "rule": rule,
        "seed": seed,
        "resamples": resamples,
        "all": compare_on(a, b, every, rule, seed, resamples),
        "sets": blocks,
        "left_out": left_out,
    }


def _common(a: FinishedEvaluation, b: FinishedEvaluation) -> tuple[dict[str, list[str]], list[str]]:
    """Set -> clips that both scored among the same candidates, sorted; and why sets or clips take no part."""
    left_out = []
    sets = sorted(set(a.candidates) & set(b.candidates))
    for name in sorted(set(a.candidates) ^ set(b.candidates)):
        left_out.append(f"{name}: only in {(a if name in a.candidates else b).uri}")
    for name in [name for name in sets if set(a.candidates[name]) != set(b.candidates[name])]:
        # Chance differs: the difference of the two would say nothing about the models.
        left_out.append(f"{name}: {len(a.candidates[name])} and {len(b.candidates[name])} candidates that differ")
        sets.remove(name)
    keys = {name: sorted(k for k, c in a.clips.items() if c.set == name and k in b.clips) for name in sets}
    for name in sets:
        alone = sum(clip.set == name for side in (a, b) for clip in side.clips.values()) - 2 * len(keys[name])
        if alone:
            left_out.append(f"{name}: {alone} clips that only one of them scored")
        if a.protocols[name]["hash"] != b.protocols[name]["hash"]:
            left_out.append(f"{name}: protocols {a.protocols[name]['name']} and {b.protocols[name]['name']} differ; "
                            f"{len(keys[name])} clips in common are compared")  # fmt: skip
    return keys, left_out


def compare_on(
    a: FinishedEvaluation, b: FinishedEvaluation, keys: Sequence[str], rule: Rule, seed: int, resamples: int
) -> ComparisonRow:
    """Both on the same clips."""
    ours, theirs = mark_hits(a, keys, rule), mark_hits(b, keys, rule)
    difference = compare_paired(ours, theirs, seed, resamples)
    return {
        "n": difference.clips,
        "a": round(float(ours.mean()), 4),
        "b": round(float(theirs.mean()), 4),
        "difference": round(difference.value, 4),
        "ci95": [round(difference.low, 4), round(difference.high, 4)],
        "p": round(difference.p, 4),
        "only_a": difference.only_a,
        "only_b": difference.only_b,
        # Significant digits: a p-value of 1e-9 rounded to 4 places would say 0.
        "mcnemar": float(f"{difference.mcnemar:.3g}"),
    }


def format_comparison(result: Mapping[str, Any]) -> list[str]:
    """The comparison as a table of text."""
    head = ("", "clips", "A %", "B %", "A - B", "95 %", "p", "only A", "only B", "McNemar")
    rows: list[tuple[str, ...]] = [head]
    for name, row in {"all": result["all"], **result["sets"]}.items():
        low, high = row["ci95"]
        rows.append(
            (
                name,
                str(row["n"]),
                f"{100 * row['a']:.1f}",
                f"{100 * row['b']:.1f}",
                f"{100 * row['difference']:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}",
                f"{row['p']:.4f}",
                str(row["only_a"]),
                str(row["only_b"]),
                f"{row['mcnemar']:.2g}",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    table = [" ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return [f"A: {result['a']}", f"B: {result['b']}", f"rule: {result['rule']}", *table, *result["left_out"]]
