"""A format from outside the package: a `FileSource` in the table, and files of it are detected, read and ingested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.protocol import HASHED
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import SBU15
from skeleton_io.shards import shard_set
from skeleton_io.shards.schema import to_row
from skeleton_io.sources import catalogue, registry
from skeleton_io.sources.decoders.table_text import read_numbers
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile

MAGIC = b"#steps\n"


def parse(file: SourceFile) -> list[SkeletonSequence]:
    table = read_numbers(file, file.text().removeprefix(MAGIC.decode()), 45, first_line=2)
    positions = table.reshape(-1, 1, 15, 3).astype(np.float32)
    return [
        SkeletonSequence(
            id=file.item.id, dataset=file.dataset, topology=SBU15, positions=positions, fps=30.0, source=file.source
        )
    ]


def sniff(path: str, head: bytes) -> bool:
    return head.startswith(MAGIC)


STEPS = FileSource(
    name="steps",
    version=1,
    pattern=r"(?:.*/)?([^/]+)\.steps",
    parse=parse,
    sniff=sniff,
    listing=Listing(files="*.steps", joints="15", dims="3", persons="1"),
)
POSITIONS = np.random.default_rng(0).normal(size=(4, 1, 15, 3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of one good and one broken file, with the format in the table."""
    monkeypatch.setitem(registry.SOURCES, "steps", STEPS)
    rows = "\n".join(" ".join(repr(float(value)) for value in frame.reshape(-1)) for frame in POSITIONS)
    (tmp_path / "set/a").mkdir(parents=True)
    (tmp_path / "set/a/hop.steps").write_bytes(MAGIC + rows.encode())
    (tmp_path / "set/cut.steps").write_bytes(MAGIC + b"1 2 3")
    (tmp_path / "set/labels.json").write_text('{"hop": {"label": "Hop", "subject": "P1"}}')
    return str(tmp_path / "set")


def test_it_is_detected_and_named_like_any_other(folder: str):
    assert registry.detect_source(folder) is STEPS
    assert registry.resolve("steps") == ("steps", STEPS)
    assert registry.resolve("mine:steps") == ("mine", STEPS)
    assert registry.open_source(registry.reference(STEPS)) is STEPS
    assert ("steps", "*.steps", "15", "3", "1", "docs/formats.md") in catalogue.rows()


def test_its_clips_become_records_of_a_shard_set(folder: str, tmp_path: Path):
    clips, problems = [], []
    for item in STEPS.list_items(folder):
        for result in STEPS.stream(folder, item, "mine"):
            (problems if isinstance(result, SkeletonFormatError) else clips).append(result)
    assert [str(problem) for problem in problems] == ["cut.steps: line 2: expected 45 numbers, found 3"]
    out = str(tmp_path / "shards")
    info = shard_set.write_shard(shard_set.shard_uri(out, "mine", 0), map(to_row, clips))
    shard_set.write_index(out, [info], [SBU15], {"mine": (HASHED,)}, [], {"mine": 1})
    clip = shard_set.ShardSet.open(out).clip("mine/hop")
    np.testing.assert_array_equal(clip.positions, POSITIONS)
    assert (clip.label, clip.subject, clip.source.reader, clip.source.reader_version) == ("hop", "P1", "steps", 1)
    assert set(clip.quality)
