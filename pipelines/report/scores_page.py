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
from pipelines.report import clips as report_clips
from pipelines.report import other_scores, worst_clips
from pipelines.report import scores as report_scores
from pipelines.report import stage as report
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
    found = json.loads(storage.read_text(uri)) if storage.exists(uri) else {}
    if "evaluate" not in found or "checkpoint" not in found:
        raise UserError(f"--scores {folder}: no report.json of `skel evaluate --model` there")
    beside = {name: _beside(folder, name) for name in other_scores.FILES}
    page = build_page(found, beside, worst(folder, found))
    target = storage.join(folder, "report.html")
    html = render_page("report.html.j2", page)
    storage.write_atomic(target, html)
    say(f"[report] {target} ({len(html.encode()) / 1e6:.2f} MB)")
    return target


def _beside(folder: str, name: str) -> dict[str, Any] | None:
    uri = storage.join(folder, f"{name}.json")
    return json.loads(storage.read_text(uri)) if storage.exists(uri) else None


def worst(folder: str, found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Set -> its worst confusions with frames; none where model or shards are no longer there."""
    chosen = worst_clips.choose(folder, found["evaluate"])
    try:
        export = find_export(found["checkpoint"])
    except UserError as error:
        say(f"[report] no frames: {error}")
        return {}
    shards = found["shards"]["uri"]
    if not chosen or not storage.exists(shards):
        return {}
    drawn = report_clips.draw(export, shards, [shown for shown, _ in chosen], explain=False)
    confused: dict[str, list[dict[str, Any]]] = {}
    for (shown, example), clip in zip(chosen, drawn, strict=True):
        confused.setdefault(shown.set, []).append({**clip, **example})
    return confused


def build_page(
    found: Mapping[str, Any], beside: Mapping[str, Any], confused: Mapping[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """What the template shows: the sections on scores and provenance."""
    evaluate, made = found["evaluate"], found["provenance"]
    revision = made["git_revision"]
    rows = [("scored checkpoint", found["checkpoint"]), ("shards", found["shards"]["uri"])]
    rows += [("hash of data", found["shards"]["digest"])]
    rows += report_scores.protocol_rows(evaluate)
    rows += [("git revision", str(revision)), ("python", str(made["python"]))]
    rows += [("platform", f"{made['platform']}, {made['cpus']} CPUs")]
    rows += [(name, str(version)) for name, version in made["versions"].items()]
    page = {
        "name": f"{found['name']}: scores",
        "scores_only": True,
        "written": found["written"].replace("T", " ").replace("+00:00", " UTC"),
        "revision": "" if revision == "unknown" else revision,
        **report.accuracy_part(evaluate),
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
    dropped = ("clips", "training", "transfer", "tune", "data")
    return page | {
        "sections": [(n, t) for n, t, part in report.SECTIONS if n not in dropped and (not part or page[part])]
    }
