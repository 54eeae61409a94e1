"""Every asset's folder is taken for its own format by names and first bytes; mixed folders are no clear answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from skeleton_io.sources.catalogue import COLUMNS, rows
from skeleton_io.sources.detection import choose, what_is_there
from skeleton_io.sources.registry import SOURCES, candidates, detect_source

ROOT = Path(__file__).resolve().parents[4]
ASSETS = ROOT / "tests/assets"
NAMES = sorted(folder.name for folder in ASSETS.iterdir() if folder.name in SOURCES)


@pytest.mark.parametrize("name", NAMES)
def test_an_asset_is_its_own_format(name: str):
    best, rivals = choose(candidates(str(ASSETS / name)))
    assert best is not None
    assert (best.source.name, [rival.source.name for rival in rivals]) == (name, [])


def test_two_formats_in_a_folder_are_no_clear_answer(tmp_path: Path):
    shutil.copy(ASSETS / "bvh/turn.bvh", tmp_path)
    shutil.copy(ASSETS / "coco17/mmpose.json", tmp_path)
    best, rivals = choose(candidates(str(tmp_path)))
    assert best is not None
    assert {best.source.name, *(rival.source.name for rival in rivals)} == {"bvh", "coco17"}


def test_names_alone_do_not_decide(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"some": "settings"}')
    (tmp_path / "b.bvh").write_text("no hierarchy")
    assert candidates(str(tmp_path)) == []
    assert detect_source(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("msr_action3d", "msr_action3d"),
        ("utd_mhad", "utd_mhad"),
        ("nw_ucla", "nw_ucla"),
        ("sbu", "sbu"),
        ("bandai_namco_1", "bandai_namco_1"),
        ("cmu_asfamc", "asf_amc"),
        ("aalto_words", "bvh"),
        ("sfinge3d", "sfinge3d"),
        ("format_samples/c3d", "c3d"),
        ("format_samples/kimore_kinectv2_csv", "kimore"),
    ],
)
def test_real_sets(shared_data: Path, name: str, expected: str | None):
    best, rivals = choose(candidates(str(shared_data / "data" / name)))
    assert (best.source.name if best else None, [r.source.name for r in rivals]) == (expected, [])


def test_kinds_of_files():
    assert what_is_there(["a/b.npy", "c.npy", "d.CSV", "README"]) == "2 .npy, 1 .csv, 1 without suffix"
    assert what_is_there([]) == "no files"


def test_the_catalogue_knows_every_format():
    assert rows()[-1][-1] == "docs/own-data.md"
    entries = rows()
    assert [row[0] for row in entries] == [*SOURCES, "my.yaml"]
    assert not [row[0] for row in entries if "?" in row], "say in its SOURCE what the format is: listing=Listing(...)"
    assert all(len(row) == len(COLUMNS) and (ROOT / row[-1]).is_file() for row in entries)
