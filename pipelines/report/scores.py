"""metrics.json -> the report's sections on scores: methods side by side, calibration, abstention, zero-shot.

Lays out numbers that `evaluate` computed; a section whose numbers are not there is None and does not appear. Metrics
of an earlier version lack some of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.figures import score_charts
from pipelines.figures.score_charts import Curve
from pipelines.scores.rule_names import Rule

KINDS = {
    "model": "this model",
    "beside": "another model",
    "baseline": "baseline",
    "floor": "number from the configuration",
}


DRAWN = 4
"""Sets with a curve of their own: as many as there are colours besides that of all clips."""
RULES: dict[Rule, str] = {
    "normalised": "per token",
    "summed": "whole answer",
    "prior_corrected": "less prior",
    "exact": "written, exact",
    "nearest": "written, nearest",
    "substring": "written, substring",
}
"""Rule -> title of its column."""


def rules_part(evaluate: Mapping[str, Any]) -> dict[str, Any]:
    """Every rule for the same clips, per set and over all: value and interval, None where a rule was not scored."""
    blocks = [*evaluate["sets"].items(), ("all clips", evaluate)]
    scores_by_name = [(name, {**block["rules"], **(block["generated"] or {})}) for name, block in blocks]
    # Earlier versions and runs without written answers lack some rules.
    columns = [(key, title) for key, title in RULES.items() if any(key in scores for _, scores in scores_by_name)]
    rows = [{"name": name, "cells": [scores.get(key) for key, _ in columns]} for name, scores in scores_by_name]
    return {"rules": rows, "rule_columns": columns}


def parts(evaluate: Mapping[str, Any]) -> dict[str, Any]:
    """The page's sections of this module."""
    return {
        "comparison": comparison_part(evaluate),
        "zero_shot": zero_shot_part(evaluate),
        "calibration": calibration_part(evaluate),
        "abstention": abstention_part(evaluate),
    }


def comparison_part(evaluate: Mapping[str, Any]) -> dict[str, Any] | None:
    """Set -> one row per method, each with interval and paired difference; None where no table was made."""
    if not evaluate.get("table"):
        return None
    sets: dict[str, list[dict[str, Any]]] = {}
    for row in evaluate["table"]:
        low, high = row["ci95"] or (None, None)
        main = row["kind"] == "model"
        entry = {
            **row,
            "what": KINDS.get(row["kind"], row["kind"]),
            "main": main,
            "mark": score_charts.interval_mark(row["value"], low, high, row["chance"], main),
        }
        sets.setdefault(row["set"], []).append(entry)
    kinds = {row["kind"] for row in evaluate["table"]}
    return {
        "sets": [{"set": name, "rows": rows, "chance": rows[0]["chance"]} for name, rows in sets.items()],
        "has_baselines": "baseline" in kinds,
        "has_others": "beside" in kinds,
    }


def calibration_part(evaluate: Mapping[str, Any]) -> dict[str, Any] | None:
    """Reliability diagram over all clips and a line of numbers per set."""
    overall = evaluate.get("calibration")
    if not overall or "bins" not in overall:
        return None
    rows = [{"name": name, **block["calibration"]} for name, block in evaluate["sets"].items() if block["calibration"]]
    return {
        "chart": score_charts.reliability_chart(overall["bins"], "Reliability diagram over all test clips"),
        "verdict": verdict(overall["bins"]),
        "rows": [*rows, {"name": "all clips", **overall}],
    }


def verdict(bins: Sequence[Mapping[str, Any]]) -> str:
    """In words, whether the stated probabilities are too high or too low, over all clips."""
    # From the bins, as the diagram shows them: words and picture cannot disagree.
    clips = sum(b["n"] for b in bins)
    stated = sum(b["n"] * b["confidence"] for b in bins if b["n"]) / clips
    right = sum(b["n"] * b["accuracy"] for b in bins if b["n"]) / clips
    text = f"On average it states {100 * stated:.1f} % and is right in {100 * right:.1f} %"
    # Two points of a hundred are within the noise of a few hundred clips.
    if abs(stated - right) < 0.02:
        return f"{text}: close to calibrated as a whole."
    return f"{text}: {'over' if stated > right else 'under'}confident as a whole."


def abstention_part(evaluate: Mapping[str, Any]) -> dict[str, Any] | None:
    """Accuracy on the most confident share of the clips, over all sets and per set."""
    overall = evaluate.get("abstention")
    if not overall:
        return None
    blocks = {name: block["abstention"] for name, block in evaluate["sets"].items()}
    curves = [curve_of("all clips", overall, 1)]
    if len(blocks) > 1:
        curves += [curve_of(name, block, 2 + i % 4) for i, (name, block) in enumerate(blocks.items()) if i < DRAWN]
    chart = score_charts.share_chart(curves, "share of the clips answered, %", "Accuracy over coverage")
    wanted = [i for i, share in enumerate(overall["coverage"]) if round(100 * share) in (25, 50, 75, 100)]
    rows = [
        {"name": name, "cells": [block["accuracy"][i] for i in wanted], **block}
        for name, block in [*blocks.items(), ("all clips", overall)]
    ]
    return {
        "chart": chart,
        "legend": [(curve.name, curve.colour) for curve in curves],
        "partly": len(blocks) > DRAWN,
        "shares": [round(100 * overall["coverage"][i]) for i in wanted],
        "rows": rows,
    }


def curve_of(name: str, block: Mapping[str, Any], colour: int) -> Curve:
    """One abstention curve."""
    pairs = sorted(zip(block["coverage"], block["accuracy"], strict=True))
    return Curve(name, [100 * x for x, _ in pairs], [y for _, y in pairs], colour)


def zero_shot_part(evaluate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line per set: accuracy on seen and unseen classes and their harmonic mean; empty where not asked for."""
    return [{"name": name, **block} for name, block in (evaluate.get("gzsl") or {}).items()]


def protocol_rows(evaluate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the provenance table: rule and hash per set, seeds, model, how the answer was asked for."""
    rows = [
        (f"protocol of {name}", f"{rule['name']}, {rule['hash']}")
        for name, rule in evaluate.get("protocols", {}).items()
    ]
    rows += [(f"seed of {name}", str(seed)) for name, seed in evaluate.get("seeds", {}).items() if name != "seed"]
    if "model" in evaluate:
        rows.append(("scored model", str(evaluate["model"])))
    rows += [(f"scored beside it: {name}", str(key)) for name, key in (evaluate.get("beside") or {}).items()]
    if "answer" in evaluate:
        rows.append(("asked for", "the label at once" if evaluate["answer"] == "direct" else "an explanation first"))
    return rows
