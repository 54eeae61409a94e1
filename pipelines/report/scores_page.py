"""A folder that `skel evaluate --model` wrote -> the same page for its scores alone: OUT/report.html.

Sections: those of the run's report that scores give, the worst confusions drawn by the model, robustness and what else
was written beside them. Reads OUT/report.json and changes nothing of it; scores nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.exports.find import find_export
from pipelines.figures.pages import render_page
from pipelines.report import other_scores
from pipelines.report import scores as report_scores
from pipelines.report.clips import draw_clips, pair_confusions
from pipelines.report.page_clips import DrawnConfusion
from pipelines.report.stage import SECTIONS, accuracy_part
from pipelines.report.worst_clips import choose_worst
from pipelines.runtime.errors import UserError
from pipelines.runtime.progress import say
from skeleton_io import storage


def run(folder: str) -> str:
    """Writes the page; returns its URI.

    Args:
        folder: `--out` of the evaluation.

    Raises:
        UserError: no evaluation there.
    """
    uri = storage.join(folder, "report.json")
    report = json.loads(storage.read_text(uri)) if storage.exists(uri) else {}
    if "evaluate" not in report or "checkpoint" not in report:
        raise UserError(f"--scores {folder}: no report.json of `skel evaluate --model` there")
    beside = {name: _beside(folder, name) for name in other_scores.FILES}
    page = build_page(report, beside, draw_worst(folder, report))
    target = storage.join(folder, "report.html")
    html = render_page("report.html.j2", page)
    storage.write_atomic(target, html)
    say(f"[report] {target} ({len(html.encode()) / 1e6:.2f} MB)")
    return target


def _beside(folder: str, name: str) -> dict[str, Any] | None:
    uri = storage.join(folder, f"{name}.json")
    return json.loads(storage.read_text(uri)) if storage.exists(uri) else None


def draw_worst(folder: str, report: Mapping[str, Any]) -> dict[str, list[DrawnConfusion]]:
    """Set -> its worst confusions with frames; none where model or shards are no longer there."""
    worst = choose_worst(folder, report["evaluate"])
    try:
        export = find_export(report["checkpoint"])
    # The page is of numbers; it must not fail because a model was moved.
    except UserError as error:
        say(f"[report] no frames: {error}")
        return {}
    shards = report["shards"]["uri"]
    if not worst or not storage.exists(shards):
        return {}
    return pair_confusions(worst, draw_clips(export, shards, [example.clip for example in worst], explain=False))


def build_page(
    report: Mapping[str, Any], beside: Mapping[str, Any], confused: Mapping[str, list[DrawnConfusion]]
) -> dict[str, Any]:
    """What the template shows: the sections on scores and provenance.

    Args:
        report: content of report.json.
        beside: content of the further files of the folder (`other_scores.FILES`), None where there is none.
        confused: from `draw_worst`.
    """
    evaluate, provenance = report["evaluate"], report["provenance"]
    revision = provenance["git_revision"]
    rows = [("scored checkpoint", report["checkpoint"]), ("shards", report["shards"]["uri"])]
    rows += [("hash of data", report["shards"]["digest"])]
    rows += report_scores.protocol_rows(evaluate)
    rows += [("git revision", str(revision)), ("python", str(provenance["python"]))]
    rows += [("platform", f"{provenance['platform']}, {provenance['cpus']} CPUs")]
    rows += [(name, str(version)) for name, version in provenance["versions"].items()]
    page = {
        "name": f"{report['name']}: scores",
        "scores_only": True,
        "written": report["written"].replace("T", " ").replace("+00:00", " UTC"),
        "revision": "" if revision == "unknown" else revision,
        **accuracy_part(evaluate),
        **report_scores.parts(evaluate),
        **other_scores.parts(beside),
        "transfer": [],
        "transfer_chart": "",
        "times": [],
        "provenance": rows,
        "config": "",
    }
    for entry in page["confusions"]:
        entry["clips"] = confused.get(entry["set"], [])
    # What only a run has.
    dropped = ("clips", "training", "transfer", "tune", "data")
    return page | {"sections": [(n, t) for n, t, part in SECTIONS if n not in dropped and (not part or page[part])]}
