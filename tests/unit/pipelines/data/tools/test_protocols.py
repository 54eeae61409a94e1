"""`skel protocols` and `skel protocol`: what they list and write, and that a run takes what was written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli import main
from pipelines.config.loading import load_config
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.evaluation.stage import protocols_used
from skeleton_io.protocols.files import published_protocols, read_protocol
from skeleton_io.protocols.protocol import HASHED, Protocol
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import SBU15
from skeleton_io.shards import shard_set
from skeleton_io.shards.schema import to_row
from skeleton_io.sources.depth.ntu_labels import NTU_LABELS

PEOPLE = Protocol(name="people", field="subject", train=("1",), test=("3",))


def write(folder: Path, labels: tuple[str, ...], protocols: tuple[Protocol, ...]) -> str:
    rows = [
        to_row(
            SkeletonSequence(
                id=f"c{number:03d}-{subject}",
                dataset="mine",
                topology=SBU15,
                positions=np.random.default_rng(10 * number + subject).normal(size=(2, 1, 15, 3)).astype(np.float32),
                fps=30,
                source=Source(uri="x", sha256="00", reader="made", reader_version=1),
                label=label,
                subject=str(subject),
            )
        )
        for number, label in enumerate(labels)
        for subject in (1, 3)
    ]
    info = shard_set.write_shard(shard_set.shard_uri(str(folder), "mine", 0), rows)
    shard_set.write_index(str(folder), [info], [SBU15], {"mine": protocols}, [], {"mine": len(rows)})
    return str(folder)


def test_published_protocols_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols", "--json"]) == 0
    rows = {(row["set"], row["protocol"]): row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) == sum(len(held.protocols) + len(held.zero_shot) for held in published_protocols().values())
    row = rows["ntu", "ntu120-96-24"]
    assert (row["seen"], row["unseen"], row["test"]) == (96, 24, "rest")
    assert main(["protocols", "--set", "nw_ucla"]) == 0
    assert "nw-ucla-5-5" in capsys.readouterr().out
    assert main(["protocols", "--set", "nothing"]) == 2


def test_clips_of_shards_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = write(tmp_path / "shards", NTU_LABELS[:60], (PEOPLE,))
    assert main(["protocols", "--shards", uri, "--json"]) == 0
    rows = {row["protocol"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["people"]["train"], rows["people"]["test"]) == (60, 60)
    assert (rows["ntu60-55-5"]["train"], rows["ntu60-55-5"]["test"]) == (55, 5)
    assert "ntu120-96-24" not in rows  # its classes are not there


def test_a_written_protocol_splits_a_run(tmp_path: Path) -> None:
    uri = write(tmp_path / "shards", ("a", "b", "c", "d", "e"), (PEOPLE,))
    out = tmp_path / "p.yaml"
    ask = ["protocol", "--shards", uri, "--set", "mine", "--unseen", "2", "--seed", "1", "--out", str(out)]
    assert main(ask) == 0
    first = out.read_bytes()
    assert main(ask) == 0
    assert out.read_bytes() == first
    rule = read_protocol(str(out))
    preset = tmp_path / "preset.yaml"
    preset.write_text(f"data: {{protocols: {{mine: {out}}}}}\n")
    cfg, store = load_config(str(preset)), ClipStore(uri)
    found, labels = select(cfg, store), store.labels()
    assert found.unseen["mine"] == found.candidates("mine") == tuple(sorted(rule.unseen))
    assert {labels[key] for key in found.test["mine"]} == set(rule.unseen)
    assert not set(found.labels["mine"]) & set(rule.unseen)
    assert protocols_used(cfg, store) == {"mine": {"name": "mine-3-2-seed1", "hash": rule.hash}}


def test_without_a_rule_of_the_set_all_clips_take_part(tmp_path: Path) -> None:
    uri = write(tmp_path / "shards", ("a", "b", "c", "d", "e"), (HASHED,))
    out = tmp_path / "p.yaml"
    assert main(["protocol", "--shards", uri, "--unseen", "2", "--out", str(out)]) == 0
    assert read_protocol(str(out)).field == "label"


@pytest.mark.parametrize(
    "more",
    [["--unseen", "4"], ["--unseen", "0"], ["--unseen", "2", "--set", "x"], ["--unseen", "2", "--within", "x"]],
)
def test_what_cannot_be_drawn_is_told(tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    uri = write(tmp_path / "shards", ("a", "b", "c", "d", "e"), (PEOPLE,))
    assert main(["protocol", "--shards", uri, "--out", str(tmp_path / "p.yaml"), *more]) == 2
    assert "error: " in capsys.readouterr().err
    assert main(["protocol", "--shards", uri, "--out", str(tmp_path / "p.txt"), "--unseen", "2"]) == 2


def test_relative_paths_of_protocols_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("data: {protocols: {a: p.yaml, b: cross-view, c: 's3://bucket/p.yaml'}}\n")
    named = {"a": str(tmp_path / "p.yaml"), "b": "cross-view", "c": "s3://bucket/p.yaml"}
    assert load_config("c.yaml").data.protocols == named
