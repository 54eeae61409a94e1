"""Comparison of two evaluations: pairs, what is left out, and the command."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from pipelines.cli import main
from pipelines.evaluation import compare
from pipelines.evaluation.compare import read_evaluation
from pipelines.runtime.errors import UserError
from pipelines.scores.metrics import ClipScore, Scoreboard
from pipelines.scores.rows import ROWS, write_part

NAMES = ("bow", "wave")


def write(folder, right, name="a", names=NAMES, first=0, protocol="p", written=True):
    """An evaluation of len(right) clips of "wave"."""
    rows = []
    for i, hit in enumerate(right):
        log_prob = (-2.0, -1.0) if hit else (-1.0, -2.0)
        said = ("wave" if hit else "bow") if written else None
        rows.append({"key": f"{name}/{first + i:03d}", "set": name, "label": "wave", "prediction": said,
                     "log_prob": log_prob, "tokens": (1, 1), "prior": (0.0, 0.0), "generated": said})  # fmt: skip
    write_part(str(folder / "rows-1"), pa.Table.from_pylist(rows, ROWS))
    lists = ("log_prob", "tokens", "prior")
    clips = [
        ClipScore(r["key"], r["set"], r["label"], *(tuple(r[n]) for n in lists), generated=r["generated"]) for r in rows
    ]
    summary = Scoreboard({name: names}, 50, 0).assemble(clips, {})
    summary |= {"rows": "rows-1", "protocols": {name: {"name": protocol, "hash": protocol}}}
    (folder / "metrics.json").write_text(json.dumps(summary))
    return str(folder)


@pytest.fixture
def two(tmp_path):
    """A is right on 80 of 100 clips, B on 70, of which A misses 5."""
    right_a = np.arange(100) < 80
    right_b = (np.arange(100) >= 15) & (np.arange(100) < 85)
    folders = []
    for name, right in (("one", right_a), ("two", right_b)):
        (tmp_path / name).mkdir()
        folders.append(write(tmp_path / name, right))
    return folders


def test_pairs_are_counted(two):
    a, b = map(read_evaluation, two)
    found = compare.compare(a, b, "normalised", seed=0, resamples=2000)["all"]
    assert (found["n"], found["a"], found["b"], found["difference"]) == (100, 0.8, 0.7, 0.1)
    assert (found["only_a"], found["only_b"]) == (15, 5)
    assert found["ci95"][0] > 0
    assert found["p"] < 0.05
    assert found["mcnemar"] == pytest.approx(0.0414, abs=1e-4)
    back = compare.compare(b, a, "exact", seed=0, resamples=2000)["sets"]["a"]
    assert back["difference"] == -0.1


def test_what_is_not_in_both_is_left_out_and_said(tmp_path, two):
    (tmp_path / "three").mkdir()
    other = read_evaluation(write(tmp_path / "three", [True] * 20, first=95, protocol="q"))
    found = compare.compare(read_evaluation(two[0]), other, "normalised", 0, 100)
    assert found["all"]["n"] == 5
    assert "110 clips that only one of them scored" in found["left_out"][0]
    assert "protocols p and q differ" in found["left_out"][1]


def test_other_candidates_are_another_question(tmp_path, two):
    (tmp_path / "five").mkdir()
    folder = write(tmp_path / "five", [True] * 100)
    summary = json.loads((tmp_path / "five" / "metrics.json").read_text())
    summary["sets"]["a"]["labels"] = ["jump", "wave"]
    (tmp_path / "five" / "metrics.json").write_text(json.dumps(summary))
    with pytest.raises(UserError, match="candidates that differ"):
        compare.compare(read_evaluation(two[0]), read_evaluation(folder), "normalised", 0, 10)


def test_command(two, tmp_path, capsys):
    assert main(["compare", *two, "--resamples", "500", "--out", str(tmp_path / "d.json")]) == 0
    told = capsys.readouterr().out
    assert "+10.0" in told
    assert json.loads((tmp_path / "d.json").read_text())["all"]["only_a"] == 15
    assert main(["compare", two[0], str(tmp_path / "nowhere")]) == 2
    assert "no finished evaluation" in capsys.readouterr().err
    (tmp_path / "mute").mkdir()
    assert main(["compare", two[0], write(tmp_path / "mute", [True] * 5, written=False), "--rule", "exact"]) == 2
    assert "no written answer" in capsys.readouterr().err
