"""Stage: writes report.json and one self-contained report.html into the run. Lays out what `gather` read.

Runs no stage and computes no score; frames come from `clips`, charts from `figures`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.config.loading import to_yaml
from pipelines.config.tree import FullConfig
from pipelines.figures import charts as figures
from pipelines.figures.charts import Estimate, Line, number
from pipelines.figures.pages import render_page
from pipelines.report import gather, other_scores
from pipelines.report import scores as report_scores
from pipelines.report.clips import make_examples
from pipelines.report.page_clips import ClipGroup, DrawnConfusion
from pipelines.report.worst_clips import choose_worst, worst_confusions
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import clock, say
from skeleton_io import storage

SECTIONS = (
    ("sets", "Accuracy", ""),
    ("comparison", "Methods", "comparison"),
    ("gzsl", "Unseen classes", "zero_shot"),
    ("calibration", "Trust", "calibration"),
    ("confusion", "Confusions", ""),
    ("clips", "Frames", ""),
    ("training", "Training", ""),
    ("transfer", "Transfer", ""),
    ("robustness", "Robustness", "robustness"),
    ("captions", "Captions", "captions"),
    ("questions", "Questions", "questions"),
    ("tune", "Search", ""),
    ("data", "Data", ""),
    ("provenance", "Provenance", ""),
)
"""(id, title, part of the page without which it does not appear)."""
TRAINING_COLUMNS = (
    ("steps", "steps"),
    ("clips", "clips"),
    ("clips_per_second", "clips/s"),
    ("data_wait_share", "data wait, %"),
    ("loss_first", "first loss"),
    ("loss_last", "last loss"),
    ("validation_accuracy", "validation, %"),
    ("validation_clips", "validation clips"),
    ("renderer_change_relative", "renderer moved, %"),
    ("seconds", "seconds"),
)
SHARES = ("data_wait_share", "validation_accuracy", "renderer_change_relative")
QUARANTINE_ROWS = 60
"""Quarantined files listed; the shard set's table holds all."""


def estimate(label: str, accuracy: Mapping[str, Any], floor: float | None) -> Estimate:
    """An accuracy block as a row of the interval chart."""
    low, high = accuracy["ci95"]
    return Estimate(label, accuracy["value"], low, high, accuracy["chance"], floor)


def accuracy_part(evaluate: Mapping[str, Any]) -> dict[str, Any]:
    """Headline, table and chart by set, other rules, confusions."""
    if "accuracy" not in evaluate:
        return {"headline": None, "mean_class": None, "sets": [], "confusions": [], "has_floors": False}
    sets = evaluate["sets"]
    protocols = evaluate["protocols"]
    rows = [
        {
            "name": name,
            "protocol": protocols[name]["name"] if name in protocols else "",
            "accuracy": s["accuracy"],
            "classes": len(s["labels"]),
            "floor": s["floor"],
        }
        for name, s in sets.items()
    ]
    confusions = [
        {
            "set": name,
            "chart": figures.confusion_chart(s["labels"], s["confusion"], f"Confusion matrix of {name}"),
            "worst": worst_confusions(s["labels"], s["confusion"]),
            "per_class": [{"ci95": None, **p} for p in s["per_class"]],
            "clips": [],
        }
        for name, s in sets.items()
    ]
    return {
        "headline": evaluate["accuracy"],
        "mean_class": evaluate.get("mean_class"),
        "max_clips": evaluate.get("max_clips", 0),
        "sets": rows,
        "sets_chart": figures.interval_chart(
            [estimate(r["name"], r["accuracy"], r["floor"]) for r in rows], "Accuracy by set"
        ),
        "has_floors": any(r["floor"] is not None for r in rows),
        **report_scores.rules_part(evaluate),
        "confusions": confusions,
    }


def loss_lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Loss per task where a stage mixes tasks, else the loss."""
    tasks = sorted({key for row in rows for key in row if key.startswith("loss/")})
    # With one task both series are the same.
    keys = tasks if len(tasks) > 1 else ["loss"]
    lines = []
    # The page has five colours that can be told apart.
    for colour, key in enumerate(keys[:5], 1):
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        name = key.removeprefix("loss/")
        lines.append(Line(name, [x for x, _ in points], [y for _, y in points], colour))
    return lines


def training_part(cfg: FullConfig, paths: RunPaths, train: Mapping[str, Any]) -> dict[str, Any]:
    """A loss chart and a line of facts for each stage of the table."""
    if "stages" not in train:
        return {"training": []}
    finished = {s["name"]: scalars(s) for s in train["stages"]}
    charts = []
    for stage in cfg.train.stages:
        if stage.name not in finished:
            charts.append({"name": stage.name, "chart": "", "legend": [], "note": "not run"})
            continue
        rows = gather.curves(paths, stage.name)
        lines = loss_lines(rows)
        charts.append(
            {
                "name": stage.name,
                "chart": figures.line_chart(lines, "step", f"Training loss of {stage.name}"),
                "legend": [(line.name, line.colour) for line in lines] if len(lines) > 1 else [],
                "note": "asks " + ", ".join(stage.tasks) + "; trains " + ", ".join(stage.trains),
            }
        )
    columns = [(key, title) for key, title in TRAINING_COLUMNS if any(key in s for s in finished.values())]
    table = {
        "head": ["stage", *(title for _, title in columns)],
        "rows": [[stage, *(training_cell(s, key) for key, _ in columns)] for stage, s in finished.items()],
    }
    return {"training": charts, "training_table": table if columns else None}


def training_cell(numbers: Mapping[str, Any], key: str) -> str:
    """One number of a stage; shares as percent."""
    if key not in numbers:
        return ""
    return f"{100 * numbers[key]:.1f}" if key in SHARES else cell(numbers[key])


def scalars(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a summary, nested ones one level down under "outer inner"; texts and lists are left out."""
    numbers: dict[str, Any] = {}
    for key, value in summary.items():
        inner = {f"{key} {k}": v for k, v in value.items()} if isinstance(value, Mapping) else {key: value}
        # A truth value is an int in Python; here it is no number.
        numbers |= {k: v for k, v in inner.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return numbers


def cell(value: object) -> str:
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return number(value, 4)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def ingest_part(paths: RunPaths, ingest: Mapping[str, Any]) -> dict[str, Any]:
    """Counts by set and the quarantine table."""
    if "sets" not in ingest:
        return {"ingest": None, "quarantine": None}
    counts = {name: scalars(s) for name, s in ingest["sets"].items()}
    names = list(dict.fromkeys(["clips_in", "clips_out", "quarantined", *(k for c in counts.values() for k in c)]))
    total = ["all", *(cell(ingest[n]) if n in ingest else "" for n in names)]
    bad = gather.quarantine(paths)
    return {
        "ingest": {
            "head": ["set", *(n.replace("_", " ") for n in names)],
            "rows": [[s, *(cell(c[n]) if n in c else "" for n in names)] for s, c in counts.items()] + [total],
        },
        "quarantine": {
            "head": ["set", "file", "reason"],
            "rows": [[b["dataset"], b["path"], f"{b['place']}: {b['reason']}"] for b in bad[:QUARANTINE_ROWS]],
            "more": max(0, len(bad) - QUARANTINE_ROWS),
        }
        if bad
        else None,
    }


def tune_part(cfg: FullConfig, tune: Mapping[str, Any], paths: RunPaths) -> dict[str, Any] | None:
    """Score over each searched field and a table of the trials, best first."""
    listed = gather.trials(paths)
    trials = sorted((t for t in listed if t["accuracy"]), key=lambda t: -max(t["accuracy"]))
    if "status" in tune or not trials:
        return None
    scores = [max(t["accuracy"]) for t in trials]
    charts = []
    for key, span in cfg.tune.space.items():
        # A choice may be a list or a truth value; the chart lays texts side by side.
        values = [v if isinstance(v := t["values"][key], (int, float)) else str(v) for t in trials]
        log = span.log_uniform is not None
        charts.append((key, figures.scatter(values, scores, 0, log, f"Validation accuracy over {key}")))
    rows = [
        [t["trial"], *(cell(t["values"][key]) for key in cfg.tune.space), rounds(t), f"{100 * score:.1f}"]
        for t, score in zip(trials, scores, strict=True)
    ]
    return {
        "note": tune_note(cfg, tune, len(listed), len(trials)),
        "charts": charts,
        "head": ["trial", *cfg.tune.space, "rounds", "accuracy, %"],
        "rows": [{"best": i == 0, "cells": row} for i, row in enumerate(rows)],
    }


def rounds(trial: Mapping[str, Any]) -> str:
    """How far a trial came."""
    return f"{len(trial['accuracy'])}{' (stopped)' if trial['stopped'] else ''}"


def tune_note(cfg: FullConfig, tune: Mapping[str, Any], listed: int, scored: int) -> str:
    """What the search did, in words."""
    clips = f"at most {cfg.tune.validation_clips} validation clips, cut from the training clips"
    text = f"{listed} trials, each scored on {clips}; vertical: accuracy, filled: the best."
    if listed > scored:
        text += f" {listed - scored} of them failed."
    before = tune.get("accuracy_before")
    if before is not None:
        best = tune["best_accuracy"]
        text += f" The configuration as it is reached {100 * before:.1f} %, the best trial {100 * best:.1f} %."
    return text


def times_part(stages: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Seconds of each stage as text and as a share of the longest."""
    # At least 1: a run without stages has no longest one.
    longest = max([s["seconds"] for s in stages.values() if "seconds" in s], default=0) or 1
    return [
        {
            "name": name,
            "share": s["seconds"] / longest if "seconds" in s else None,
            "text": clock(s["seconds"]) + (" (partly)" if s["status"] == "partly" else "")
            if "seconds" in s
            else s["status"],
        }
        for name, s in stages.items()
    ]


def provenance_part(provenance: Mapping[str, Any], evaluate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the provenance table."""
    rows = [("git revision", str(provenance["git_revision"])), ("python", str(provenance["python"]))]
    rows += [("platform", f"{provenance['platform']}, {provenance['cpus']} CPUs")]
    rows += [(name, str(version)) for name, version in provenance["versions"].items()]
    rows += [(f"seed of {name}" if name != "seed" else "seed", str(v)) for name, v in provenance["seeds"].items()]
    rows += [(f"hash of {name}", str(v)) for name, v in provenance["hashes"].items()]
    rows += report_scores.protocol_rows(evaluate)
    rows += [(f"{name} ran with", json.dumps(then)) for name, then in provenance["mixed"].items()]
    return rows


def build_page(
    cfg: FullConfig,
    paths: RunPaths,
    data: Mapping[str, Any],
    clips: Sequence[ClipGroup],
    confused: Mapping[str, Sequence[DrawnConfusion]],
) -> dict[str, Any]:
    """Everything the template shows.

    Args:
        cfg: the run's configuration.
        paths: the run.
        data: from `gather.gather`.
        clips, confused: from `clips.make_examples`, empty where no model is there.
    """
    revision = data["provenance"]["git_revision"]
    rationales, evaluate = data["rationales"], data["evaluate"]
    page = {
        "name": data["name"],
        "scores_only": False,
        "written": data["written"].replace("T", " ").replace("+00:00", " UTC"),
        "revision": "" if revision == "unknown" else revision,
        **accuracy_part(evaluate),
        **report_scores.parts(evaluate),
        "clips": clips,
        "no_clips": "No frames: there is no finished model or no evaluation in this run.",
        **training_part(cfg, paths, data["train"]),
        "transfer": data["transfer"],
        **other_scores.parts(data),
        "transfer_chart": other_scores.transfer_chart(data["transfer"]),
        "tune": tune_part(cfg, data["tune"], paths),
        **ingest_part(paths, data["ingest"]),
        "rationales": []
        if "status" in rationales
        else [(k.replace("_", " "), cell(v)) for k, v in scalars(rationales).items()],
        "times": times_part(data["stages"]),
        "provenance": provenance_part(data["provenance"], evaluate),
        "config": to_yaml(cfg),
    }
    # Frames come last: the numbers are there also without a model.
    for entry in page["confusions"]:
        entry["clips"] = confused.get(entry["set"], [])
    return page | {"sections": [(name, title) for name, title, part in SECTIONS if not part or page[part]]}


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Writes report.json and report.html. Runs anew on every call: a report must not be older than what it reports."""
    data = gather.gather(cfg, paths)
    clips, confused = make_examples(cfg, paths, choose_worst(paths.evaluate, data["evaluate"]))
    html = render_page("report.html.j2", build_page(cfg, paths, data, clips, confused))
    storage.write_atomic(paths.at("report.json"), json.dumps(data, indent=1))
    storage.write_atomic(paths.at("report.html"), html)
    say(f"[report] {paths.at('report.html')} ({len(html.encode()) / 1e6:.2f} MB)")
    return data
