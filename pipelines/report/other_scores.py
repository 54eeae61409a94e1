"""Transfer, robustness, captions and questions -> the sections beyond the label. Lays out, computes no score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipelines.figures import score_charts
from pipelines.figures.score_charts import Curve

FILES = ("robustness", "captions", "qa")
"""Names of the JSON files that further commands leave in the folder of a run or of an evaluation."""
METRICS = {
    "bleu1": "BLEU-1",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr (0 to 10)",
    "meteor": "METEOR",
    "bertscore": "BERTScore",
}
EXAMPLES = 12
"""Questions shown with their answers."""
_FEW = 3
"""Pairs up to which the table alone is clearer than a matrix."""


def parts(files: Mapping[str, Any]) -> dict[str, Any]:
    """The page's sections of this module; `files` holds the content of `FILES`, None where there is none."""
    return {
        "robustness": robustness_part(files["robustness"]),
        "captions": captions_part(files["captions"]),
        "questions": questions_part(files["qa"]),
    }


def transfer_chart(pairs: Sequence[Mapping[str, Any]]) -> Markup:
    """Accuracy of every pair as a matrix, row = trained on; empty for a few pairs."""
    if len(pairs) <= _FEW:
        return Markup("")
    values = {(pair["train"], pair["test"]): pair["accuracy"]["value"] for pair in pairs}
    rows, columns = sorted({train for train, _ in values}), sorted({test for _, test in values})
    return score_charts.matrix_chart(rows, columns, values, "Accuracy by training set and test set")


def robustness_part(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """robustness.json -> a chart for each curve with several strengths and a table of all.

    Args:
        report: its content; None: `skel robustness` has not run.
    """
    if not report or not report["curves"]:
        return None
    charts = []
    for curve in report["curves"]:
        points = curve["points"]
        # Two points make no curve; such changes stand in the table only.
        if len(points) > 2:
            levels = [point["level"] for point in points]
            # Fewer joints, fewer frames: the clip as it is stands at the left in every chart.
            falling = levels[0] > levels[-1]
            line = Curve(
                curve["title"],
                [-level for level in levels] if falling else levels,
                [point["value"] for point in points],
                1,
                [point["ci95"][0] for point in points],
                [point["ci95"][1] for point in points],
            )
            chart = score_charts.share_chart([line], curve["unit"], f"Accuracy: {curve['title']}", curve["chance"])
            charts.append({"title": curve["title"], "clips": curve["clips"], "chart": chart})
    return {
        "charts": charts,
        "rows": [
            {**curve, "clean": curve["points"][0], "last": curve["points"][-1], "strength": strength(curve)}
            for curve in report["curves"]
        ],
        "clean": report["clean"],
        "chance": report["chance"],
        "seeds": report["seeds"],
        "left_out": ", ".join(report["left_out"]),
    }


def strength(curve: Mapping[str, Any]) -> str:
    """How far a curve goes, in words; a change that is there or not has no strength."""
    levels = [point["level"] for point in curve["points"]]
    return "there or not" if len(levels) == 2 else f"{levels[0]:g} to {levels[-1]:g} {curve['unit']}"


def questions_part(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """qa.json -> accuracy by family and by kind, with chance and examples.

    Args:
        report: its content; None: `skel questions` has not run.
    """
    if not report or not report["questions"]:
        return None
    # Families and kinds go through the same macro of the template.
    families = [{"name": block["family"], **block} for block in report["families"]]
    return {
        "questions": report["questions"],
        "clips": report["clips"],
        "rows": [*families, {"name": "all questions", **report["overall"]}],
        "kinds": [{"name": block["kind"].replace("_", " "), **block} for block in report["kinds"]],
        "examples": report["examples"][:EXAMPLES],
    }


def captions_part(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """captions.json -> metrics against references, statements against the motion, examples.

    Args:
        report: its content; None: `skel captions` has not run.
    """
    if not report:
        return None
    metrics = [
        {"name": METRICS.get(name, name), "missing": "", **_known(block)} for name, block in report["metrics"].items()
    ]
    facts = [("the model's captions", report["facts"]), ("people's captions", report["reference_facts"])]
    return {
        "clips": report["clips"],
        "with_references": report["with_references"],
        "metrics": metrics,
        "facts": [
            {"name": name, **block, "precision": _known(block["precision"]), "recall": _known(block["recall"])}
            for name, block in facts
            if block
        ],
        "examples": report["examples"][:EXAMPLES],
    }


def _known(block: Mapping[str, Any]) -> dict[str, Any]:
    """A score with None for what is not a number: nothing could be checked."""
    if "missing" in block:
        return {"value": None, "n": None, "ci95": None, **block}
    value = block["value"]
    there = value is not None and math.isfinite(value)
    low = block["ci95"][0]
    bounded = low is not None and math.isfinite(low)
    return {**block, "value": value if there else None, "ci95": block["ci95"] if bounded else None}
