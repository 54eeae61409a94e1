"""Predictions from assets of many formats with a tiny untrained model: every clip a row, every failure a line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from models.config import MLLMConfig, RendererConfig, TinyMLLMConfig
from pipelines import cli
from pipelines.config.loading import decode
from pipelines.data import renderer_input
from pipelines.exports.find import find_export
from pipelines.exports.store import build_model, write_export
from pipelines.inference import predict
from pipelines.inference.inputs import Unit
from pipelines.inference.predict import Options
from pipelines.inference.predictor import PredictionRequest, Predictor, ranked
from pipelines.inference.trained_model import load_model
from pipelines.runtime.errors import UserError
from pipelines.training import tiny_mllm
from skeleton_io import read

ASSETS = Path(__file__).resolve().parents[3] / "assets"
LABELS = {"ntu": ("hand waving", "sitting down"), "utd_mhad": ("boxing", "draw circle clockwise", "wave")}
FORMATS = ("ntu", "bvh", "coco17", "utd_mhad", "c3d", "openpose", "amass", "pyskl")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with one finished stage, untrained."""
    root = tmp_path_factory.mktemp("run")
    tiny = TinyMLLMConfig(vision_width=32, vision_layers=1, llm_width=32, llm_layers=1, heads=2, vocab=300)
    drawn = RendererConfig(frames=3, image_size=32, samples_per_bone=2)
    cfg = replace(decode({"name": "t"}, "test"), renderer=drawn, mllm=MLLMConfig(tiny=tiny))
    texts = [label for names in LABELS.values() for label in names]
    tiny_mllm.write(str(root / "mllm"), "internvl", cfg.mllm, texts, 32, 0)
    stage = root / "train" / "1-only"
    write_export(build_model(cfg, str(root / "mllm")), cfg, LABELS, str(stage / "export"))
    (stage / "manifest.json").write_text(json.dumps({"finished": "2030-01-01", "key": "k", "summary": {}}))
    return root


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def command(run: Path, *arguments: str) -> int:
    return cli.main(["predict", "--model", str(run), *arguments])


def test_every_format_gives_rows(run, tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    code = command(run, *(str(ASSETS / name) for name in FORMATS), "--out", str(out), "--top", "2")
    rows = lines(out)
    assert code == 0
    assert {row["format"] for row in rows} == set(FORMATS)
    assert all(row["error"] is None and row["frames"] > 0 and len(row["top"]) == 2 for row in rows)
    known = {row["format"]: row for row in rows}
    assert known["ntu"]["candidates"] == "ntu"
    assert known["ntu"]["label"] in LABELS["ntu"]
    assert known["bvh"]["candidates"] == "all"
    assert known["ntu"]["truth_is_candidate"]
    shown = capsys.readouterr().out
    assert "ntu/S001C002P003R001A023" in shown
    assert f"{len(rows)} clips predicted, 0 errors" in shown
    assert "not a calibrated chance" in shown


def test_clips_in_are_rows_out_and_errors(run, tmp_path, capsys):
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(ASSETS / "bvh" / "turn.bvh", folder / "good.bvh")
    (folder / "cut.bvh").write_bytes((ASSETS / "bvh" / "turn.bvh").read_bytes()[:200])
    shutil.copy(ASSETS / "ntu" / "S001C002P003R001A023.skeleton", folder)
    (folder / "notes.md").write_text("nothing to see")
    empty = tmp_path / "empty.skeleton"
    empty.touch()
    out = tmp_path / "rows.jsonl"
    code = command(run, str(folder), str(empty), str(tmp_path / "absent.c3d"), "--out", str(out))
    rows = lines(out)
    assert code == 0
    assert sorted(row["key"] for row in rows if row["error"] is None) == ["bvh/good", "ntu/S001C002P003R001A023"]
    assert [Path(row["file"] or row["input"]).name for row in rows if row["error"]] == [
        "cut.bvh",
        "empty.skeleton",
        "absent.c3d",
    ]
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.err.splitlines() if line.startswith("error")] == ["error"] * 3
    assert "left out 1 .md of no known format (notes.md)" in said.err
    assert "Traceback" not in said.err
    assert "2 clips predicted, 3 errors" in said.out


def test_a_clip_that_the_renderer_refuses_costs_no_other_its_row(run, monkeypatch):
    found = Predictor(find_export(str(run)), batch=8)
    draw = renderer_input.clip_input

    def refuse(clip, *rest):
        if clip.dataset == "c3d":
            raise ValueError("joints of no\nuse")
        return draw(clip, *rest)

    monkeypatch.setattr(renderer_input, "clip_input", refuse)
    units = predict.list_units([str(ASSETS / name) for name in ("bvh", "c3d", "ntu")], "")
    rows = list(found.rows(units))
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert rows[1]["error"] == "c3d/step: joints of no use"
    assert rows[1]["key"] == "c3d/step"


def test_clips_in_memory_give_the_rows_of_the_batch_path(run, tmp_path):
    paths = [ASSETS / "bvh" / "turn.bvh", ASSETS / "ntu" / "S001C002P003R001A023.skeleton"]
    out = tmp_path / "rows.jsonl"
    settings = {"labels": ("yes", "no"), "question": "Does the person turn?", "max_new_tokens": 3, "batch": 1}
    request = PredictionRequest(**settings)
    predict.run([str(path) for path in paths], Options(checkpoint=str(run), asked=request, out=str(out)))
    model = load_model(run, device="cpu")
    assert not model.training
    assert model.labels == LABELS
    assert model.config.renderer.frames == 3
    found = Predictor(model, **settings)
    clips = [read(path) for path in paths]
    for row, written in zip(found.predict(clips), lines(out), strict=True):
        assert set(row) == set(written)
        assert row | {"input": ""} == written | {"input": ""}
    assert found.predict(clips[1]) == found.predict(clips)[1:]
    assert found.predict([]) == []


def test_a_predictor_says_what_it_cannot_ask(run):
    for settings, message in (
        ({"labels": ["a", "a"]}, "different labels"),
        ({"labels": ["a"], "label_set": "ntu"}, "not both"),
        ({"label_set": "nobody"}, "trained on ntu, utd_mhad"),
        ({"question": "who <IMG_CONTEXT> moves?"}, "control token"),
        ({"top": 0}, "top must be at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            Predictor(run, **settings)


def test_labels_question_and_pictures(run, tmp_path, capsys):
    clip = str(ASSETS / "bvh" / "turn.bvh")
    arguments = ["--labels", "yes ", "no", "--question", "Does the person turn?", "--max-new-tokens", "3"]
    assert command(run, clip, *arguments, "--frames", str(tmp_path / "seen"), "--out", "-") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["candidates"], row["question"]) == ("given", "Does the person turn?")
    assert {top["label"] for top in row["top"]} == {"yes", "no"}
    assert sum(top["probability"] for top in row["top"]) == pytest.approx(1, abs=1e-5)
    assert isinstance(row["answer"], str)
    picture = Image.open(row["picture"])
    assert picture.size == (3 * 34 - 2, 32)
    assert np.asarray(picture).std() > 1
    # Given labels are what the question is answered with: another question, other scores.
    other = ["--labels", "yes", "no", "--question", "Is this a person who sits?", "--max-new-tokens", "3", "--out", "-"]
    assert command(run, clip, *other) == 0
    assert json.loads(capsys.readouterr().out)["top"][0]["log_prob"] != row["top"][0]["log_prob"]
    (tmp_path / "labels.txt").write_text("yes\n\nno\n")
    assert command(run, clip, "--labels", f"@{tmp_path / 'labels.txt'}", "--out", "-") == 0
    assert len(json.loads(capsys.readouterr().out)["top"]) == 2
    assert command(run, clip, "--label-set", "utd_mhad", "--out", "-") == 0
    assert json.loads(capsys.readouterr().out)["candidates"] == "utd_mhad"


def test_two_inputs_of_one_name_have_two_pictures(run, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(ASSETS / "bvh" / "turn.bvh", tmp_path / name)
    assert command(run, str(tmp_path / "a"), str(tmp_path / "b"), "--frames", str(tmp_path / "seen"), "--out", "-") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["key"] for row in rows] == ["bvh/turn"] * 2
    assert len({row["picture"] for row in rows}) == len(list((tmp_path / "seen").iterdir())) == 2


def test_probability_is_the_softmax_of_means_per_token():
    found = ranked(("a", "b c", "d"), np.array([-2.0, -3.0, -1.5]), np.array([1, 2, 1]), 2)
    shares = np.exp([-2.0, -1.5, -1.5]) / np.exp([-2.0, -1.5, -1.5]).sum()
    assert [top["label"] for top in found] == ["b c", "d"]  # equal: the first in the list
    assert found[0]["probability"] == pytest.approx(shares[1], abs=1e-6)
    with pytest.raises(ValueError, match="finite"):
        ranked(("a", "b"), np.array([np.nan, -1.0]), np.array([1, 1]), 2)


def test_parts_resume_and_refuse_another_prediction(run, tmp_path):
    inputs = [str(ASSETS / name) for name in FORMATS]
    options = Options(checkpoint=str(run), asked=PredictionRequest(top=1), out=str(tmp_path / "parts"), part=3)
    assert predict.run(inputs, replace(options, stop_after=2)) == {"rows": 0, "errors": 0}
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").glob("part-*")}
    assert len(written) == 2
    assert not (tmp_path / "parts" / "predictions.json").exists()
    found = predict.run(inputs, options)
    assert all(path.stat().st_mtime_ns == then for path, then in written.items())
    rows = [row for path in sorted((tmp_path / "parts").glob("part-*.jsonl")) for row in lines(path)]
    summary = json.loads((tmp_path / "parts" / "predictions.json").read_text())
    assert found["rows"] == len(rows) == summary["rows"]
    assert sum(summary["labels"].values()) == len(rows)
    whole = tmp_path / "rows.parquet"
    predict.run(inputs, replace(options, out=str(whole)))
    table = pq.read_table(whole).to_pylist()
    assert [row["key"] for row in table] == [row["key"] for row in rows]
    assert [row["label"] for row in table] == [row["label"] for row in rows]
    with pytest.raises(UserError, match="another model, question or input"):
        predict.run(inputs, replace(options, asked=PredictionRequest(top=2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "give --out FOLDER"),
        (["--workers", "2", "--out", "x.jsonl"], "give --out FOLDER"),
        (["--labels", "a", "a"], "different labels"),
        (["--labels", "a", "", "b"], "none of them empty"),
        (["--labels", "a", "b", "--label-set", "ntu"], "not both"),
        (["--label-set", "nobody"], "the model was trained on ntu, utd_mhad"),
        (["--question", "who <IMG_CONTEXT> moves?"], "control token"),
        (["--labels", "@/nowhere.txt"], "--labels @/nowhere.txt: no such file"),
        (["--labels", ""], "--labels '': expected labels"),
        (["--question", " "], "--question: expected a question"),
        (["--out", "rows.csv"], "--out rows.csv: expected FILE.jsonl, FILE.parquet, - or a folder, found .csv"),
        (["--format", "utd_mahd"], "did you mean utd_mhad?"),
        (["--top", "0"], "--top must be at least 1"),
        (["--format", "nonsense"], "no format 'nonsense'"),
        (["--nonsense", "1"], "does not know --nonsense"),
    ],
)
def test_refusals_are_one_line(run, capsys, arguments, message):
    assert command(run, str(ASSETS / "bvh"), *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert error[-1].startswith("error: ")


def test_nothing_predicted_is_an_error(run, capsys):
    assert command(run, "/nowhere.bvh") == 2
    assert "nothing could be predicted" in capsys.readouterr().err


def test_checkpoint_is_a_run_a_stage_or_an_export(run, tmp_path):
    export = str(run / "train" / "1-only" / "export")
    assert {find_export(str(place)) for place in (run, run / "train" / "1-only", export)} == {export}
    (tmp_path / "train" / "1-begun").mkdir(parents=True)
    for place, message in ((tmp_path, "no stage of this run is finished"), (tmp_path / "no", "no such folder")):
        with pytest.raises(UserError, match=message):
            find_export(str(place))
    with pytest.raises(UserError, match="neither a run"):
        find_export(str(ASSETS))


def test_a_unit_is_plain_data():
    unit = Unit(input="x", root="/r", source="openpose", dataset="d", id="i", path=".", parts=("a", "b"))
    assert Unit.from_json(json.loads(json.dumps(unit.to_json()))) == unit


def test_progress_is_said_on_stderr_where_no_row_goes(monkeypatch, capsys):
    monkeypatch.setattr(predict, "Progress", partial(predict.Progress, every=0.0))
    units = ["first", "second", "third"]
    assert list(predict._counted(units)) == units
    said = capsys.readouterr()
    assert "[predict] 1/3 inputs" in said.err
    assert "[predict] 2/3 inputs" in said.err
    assert not said.out
