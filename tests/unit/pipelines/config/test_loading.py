"""Configuration: strict, numbers as numbers, round trip, overrides, and one clear line for every mistake."""

import dataclasses
from pathlib import Path

import pytest

from pipelines.cluster.launch import path_arguments
from pipelines.config import loading
from pipelines.config.loading import check_config, load_config, override_config
from pipelines.config.stages import StageConfig
from pipelines.config.tree import FullConfig
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from skeleton_io import strict_yaml

PRESETS = sorted((Path(__file__).parents[4] / "tune_configs").glob("*.yaml"))


def write(folder: Path, text: str) -> str:
    file = folder / "x.yaml"
    file.write_text(text)
    return str(file)


def test_every_preset_loads_and_their_number_is_known() -> None:
    paper = [f"train_paper_ntu60_{split}" for split in ("30_30", "40_20", "48_12", "55_5")]
    names = ["full_demo", "full_pretrained", "full_real", "train_joint_captioning", *paper]
    assert [p.stem for p in PRESETS] == names
    for preset in PRESETS:
        cfg = load_config(str(preset))
        assert len(cfg.train.stages) == 4
        assert "renderer" not in cfg.train.stages[3].trains
        assert all("renderer" in stage.trains for stage in cfg.train.stages[:3])


def test_round_trip(tmp_path: Path) -> None:
    for preset in PRESETS:
        cfg = load_config(str(preset))
        assert load_config(write(tmp_path, loading.to_yaml(cfg))) == cfg


def test_exponents_are_numbers(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path, "train: {weight_decay: 1e-4}"))
    assert cfg.train.weight_decay == 1e-4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian: {}", "unknown key 'trian'"),
        ("renderer: {frame: 3}", "unknown key 'renderer.frame'"),
        ("train: {zero_stage: 4}", "train.zero_stage"),
        ("train: {global_batch: 3}", "multiple of 2 workers"),
        ("tune: {space: {renderer.radius: {uniform: [0, 1]}}}", "'renderer.radius' does not resolve"),
        ("tune: {space: {renderer: {uniform: [0, 1]}}}", "names a section"),
        ("tune: {space: {renderer.blur_px: {}}}", "exactly one of"),
        ("a: [", "not YAML"),
        (
            "train: {workers: 1}\nname: x\ntrain: {workers: 2}",
            r"not YAML: key 'train' is given twice \(line 1, column 1\)",
        ),
        ("train: {workers: 0}", "train.workers must be at least 1, found 0"),
        ("data: {validation_share: 1}", "data.validation_share must be below 1, found 1"),
        ("data: {validation_share: -.inf}", "data.validation_share must be at least 0, found -inf"),
        ("data: {validation_share: .nan}", "data.validation_share must be"),
        ("tune: {space: {data.validation_share: {uniform: [0, 1]}}}", "only renderer and train fields"),
        ("tune: {space: {renderer.frames: {uniform: [4.5, 8]}}}", "renderer.frames"),
        ("tune: {space: {renderer.blur_px: {uniform: [1, 0]}}}", "range must rise"),
        ("train: {stages: [{name: a, tasks: {}, trains: [], learning_rate: {}}]}", "at least one task"),
        ("train: {class_temperature: 2}", "train.class_temperature must be at most 1, found 2"),
        ("train: {clip_grad: -1}", "train.clip_grad must be at least 0, found -1"),
        ("train: {faults: {watchdog_s: -1}}", "train.faults.watchdog_s must be at least 0, found -1"),
        ("train: {min_workers: -1}", "train.min_workers must be at least 0, found -1"),
        ("train: {min_workers: 3}", r"train.min_workers must be in 0\.\.2, found 3"),
        ("renderer: {frames: 0}", "renderer.frames must be at least 1, found 0"),
        ("evaluate: {floors: {ntu60: 37.8}}", "evaluate.floors.ntu60 must be at most 1, found 37.8"),
        (
            "tune: {space: {train.workers: {randint: [0, 2]}}}",
            "tune.space train.workers: train.workers must be at least 1",
        ),
        ("train: {negatives: {miner: list}}", "miner list needs train.negatives.file"),
        ("train: {negatives: {miner: guess}}", "train.negatives.miner"),
        ("train: {questions: {source: both}}", "source both needs train.questions.file"),
        (
            "{data: {inputs: {sbu: x}}, evaluate: {transfer: [{train: sbu, test: msr}]}}",
            "evaluate.transfer names 'msr'",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_config(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "x.yaml" in str(caught.value)


def test_stage_without_learning_rate(tmp_path: Path) -> None:
    text = "train: {stages: [{name: a, tasks: {mqa: 1}, trains: [renderer], learning_rate: {}}]}"
    with pytest.raises(UserError, match="gives no learning_rate"):
        load_config(write(tmp_path, text))


ROW = {"name": "a", "tasks": {"mqa": 1}, "trains": ["llm"], "learning_rate": {"llm": 1e-3}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trains": []}, "trains nothing"),
        ({"name": "a/b"}, "a stage's name is a folder's"),
        ({"name": "fresh"}, "and not 'fresh'"),
        ({"steps": -1}, r"stages\.0\.steps must be at least 0, found -1"),
        ({"tasks": {"mqa": 0}}, r"stages\.0\.tasks\.mqa must be above 0, found 0"),
        ({"learning_rate": {"llm": -1}}, r"stages\.0\.learning_rate\.llm must be at least 0, found -1"),
        ({"epochs": 0}, r"stages\.0\.epochs must be above 0, found 0"),
        ({"steps": 5, "epochs": 2}, "gives both epochs and steps"),
        ({"loss_weights": {"mqa": 0}}, r"stages\.0\.loss_weights\.mqa must be above 0, found 0"),
        ({"loss_weights": {"caption": 1}}, "loss_weights name caption, which the stage does not ask"),
        ({"start": "b"}, "start 'b' is no earlier stage; give one of fresh, or the path or URI"),
        ({"start": "zzz"}, "start 'zzz' is no stage of the table"),
        ({"tasks": {"riddle": 1}}, "riddle"),
    ],
)
def test_mistakes_in_a_row_of_the_stage_table(changes: dict, message: str) -> None:
    data = {"train": {"stages": [ROW | changes, ROW | {"name": "b"}]}}
    with pytest.raises(UserError, match=message):
        check_config(loading.decode(data, "test"), "test")


def test_stages_may_be_left_out_and_start_elsewhere(tmp_path: Path) -> None:
    rows = [ROW | {"steps": 7, "loss_weights": {"mqa": 2}}, ROW | {"name": "4", "start": "a"}]
    rows += [ROW | {"name": "5", "start": "other/train/1"}, ROW | {"name": "6", "start": "s3://b/run/train/1"}]
    cfg = load_config(write(tmp_path, strict_yaml.dump({"train": {"stages": rows}})))
    assert [stage.start for stage in cfg.train.stages] == [
        "",
        "a",
        str(Path("other/train/1").resolve()),
        rows[3]["start"],
    ]


def test_folders_mean_the_same_to_workers_and_jobs_that_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "llm").mkdir(parents=True)
    there.mkdir()
    text = (
        "{mllm: {path: llm}, rationales: {ledger: paid, renderer: runs/a/export}, "
        "evaluate: {beside: {b: runs/b, c: 's3://bucket/c'}}}"
    )
    monkeypatch.chdir(here)
    cfg = load_config(write(here, text))
    assert (cfg.mllm.path, cfg.rationales.ledger) == (f"{here}/llm", f"{here}/paid")
    assert cfg.rationales.renderer == f"{here}/runs/a/export"
    assert cfg.evaluate.beside == {"b": f"{here}/runs/b", "c": "s3://bucket/c"}
    monkeypatch.chdir(there)  # as a submitted job does
    found = override_config(load_config(write(here, text)), path_arguments(cfg))
    assert (found.mllm, found.rationales) == (cfg.mllm, cfg.rationales)
    hub = load_config(write(here, "mllm: {path: owner/model}"))
    assert hub.mllm.path == "owner/model"
    assert path_arguments(load_config(write(here, "{}"))) == []


def test_missing_file() -> None:
    with pytest.raises(UserError, match="no configuration at nowhere"):
        load_config("nowhere.yaml")


def test_override_and_with_values() -> None:
    base = load_config(str(PRESETS[0]))
    assert override_config(base, ["--train.zero-stage", "2"]).train.zero_stage == 2
    changed = loading.with_values(base, {"renderer.bone_radius": 0.01}, "test")
    assert changed.renderer.bone_radius == 0.01
    assert changed.train == base.train
    with pytest.raises(UserError, match=r"renderer\.frames"):
        loading.with_values(base, {"renderer.frames": "many"}, "test")


def test_bounds_hold_at_every_door() -> None:
    base = FullConfig()
    with pytest.raises(UserError, match=r"^command line: train\.workers must be at least 1, found 0$"):
        override_config(base, ["--train.workers", "0"])
    with pytest.raises(UserError, match=r"^test: train\.workers must be at least 1, found 0$"):
        loading.with_values(base, {"train.workers": 0}, "test")
    assert override_config(base, ["--train.workers", "1"]).train.workers == 1


def test_digest_sees_every_field() -> None:
    stage = StageConfig(name="a", tasks={"mqa": 1.0}, trains=("llm",), learning_rate={"llm": 1e-3})
    assert digest(stage) != digest(dataclasses.replace(stage, epochs=2.0))
    assert digest(FullConfig()) == digest(FullConfig())
