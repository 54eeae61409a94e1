"""Checkpoints by themselves: any cut of the state, halves never taken, the best and the last, the background."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pipelines.trainer import checkpoint_files, checkpoints
from pipelines.trainer.checkpoints import ACCURACY, Checkpoints
from pipelines.trainer.context import LocalContext
from pipelines.trainer.engine import Piece
from skeleton_io import storage

SIZES = {"renderer.color": 5, "mllm.wide": 1000, "mllm.small": 7}


class Rank(LocalContext):
    """One of several ranks that call one after the other; rank 0's numbers are kept for the others."""

    agreed: dict[int, list[list[float]]] = {}  # noqa: RUF012 - shared by all ranks of a test on purpose

    def __init__(self, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(torch.device("cpu"))
        self.rank, self.world_size = rank, ranks
        self.asked = 0

    def sum(self, values: Sequence[float]) -> list[float]:
        if self.rank == 0:
            Rank.agreed[self.asked] = list(values)
        self.asked += 1
        return Rank.agreed[self.asked - 1]


class Sharded:
    """An engine's state, cut evenly over the ranks; the renderer's is shared."""

    def __init__(self, rank: int, ranks: int, seed: int | None) -> None:
        rng = torch.Generator().manual_seed(seed or 0)
        whole = {name: torch.rand(3, size, generator=rng) for name, size in SIZES.items()}
        self.steps = -1
        self.held = []
        for name, state in whole.items():
            shared = name.startswith("renderer")
            share = -(-state.shape[1] // ranks)
            start, end = (0, state.shape[1]) if shared else (rank * share, min((rank + 1) * share, state.shape[1]))
            if start < end:
                own = state[:, start:end].clone() if seed is not None else torch.zeros(3, end - start)
                self.held.append(Piece(name, start, *own, shared=shared))

    def pieces(self) -> list[Piece]:
        return self.held

    def resume_at(self, steps: int) -> None:
        self.steps = steps


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints.retry, "__defaults__", ((0.0, 0.0),))
    Rank.agreed.clear()


def write(root: Path, step: int, attempt: int, ranks: int, accuracy: float | None = None) -> Path:
    """A complete checkpoint whose numbers tell its step."""
    folder = root / checkpoint_files.folder_name(step, attempt)
    for rank in range(ranks):
        metrics = {} if accuracy is None else {ACCURACY: accuracy}
        pieces = Sharded(rank, ranks, step).pieces()
        checkpoint_files.write_part(
            str(folder), rank, ranks, step, [p for p in pieces if not rank or not p.shared], metrics
        )
    return folder


def holds(engine: Sharded, rank: int, ranks: int, step: int) -> bool:
    expected = Sharded(rank, ranks, step).pieces()
    kinds = ("weight", "mean", "square")
    return engine.steps == step and all(
        torch.equal(getattr(a, k), getattr(b, k)) for a, b in zip(engine.pieces(), expected, strict=True) for k in kinds
    )


@pytest.mark.parametrize("writers", [1, 2, 3])
@pytest.mark.parametrize("readers", [1, 2, 5])
def test_any_number_of_ranks_reads_what_any_number_wrote(tmp_path: Path, writers: int, readers: int) -> None:
    write(tmp_path, 4, 1, writers)
    for rank in range(readers):
        engine = Sharded(rank, readers, None)
        checkpoint_files.read_into(checkpoint_files.list_complete(str(tmp_path))[-1], engine.pieces())
        engine.resume_at(4)
        assert holds(engine, rank, readers, 4)


def test_a_large_state_is_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_files, "FILE_BYTES", 100)
    folder = write(tmp_path, 4, 1, 2)
    assert len(list(folder.glob("*.safetensors"))) == 5
    engine = Sharded(0, 1, None)
    assert Checkpoints(str(tmp_path), Rank(), 2, 0).restore(engine) == 4
    assert holds(engine, 0, 1, 4)


def test_a_checkpoint_cut_off_anywhere_is_never_taken(tmp_path: Path) -> None:
    rng = random.Random(0)
    source = write(tmp_path / "source", 8, 2, 2)
    # As they are written: each rank's files, then its marker; the ranks in any order.
    for trial in range(40):
        root = tmp_path / f"{trial}"
        write(root, 4, 1, 2)
        streams = [sorted(source.glob(f"state-0000{r}*")) + sorted(source.glob(f"part-0000{r}*")) for r in (0, 1)]
        rng.shuffle(streams)
        order = streams[0] + streams[1]
        last = rng.randrange(len(order))
        target = root / source.name
        target.mkdir()
        for path in order[:last]:
            shutil.copy(path, target)
        if rng.random() < 0.7:  # a file system without atomic renames: half of the next file
            data = order[last].read_bytes()
            (target / order[last].name).write_bytes(data[: rng.randrange(len(data))])
        engine = Sharded(0, 1, None)
        assert Checkpoints(str(root), Rank(), 2, 0).restore(engine) == 4, trial
        assert holds(engine, 0, 1, 4)


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_damage_after_the_markers_is_noticed(tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, 4, 1, 2)
    file = sorted(write(tmp_path, 8, 1, 2).glob("state-00001*"))[0]
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    if harm == "remove":
        file.unlink()
    else:
        file.write_bytes(data if harm == "flip" else data[:-9])
    engine = Sharded(0, 1, None)
    assert Checkpoints(str(tmp_path), Rank(), 2, 0).restore(engine) == 4
    assert holds(engine, 0, 1, 4)
    assert ("damaged" in capsys.readouterr().out) == (harm != "remove")  # without a file it is not complete at all


def test_a_damaged_checkpoint_takes_no_place_of_a_sound_one(tmp_path: Path) -> None:
    write(tmp_path, 50, 1, 1)
    file = next(write(tmp_path, 100, 1, 1, accuracy=0.9).glob("state*"))
    file.write_bytes(file.read_bytes()[:-9])
    kept = Checkpoints(str(tmp_path), Rank(), 1, 1)
    assert kept.restore(Sharded(0, 1, None)) == 50
    for step, accuracy in ((60, 0.5), (70, 0.4), (110, 0.3)):
        kept.save(Sharded(0, 1, step), step, {ACCURACY: accuracy})
        kept.wait()
        Rank.agreed.clear()
        assert Checkpoints(str(tmp_path), Rank(), 1, 1).restore(Sharded(0, 1, None)) == step
    assert sorted(int(f.name.split("-")[1]) for f in tmp_path.iterdir()) == [60, 110]  # best and last, no damaged one


def test_errors_of_the_storage_cost_a_checkpoint_and_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, whole = random.Random(1), storage.write_atomic
    rate = 0.0

    def failing(uri: str, data: str | bytes) -> None:
        if rng.random() < rate:
            raise OSError("SlowDown")
        whole(uri, data)

    monkeypatch.setattr(storage, "write_atomic", failing)
    kept = Checkpoints(str(tmp_path), Rank(), 99, 0)
    written = []
    for step in range(1, 41):
        rate = 0.0 if step == 1 else 0.4
        failed = kept.failed
        kept.save(Sharded(0, 1, step), step, {})
        kept.wait()
        written += [step] if kept.failed == failed else []
        engine = Sharded(0, 1, None)
        assert Checkpoints(str(tmp_path), Rank(), 99, 0).restore(engine) == written[-1]
        assert holds(engine, 0, 1, written[-1])
    assert 5 < len(written) < 40
    assert capsys.readouterr().out.count("could not write step") == 40 - len(written)


def test_writing_goes_on_beside_the_training_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, whole = threading.Event(), storage.write_atomic
    busy: list[int] = []

    def slow(uri: str, data: str | bytes) -> None:
        busy.append(sum(t.name == "checkpoint" for t in threading.enumerate()))
        go.wait(10)
        whole(uri, data)

    monkeypatch.setattr(storage, "write_atomic", slow)
    kept, engine = Checkpoints(str(tmp_path), Rank(), 2, 0), Sharded(0, 1, 1)
    kept.save(engine, 1, {})
    for piece in engine.pieces():  # the next step, while nothing is on storage yet
        piece.weight.zero_()
    assert not checkpoint_files.list_complete(str(tmp_path))
    threading.Timer(0.2, go.set).start()
    before = time.monotonic()
    kept.save(engine, 2, {})
    assert time.monotonic() - before > 0.1
    kept.close()
    assert [f.step for f in checkpoint_files.list_complete(str(tmp_path))] == [1, 2]
    assert max(busy) == 1
    again = Sharded(0, 1, None)
    checkpoint_files.read_into(checkpoint_files.list_complete(str(tmp_path))[0], again.pieces())
    again.resume_at(1)
    assert holds(again, 0, 1, 1)


def test_the_best_and_the_last_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(str(tmp_path), Rank(), last=2, best=2)
    for step, accuracy in enumerate([0.1, 0.9, 0.4, 0.9, 0.5, None, 0.2, 0.3], 1):
        kept.save(Sharded(0, 1, step), step, {} if accuracy is None else {ACCURACY: accuracy})
    kept.close()
    assert [f.step for f in checkpoint_files.list_complete(str(tmp_path))] == [2, 4, 7, 8]
    assert len(list(tmp_path.iterdir())) == 4
    engine = Sharded(0, 1, None)
    assert kept.restore(engine, best=True) == 2
    assert holds(engine, 0, 1, 2)


def test_leftovers_of_a_broken_attempt_go_and_are_not_mixed_with_the_next(tmp_path: Path) -> None:
    broken = write(tmp_path, 6, 1, 2)
    (broken / "part-00001-of-00002.json").unlink()
    later = Checkpoints(str(tmp_path), Rank(), 2, 0)
    assert later.attempt > 1
    later.save(Sharded(0, 1, 6), 6, {})
    later.close()
    assert [f.attempt for f in checkpoint_files.list_complete(str(tmp_path))] == [later.attempt]
    assert not broken.exists()


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    kept = Checkpoints("", Rank(), 2, 1)
    kept.save(Sharded(0, 1, 1), 1, {})
    kept.close()
    assert kept.restore(Sharded(0, 1, None)) == 0


def test_ranks_agree_on_one_checkpoint(tmp_path: Path) -> None:
    first, second = (Checkpoints(str(tmp_path), Rank(r, 2), 2, 0) for r in (0, 1))
    assert first.attempt == second.attempt
    first.save(Sharded(0, 2, 3), 3, {})
    first.wait()
    assert not checkpoint_files.list_complete(str(tmp_path))
    second.save(Sharded(1, 2, 3), 3, {})
    second.wait()
    assert [f.step for f in checkpoint_files.list_complete(str(tmp_path))] == [3]
