"""Sections on scores: methods side by side, calibration, abstention, worst confusions; absent without their numbers."""

from __future__ import annotations

import json
import re

import pytest

from pipelines import cli
from pipelines.config.loading import decode
from pipelines.config.tree import FullConfig
from pipelines.figures import score_charts
from pipelines.figures.pages import render_page
from pipelines.report import other_scores, scores_page
from pipelines.report import scores as report_scores
from pipelines.report import stage as report
from pipelines.report.page_clips import Confusion, DrawnClip, DrawnConfusion
from pipelines.runtime.manifest import provenance
from pipelines.runtime.paths import RunPaths
from pipelines.scores.metrics import ClipScore, Scoreboard

NAMES = ("bow", "clap", "wave")


def clips(count: int = 12) -> list[ClipScore]:
    """A third of the clips is "bow"; every second clip is taken for "bow", the others for "clap"."""
    return [
        ClipScore(
            key=f"a/{i:02d}",
            set="a",
            label=NAMES[i % 3],
            log_prob=tuple(-1.0 - (1 + i / 10) * (j != i % 2) for j in range(3)),
            tokens=(1, 1, 1),
            prior=(0.0, 0.0, 0.0),
            generated=NAMES[i % 2],
        )
        for i in range(count)
    ]


def metrics() -> dict:
    found = Scoreboard({"a": NAMES}, 100, 0).assemble(clips(), {})
    row = {"set": "a", "chance": 0.3333, "n": 12}
    table = [
        {**row, "name": "model", "kind": "model", "value": 0.5, "ci95": [0.25, 0.75], "difference": None},
        {
            **row,
            "name": "linear",
            "kind": "baseline",
            "value": 0.25,
            "ci95": [0.1, 0.5],
            "difference": {"value": 0.25, "ci95": [-0.1, 0.6], "p": 0.2, "mcnemar": 0.3},
        },
        {**row, "name": "floor", "kind": "floor", "value": 0.4, "n": None, "ci95": None, "difference": None},
    ]
    share = {"value": 0.5, "n": 6, "ci95": [0.2, 0.8]}
    zero = {"a": {"seen": share, "unseen": share, "harmonic": share, "candidates": 3}}
    rule = {"a": {"name": "cross-subject", "hash": "0123abcd"}}
    return {**found, "table": table, "gzsl": zero, "answer": "direct", "seeds": {"seed": 0}, "protocols": rule}


@pytest.fixture
def cfg() -> FullConfig:
    return decode({"name": "t", "data": {"inputs": {"a": "x"}}}, "test")


def write(folder, summary) -> None:
    folder.mkdir(parents=True)
    entry = {"stage": "evaluate", "key": "k", "finished": "2030-01-02T03:04:05+00:00", **provenance()}
    (folder / "manifest.json").write_text(json.dumps(entry | {"summary": summary | {"seconds": 1.0}}))


def test_sections_are_there_with_their_numbers(tmp_path, cfg):
    write(tmp_path / "evaluate", metrics())
    report.run(cfg, RunPaths(str(tmp_path)))
    html = (tmp_path / "report.html").read_text()
    for id_ in ("comparison", "gzsl", "calibration"):
        assert f'<section id="{id_}">' in html
        assert f'href="#{id_}"' in html
    assert "+25.0" in html
    assert "-10.0 to +60.0" in html
    assert "0123abcd" in html
    assert "None" not in html
    assert html.count('aria-label="') > 6


def test_a_sample_is_called_one(tmp_path, cfg):
    for folder, extra, said in (("all", {"max_clips": 0}, False), ("some", {"max_clips": 8}, True), ("old", {}, False)):
        write(tmp_path / folder / "evaluate", metrics() | extra)
        report.run(cfg, RunPaths(str(tmp_path / folder)))
        assert ("a sample: at most 8 of each set" in (tmp_path / folder / "report.html").read_text()) is said


def test_sections_without_numbers_do_not_appear(tmp_path, cfg):
    old = metrics()
    for block in (old, old["sets"]["a"]):
        for name in ("table", "gzsl", "abstention", "mean_class", "answer"):
            block.pop(name, None)
        block["calibration"] = {"nll": 1.0, "ece": 0.1}
        block["generated"] = None
    write(tmp_path / "evaluate", old)
    report.run(cfg, RunPaths(str(tmp_path)))
    html = (tmp_path / "report.html").read_text()
    for id_ in ("comparison", "gzsl", "calibration", "robustness", "captions", "questions"):
        assert id_ not in html.split("<main>")[1].split("Configuration")[0].replace("calibration error", "")


def test_the_verdict_says_which_way():
    bins = [{"low": 0.0, "high": 0.5, "n": 0, "confidence": None, "accuracy": None}]
    sure = {"low": 0.5, "high": 1.0, "n": 10, "confidence": 0.9, "accuracy": 0.6}
    assert "overconfident" in report_scores.verdict([*bins, sure])
    assert "underconfident" in report_scores.verdict([*bins, sure | {"accuracy": 1.0}])
    assert "close to calibrated" in report_scores.verdict([*bins, sure | {"accuracy": 0.9}])


def test_charts_draw_what_they_are_given():
    bins = metrics()["calibration"]["bins"]
    chart = score_charts.reliability_chart(bins, "t <1>")
    assert chart.count('class="bar"') == sum(b["n"] > 0 for b in bins)
    assert 'aria-label="t &lt;1&gt;"' in chart
    curve = score_charts.Curve("a", [0, 1], [0.5, 0.25], 1, [0.4, 0.2], [0.6, 0.3])
    assert score_charts.share_chart([curve], "x", "t", chance=0.1).count("class=") >= 6
    assert 'class="band' in score_charts.share_chart([curve], "x", "t")
    matrix = score_charts.matrix_chart(["a", "b"], ["a", "b"], {("a", "b"): 0.5, ("b", "a"): 1.0}, "t")
    assert matrix.count('class="none"') == 2
    assert ">50<" in matrix
    for empty in (
        score_charts.reliability_chart([], "t"),
        score_charts.share_chart([], "x", "t"),
        score_charts.matrix_chart([], [], {}, "t"),
    ):
        assert empty == ""


def robustness() -> dict:
    share = {"value": 0.5, "n": 12, "ci95": [0.4, 0.6]}
    points = [{"level": level, **share, "seeds": []} for level in (25.0, 20.0, 13.0)]
    curve = {
        "unit": "joints",
        "random": False,
        "clips": 12,
        "area": share,
        "retained": share,
        "chance": 0.3,
        "sets": {},
    }
    fewer = {**curve, "name": "topology", "title": "Fewer joints", "points": points}
    mirrored = {**curve, "name": "mirror", "title": "Mirrored <x>", "points": points[:2]}
    return {"seeds": 3, "clean": share, "chance": 0.3, "curves": [fewer, mirrored], "left_out": ["view"]}


def captions() -> dict:
    share = {"value": 0.25, "n": 4, "ci95": [0.1, 0.4]}
    nothing = {"value": float("nan"), "n": 4, "ci95": [float("nan"), float("nan")]}
    metrics = {"bleu1": {**share, "ci95": [None, None]}, "cider": share, "meteor": {"missing": "no java"}}
    facts = {"precision": nothing, "recall": share, "stated": 0.0, "silent": 1.0}
    example = {"clip": "a/1", "said": "She <b> walks.", "references": ["walks"], "stated": 1, "right": 1}
    return {
        "clips": 4,
        "with_references": 2,
        "metrics": metrics,
        "facts": facts,
        "reference_facts": None,
        "examples": [example],
    }


def questions() -> dict:
    share = {"value": 0.5, "n": 4, "ci95": [0.1, 0.9]}
    block = {"n": 4, "closed": share, "free": None, "chance": 0.5, "majority": 0.6}
    text = {"clip": "a/1", "kind": "which_hand", "question": "Which hand moves?", "answer": "left"}
    return {
        "questions": 4,
        "clips": 2,
        "overall": block,
        "families": [{"family": "spatial", **block}],
        "kinds": [{"kind": "which_hand", **block, "answers": {"left": 2}}],
        "examples": [{**text, "picked": None, "said": None, "right": None}],
    }


def test_page_of_an_evaluation_alone(tmp_path, capsys):
    found = {
        "name": "alone",
        "written": "2030-01-02T03:04:05+00:00",
        "checkpoint": "/nowhere",
        "shards": {"uri": "/nowhere/shards", "digest": "feedbeef"},
        "evaluate": metrics(),
        "provenance": provenance(),
    }
    (tmp_path / "report.json").write_text(json.dumps(found))
    (tmp_path / "robustness.json").write_text(json.dumps(robustness()))
    (tmp_path / "captions.json").write_text(json.dumps(captions()))
    (tmp_path / "qa.json").write_text(json.dumps(questions()))
    assert cli.main(["report", "--scores", str(tmp_path)]) == 0
    html = (tmp_path / "report.html").read_text()
    assert "feedbeef" in html
    assert "has not run" not in html
    assert '<section id="training">' not in html
    assert '<section id="robustness">' in html
    assert "25 to 13 joints" in html
    assert "Mirrored &lt;x&gt;" in html
    assert "there or not" in html
    assert "Fits none of these clips: view" in html
    assert "missing: no java" in html
    assert "She &lt;b&gt; walks." in html
    assert not re.search(r"\bnan\b", html)
    assert "Which hand moves?" in html
    assert "None" not in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs --config FILE and --out RUN, or --scores DIR"),
        (["--scores", "/nowhere"], "no report.json of `skel evaluate --model` there"),
        (["--scores", "x", "--out", "y"], "nothing else to say"),
    ],
)
def test_report_says_what_it_needs(capsys, arguments, message):
    assert cli.main(["report", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_confusion_is_shown_with_its_clip():
    drawn = DrawnClip(
        key="a/7",
        split="test",
        label="bow",
        rationale="",
        prediction="clap",
        probability=0.75,
        of_truth=0.125,
        answer="drawn anew",
        explanation="Both <hands> meet.",
        rendered=["data:image/webp;base64,AAAA"],
        sticks=["data:image/webp;base64,BBBB"],
    )
    confusion = Confusion(truth="bow", predicted="clap", count=2, of=4)
    found = {
        "name": "alone",
        "written": "2030-01-02T03:04:05+00:00",
        "checkpoint": "/nowhere",
        "shards": {"uri": "/nowhere/shards", "digest": "feedbeef"},
        "evaluate": metrics(),
        "provenance": provenance(),
    }
    page = scores_page.build_page(
        found,
        dict.fromkeys(other_scores.FILES),
        {"a": [DrawnConfusion(confusion=confusion, drawn=drawn, written="as it wrote")]},
    )
    html = render_page("report.html.j2", page)
    assert "<b>bow</b> taken for <b>clap</b>" in html
    assert "in 2 of 4 clips" in html
    assert "as it wrote" in html
    assert "drawn anew" not in html
    assert "Both &lt;hands&gt; meet." in html
    assert "12.5 %" in html
    assert "base64,BBBB" in html
