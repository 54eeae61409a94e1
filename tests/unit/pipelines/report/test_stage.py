"""The report from synthetic manifests: keys, honesty about stages that have not run, escaping, no outside resources."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from pipelines.config.loading import decode
from pipelines.config.tree import FullConfig
from pipelines.report import gather
from pipelines.report import stage as report
from pipelines.runtime.manifest import provenance
from pipelines.runtime.paths import RunPaths
from pipelines.scores.metrics import ClipScore, Scoreboard

NAMES = ("bow", "clap <both>", "wave")
HOSTILE = "expected 60 numbers <script>alert('x')</script> & more"


def config() -> FullConfig:
    stage = {"tasks": {"mqa": 1}, "trains": ["renderer"], "learning_rate": {"renderer": 1e-3}}
    return decode(
        {
            "name": "test & run",
            "data": {"inputs": {"a": "x"}},
            "train": {"stages": [{"name": "1-first", **stage}, {"name": "2-second", **stage}]},
            "tune": {"space": {"renderer.bone_radius": {"log_uniform": [0.01, 0.1]}}},
            "evaluate": {"floors": {"a": 0.25}, "transfer": [{"train": "a", "test": "b"}]},
        },
        "test",
    )


def write(folder, summary, seconds=2.0):
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"stage": folder.name, "key": folder.name * 2, "finished": "2030-01-02T03:04:05+00:00", **provenance()}
    (folder / "manifest.json").write_text(json.dumps(entry | {"summary": summary | {"seconds": seconds}}))


def evaluation():
    clips = [
        ClipScore(
            f"a/{i}", "a", NAMES[i % 3], tuple(-1.0 - (j != i % 2) for j in range(3)), (1, 1, 1), (0, 0, 0), "wave"
        )
        for i in range(9)
    ]
    found = Scoreboard({"a": NAMES}, 100, 0).assemble(clips, {"a": 0.25})
    return {**found, "seeds": {"seed": 0}, "protocols": {"a": {"name": "cross-subject", "hash": "h"}}}


@pytest.fixture
def full_run(tmp_path):
    """A run folder as finished stages leave it, without a model."""
    counts = {"clips_in": 12, "clips_out": 11, "quarantined": 1}
    write(tmp_path / "shards", {"sets": {"a": counts}})
    bad = {"dataset": "a", "path": "s1.txt", "place": "line 3", "reason": HOSTILE, "sha256": "0"}
    (tmp_path / "shards" / "quarantine.jsonl").write_text(json.dumps(bad) + "\n")
    write(tmp_path / "rationales", {"clips": 7})
    write(tmp_path / "train" / "1-first", {"steps": 30, "loss": 0.5}, seconds=10.0)
    lines = [json.dumps({"step": s, "epoch": 0, "loss": 3 / s, "loss/mqa": 3 / s}) for s in range(1, 31)]
    (tmp_path / "train" / "1-first" / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 31, "lo']))
    write(tmp_path / "evaluate", evaluation())
    write(tmp_path / "transfer" / "a-to-b", {"train": "a", "test": "b", **evaluation()["sets"]["a"]})
    return tmp_path


class Resources(HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [
            (tag, name, value) for name, value in attrs if name in ("src", "href", "srcset", "data", "xlink:href")
        ]
        self.found += [(tag, name, value) for name, value in attrs if name == "style" and "url(" in (value or "")]


def resources(html):
    parser = Resources()
    parser.feed(html)
    return parser


def test_report_json_keys(full_run):
    report.run(config(), RunPaths(str(full_run)))
    data = json.loads((full_run / "report.json").read_text())
    assert data["name"] == "test & run"
    assert (data["ingest"]["clips_in"], data["ingest"]["clips_out"], data["ingest"]["quarantined"]) == (12, 11, 1)
    assert set(data["evaluate"]["accuracy"]) >= {"value", "chance", "n", "ci95"}
    assert [(s["name"], s["steps"]) for s in data["train"]["stages"]] == [("1-first", 30)]
    assert data["transfer"][0]["test"] == "b"
    assert data["stages"]["train"] == {
        "status": "partly",
        "seconds": 10.0,
        "finished": "2030-01-02T03:04:05+00:00",
        "key": "1-first1-first",
    }
    assert data["provenance"]["config"]["name"] == "test & run"
    assert data["provenance"]["seconds"]["evaluate"] == 2.0
    assert {"versions", "git_revision", "seeds", "hashes"} <= set(data["provenance"])


def test_stages_that_have_not_run_are_said_to_be_missing(tmp_path):
    data = report.run(config(), RunPaths(str(tmp_path)))
    for stage in ("ingest", "rationales", "train", "tune", "evaluate"):
        assert data[stage] == {"status": "not run"}
    assert data["transfer"] == []
    html = (tmp_path / "report.html").read_text()
    assert html.count("has not run") >= 6
    assert "NaN" not in html
    assert "None" not in html


def test_page_needs_nothing_beside_itself(full_run):
    report.run(config(), RunPaths(str(full_run)))
    html = (full_run / "report.html").read_text()
    page = resources(html)
    assert [r for r in page.found if not (r[2].startswith("#") or r[2].startswith("data:"))] == []
    assert {"script", "link", "iframe", "object", "embed"}.isdisjoint(page.tags)
    assert not re.search(r"@import|url\(\s*['\"]?https?:", html)
    assert len(html.encode()) < 3_000_000


def test_text_from_files_is_escaped(full_run):
    report.run(config(), RunPaths(str(full_run)))
    html = (full_run / "report.html").read_text()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more" in html
    assert "clap &lt;both&gt;" in html
    assert "clap <both>" not in html
    assert "test &amp; run" in html


def test_page_shows_the_numbers(full_run):
    data = report.run(config(), RunPaths(str(full_run)))
    html = (full_run / "report.html").read_text()
    assert f"{100 * data['evaluate']['accuracy']['value']:.1f} %" in html
    assert "25.0" in html  # the floor
    assert "cross-subject" in html
    assert "2-second" in html
    assert "not run" in html


def test_search_is_shown_best_first(full_run):
    trials = [
        {"trial": 1, "values": {"renderer.bone_radius": 0.02}, "accuracy": [0.1, 0.2], "stopped": False, "error": None},
        {"trial": 2, "values": {"renderer.bone_radius": 0.03}, "accuracy": [0.4], "stopped": True, "error": None},
        {"trial": 3, "values": {"renderer.bone_radius": 0.09}, "accuracy": [], "stopped": False, "error": "died"},
    ]
    write(full_run / "tune", {"best_accuracy": 0.4, "accuracy_before": 0.2})
    (full_run / "tune" / "trials.json").write_text(json.dumps(trials))
    cfg, paths = config(), RunPaths(str(full_run))
    found = report.tune_part(cfg, {"best_accuracy": 0.4, "accuracy_before": 0.2}, paths)
    assert [row["cells"] for row in found["rows"]] == [[2, "0.03", "1 (stopped)", "40.0"], [1, "0.02", "2", "20.0"]]
    assert [row["best"] for row in found["rows"]] == [True, False]
    assert "1 of them failed" in found["note"]
    report.run(cfg, paths)
    assert "renderer.bone_radius" in (full_run / "report.html").read_text()


def test_a_line_cut_off_is_left_out(full_run):
    rows = gather.curves(RunPaths(str(full_run)), "1-first")
    assert [row["step"] for row in rows] == list(range(1, 31))


def test_versions_of_an_earlier_run_are_told_apart(full_run):
    path = full_run / "evaluate" / "manifest.json"
    old = json.loads(path.read_text())
    path.write_text(json.dumps(old | {"git_revision": "abc1234"}))
    data = gather.gather(config(), RunPaths(str(full_run)))
    assert data["provenance"]["mixed"] == {"evaluate": {"git_revision": "abc1234"}}
