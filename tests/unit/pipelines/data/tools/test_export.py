"""`skel export`: which clips, which sides, what is refused, and its errors."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from pipelines import cli
from pipelines.commands.data import ExportFormat
from pipelines.data.tools.export import export
from pipelines.runtime.errors import UserError
from skeleton_io.exporters.registry import EXPORTERS
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import SBU15
from skeleton_io.shards import schema, shard_set

RULE = Protocol(name="by-subject", field="subject", train=("1",), test=("2",))


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    """Two sets: four clips by subjects 1, 2, 1, 2; the last of them with a short gap."""
    folder = str(tmp_path_factory.mktemp("set") / "shards")
    base = np.random.default_rng(0).normal(size=(10, 1, 15, 3)).astype(np.float32)
    infos = []
    for dataset in ("one", "two"):
        rows = []
        for number in range(4):
            made = SkeletonSequence(
                id=f"c{number}", dataset=dataset, topology=SBU15, positions=base.copy(), fps=20.0, label="wave",
                subject=str(1 + number % 2), source=Source(uri="u", sha256="0", reader="r", reader_version=1),
            )  # fmt: skip
            if number == 3:
                made.positions[4, 0, 2] = np.nan
            rows.append(schema.to_row(replace(made, label=None) if dataset == "two" else made))
        infos.append(shard_set.write_shard(shard_set.shard_uri(folder, dataset, 0), rows))
    rules = {"one": (RULE,), "two": (RULE,)}
    shard_set.write_index(folder, infos, [SBU15], rules, [], {"one": 4, "two": 4})
    return folder


def test_the_command_offers_every_format():
    assert set(get_args(ExportFormat)) == set(EXPORTERS)


def test_clips_sides_and_refusals(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    summary = export(uri, "pyskl", str(tmp_path))
    assert summary["exported"] == 4
    assert [item["clip"] for item in summary["refused"]] == [f"two/c{n}" for n in range(4)]
    assert json.loads((tmp_path / "export.json").read_text()) == summary
    assert "refused 4: no label" in capsys.readouterr().out
    found = pickle.loads((tmp_path / "one.pkl").read_bytes())
    assert found["split"] == {"by-subject_train": ["c0", "c2"], "by-subject_test": ["c1", "c3"]}


def test_sets_and_patterns_choose(uri: str, tmp_path: Path):
    assert export(uri, "npz", str(tmp_path / "a"), sets=["two"])["exported"] == 4
    assert export(uri, "npz", str(tmp_path / "b"), clips=["*/c0", "one/c?"])["exported"] == 5
    assert len(list((tmp_path / "b").rglob("*.npz"))) == 5


def test_gaps_are_filled_on_demand_only(uri: str, tmp_path: Path):
    bare = export(uri, "bvh", str(tmp_path / "a"), sets=["one"])
    assert [item["clip"] for item in bare["refused"]] == ["one/c3"]
    assert "--fill-gaps" in bare["refused"][0]["reason"]
    assert export(uri, "bvh", str(tmp_path / "b"), sets=["one"], fill_gaps=0.2)["refused"] == []


def test_the_same_shards_give_the_same_files(uri: str, tmp_path: Path):
    for to in EXPORTERS:
        for run in ("a", "b"):
            export(uri, to, str(tmp_path / run / to), sets=["one"])
        first = {p.relative_to(tmp_path / "a"): p.read_bytes() for p in (tmp_path / "a" / to).rglob("*") if p.is_file()}
        assert first
        for name, data in first.items():
            assert (tmp_path / "b" / name).read_bytes() == data, name


def test_errors(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    cases = [
        ({"uri": uri, "to": "gif"}, "no export format 'gif'"),
        ({"uri": uri, "to": "npz", "sets": ["three"]}, "no set 'three'.*one, two"),
        ({"uri": uri, "to": "npz", "clips": ["zzz"]}, "no clip matches zzz; keys look like one/c0"),
        ({"uri": str(tmp_path / "none"), "to": "npz"}, "cannot open the shard set"),
        ({"uri": uri, "to": "npz", "out": uri + "/x"}, "must not touch"),
        ({"uri": uri, "to": "npz", "fill_gaps": -1.0}, "seconds from 0"),
    ]
    for given, message in cases:
        with pytest.raises(UserError, match=message):
            export(**{"out": str(tmp_path / "out"), **given})
    assert not (tmp_path / "out").exists()
    assert cli.main(["export", uri, "--to", "npz", "--out", str(tmp_path / "o"), "--clips", "nothing"]) == 2
    assert "no clip matches" in capsys.readouterr().err


def test_nothing_that_the_format_can_hold_is_an_error(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert cli.main(["export", uri, "--to", "pyskl", "--out", str(tmp_path), "--sets", "two"]) == 2
    said = capsys.readouterr()
    assert "refused 4: no label" in said.out
    assert said.err.strip() == "error: pyskl can hold none of the 4 clips; the lines above say why"
