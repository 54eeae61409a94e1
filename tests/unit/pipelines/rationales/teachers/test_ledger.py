"""Ledger: what was appended is there, half-written lines are not, keys settle once."""

from __future__ import annotations

import asyncio

import pytest

from pipelines.rationales.teachers import ledger
from pipelines.rationales.teachers.ledger import Ledger, LedgerWriter, write_lines
from skeleton_io import storage


def line(key: str, status: str = "answered", **more: object) -> dict:
    usage = {"input": 10, "output": 5, "cached": 0}
    return {"key": key, "status": status, "usage": usage, "usd": 0.5, "raw": "ü\n", **more}


def append(uri: str, lines: list[dict]) -> None:
    async def run() -> None:
        writer = LedgerWriter(uri)
        await asyncio.gather(*(writer.append(item) for item in lines))

    asyncio.run(run())


@pytest.fixture(params=["disk", "object store"])
def uri(request, tmp_path) -> str:
    return str(tmp_path / "ledger") if request.param == "disk" else f"memory://{tmp_path.name}/ledger"


def test_lines_come_back_and_settle_keys(uri: str) -> None:
    assert list(Ledger(uri).lines()) == []
    lines = [line(f"k{i}") for i in range(50)]
    append(uri, lines)
    append(uri, [line("bad", "failed")])
    found = Ledger(uri)
    assert sorted(found.lines(), key=lambda x: x["key"]) == sorted(
        [*lines, line("bad", "failed")], key=lambda x: x["key"]
    )
    assert len(found.settled(retry_failed=False)) == 51
    assert "bad" not in found.settled(retry_failed=True)
    assert found.spent() == (pytest.approx(25.5), 51 * 15)


def test_the_first_answer_counts_and_beats_a_failure(uri: str) -> None:
    write_lines(uri, "a", [line("x", "failed", at=1), line("y", at=1)])
    write_lines(uri, "b", [line("x", at=2), line("y", at=2), line("x", "failed", at=3)])
    found = Ledger(uri).latest()
    assert (found["x"]["status"], found["x"]["at"], found["y"]["at"]) == ("answered", 2, 1)


def test_the_tail_of_a_killed_writer_is_skipped(tmp_path) -> None:
    append(str(tmp_path), [line("a"), line("b")])
    (segment,) = tmp_path.glob("*.jsonl")
    whole = segment.read_bytes()
    for cut in range(1, len(whole)):
        segment.write_bytes(whole[:cut])
        keys = [found["key"] for found in Ledger(str(tmp_path)).lines()]
        # Without its line break a whole line is still whole.
        assert keys == ["a", "b"][: whole[: cut + 1].count(b"\n")]


@pytest.mark.parametrize("refused", [1, 3, 4])
def test_an_object_store_that_fails_for_a_while_costs_no_answer(tmp_path, monkeypatch, refused: int) -> None:
    """Each failure comes after the object was stored, as a timeout does."""
    uri, left = f"memory://{tmp_path.name}/ledger", [refused]
    put = storage.write_atomic

    def flaky(place: str, data: bytes) -> None:
        put(place, data)
        if left[0] > 0:
            left[0] -= 1
            raise OSError("SlowDown")

    async def run() -> list[object]:
        writer = LedgerWriter(uri)
        return [
            *await asyncio.gather(writer.append(line("a")), return_exceptions=True),
            *await asyncio.gather(writer.append(line("b")), return_exceptions=True),
        ]

    monkeypatch.setattr(ledger, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(storage, "write_atomic", flaky)
    said = asyncio.run(run())
    assert [isinstance(found, OSError) for found in said] == [refused == 4, False]
    assert [found["key"] for found in Ledger(uri).lines()] == ["a", "b"]


def test_a_line_that_cannot_be_written_is_an_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ledger, "PAUSES_S", (0.0,))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        append(str(tmp_path / "file" / "ledger"), [line("a")])


def test_other_files_in_the_folder_are_no_lines(tmp_path) -> None:
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "x.json").write_text("{}")
    (tmp_path / "x.jsonl").write_text('[1]\n{"a": 1}\nnull\n')
    assert list(Ledger(str(tmp_path)).lines()) == []
